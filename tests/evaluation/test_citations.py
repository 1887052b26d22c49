"""Citations are held against the passages that the arm was shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.judgements import Passage
from raglift.evaluation.metrics._citations import citations
from raglift.evaluation.response import score_answers
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import table
from raglift.records import Evidence, QAPair, Score

BOTH = ["citation_precision", "citation_recall"]
SHOWN = [Passage("c1", "d1"), Passage("c2", "d1"), Passage("c3", "d2"), Passage("c4", "d3")]
EVIDENCE = (Evidence("d1", "c2"), Evidence("d2", "c3"), Evidence("d9", "c9"), Evidence("d3", "c4", grade=0))


def scores(question: QAPair, answer: str | None, shown: list[Passage] = SHOWN) -> list[Score]:
    return score_answers(
        [question], {"q": answer}, BOTH, "arm", lambda texts: np.empty((0, 1), np.float32), shown={"q": shown}
    )


def outcomes(*arguments: Any) -> list[float | str | None]:
    return [score.reason or score.value for score in scores(*arguments)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Blue [2].", {2}),
        ("Blue [1][3], and green [2, 4]; [12;13].", {1, 2, 3, 4, 12, 13}),
        ("Blue [2-4] and [7\u20139].", {2, 3, 4, 7, 8, 9}),
        ("Blue [0] [ 2] [x] [2b] (3) 4 [2020]", {0}),
        ("[3-1]", set()),
        ("", set()),
    ],
)
def test_citations_are_read(answer: str, expected: set[int]) -> None:
    assert citations(answer) == expected


@pytest.mark.parametrize(
    ("answer", "precision", "recall"),
    [
        ("Blue [2][3].", 1.0, 1.0),
        ("Blue [2].", 1.0, 0.5),
        ("Blue [2]. Deep blue [2].", 1.0, 0.5),  # a passage counts once
        ("Blue [1, 2].", 0.5, 0.5),
        ("Blue [4].", 0.0, 0.0),  # judged, and judged irrelevant
        ("Blue [2] [9].", 0.5, 0.5),  # there is no passage 9
        ("Blue [0].", 0.0, 0.0),
        ("Blue.", "no citation", 0.0),
        ("", "no citation", 0.0),
        (None, "no answer", "no answer"),
    ],
)
def test_examples(make_question: Any, answer: str, precision: float | str, recall: float | str) -> None:
    assert outcomes(make_question(evidence=EVIDENCE), answer) == [precision, recall]


def test_a_judgement_of_a_document_holds_for_all_of_its_passages(make_question: Any) -> None:
    question = make_question(evidence=(Evidence("d1"),))
    assert outcomes(question, "Blue [1][3].") == [0.5, 0.5]


def test_what_does_not_apply_is_told_from_what_failed(make_question: Any) -> None:
    question = make_question(evidence=EVIDENCE)
    assert outcomes(make_question(evidence=EVIDENCE, answerable=False), "Blue [2].") == ["unanswerable"] * 2
    assert outcomes(make_question(), "Blue [2].") == ["no relevant passage"] * 2
    assert outcomes(question, "Blue [1].", []) == ["no passage shown"] * 2
    assert outcomes(question, "Blue [1].", SHOWN[:1]) == [0.0, "no relevant passage shown"]
    cells = table(scores(question, "Blue.", SHOWN[:1]), BOTH, Resampling())["arm"]
    assert [cells[name]["coverage"] for name in BOTH] == [0, 0]
    assert [each["coverage"] for each in table(scores(question, "", []), BOTH, Resampling())["arm"].values()] == [1, 1]


@given(cited=st.sets(st.integers(0, 6)), relevant=st.sets(st.integers(1, 4), min_size=1))
def test_precision_and_recall_are_those_of_sets(make_question: Any, cited: set[int], relevant: set[int]) -> None:
    evidence = tuple(Evidence(SHOWN[number - 1].document_id, f"c{number}") for number in relevant)
    answer = " ".join(f"[{number}]" for number in cited)
    hits = len(cited & relevant)
    expected = [hits / len(cited) if cited else "no citation", hits / len(relevant)]
    assert outcomes(make_question(evidence=evidence), answer) == expected
