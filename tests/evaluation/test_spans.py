"""Span recall and precision count characters, whatever the passages are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.evaluation.retrieval import score_rankings, validate_metrics
from raglift.evaluation.spans import cover, shared, size
from raglift.records import Evidence, QAPair

DOCUMENTS = ["a", "b"]
SPANS = st.tuples(st.sampled_from(DOCUMENTS), st.integers(0, 40), st.integers(1, 15)).map(
    lambda span: (span[0], span[1], span[1] + span[2])
)
CHUNKS = st.lists(SPANS, max_size=12)
RANKS = st.lists(st.integers(0, 11), max_size=20)


def positions(spans: Any) -> set[tuple[str, int]]:
    """The characters, one by one."""
    return {(document, place) for document, start, end in spans for place in range(start, end)}


def scored(question: QAPair, chunks: list[tuple[str, int, int]], ranking: list[int], metrics: list[str]) -> Any:
    document = {f"c{number}": span[0] for number, span in enumerate(chunks)}
    span = {f"c{number}": span[1:] for number, span in enumerate(chunks)}
    order = [(f"c{number}", 1.0) for number in ranking if number < len(chunks)]
    scores = score_rankings([question], {"q": order}, metrics, document, "arm", chunk_span=span)
    return {score.metric: score.reason or score.value for score in scores}


def asking(make_question: Any, spans: list[tuple[str, int, int]], grade: int = 1) -> QAPair:
    question: QAPair = make_question(evidence=tuple(Evidence(name, "x", *ends, grade=grade) for name, *ends in spans))
    return question


@given(chunks=CHUNKS, evidence=st.lists(SPANS, min_size=1, max_size=6), ranking=RANKS, cutoff=st.integers(1, 12))
def test_they_are_shares_of_sets_of_characters(
    make_question: Any,
    chunks: list[tuple[str, int, int]],
    evidence: list[tuple[str, int, int]],
    ranking: list[int],
    cutoff: int,
) -> None:
    names = [f"SpanRecall@{cutoff}", f"SpanPrecision@{cutoff}"]
    found = scored(asking(make_question, evidence), chunks, ranking, names)
    first = list(dict.fromkeys(number for number in ranking if number < len(chunks)))[:cutoff]
    wanted, covered = positions(evidence), positions(chunks[number] for number in first)
    hits = len(wanted & covered)
    assert found == {names[0]: hits / len(wanted), names[1]: hits / len(covered) if covered else 0.0}


@given(chunks=CHUNKS, evidence=st.lists(SPANS, min_size=1, max_size=6), ranking=RANKS)
def test_recall_never_falls_with_more_passages(
    make_question: Any, chunks: list[tuple[str, int, int]], evidence: list[tuple[str, int, int]], ranking: list[int]
) -> None:
    names = [f"SpanRecall@{cutoff}" for cutoff in range(1, 13)]
    found = list(scored(asking(make_question, evidence), chunks, ranking, names).values())
    assert found == sorted(found)
    assert all(0 <= value <= 1 for value in found)


@given(spans=st.lists(SPANS, max_size=8), others=st.lists(SPANS, max_size=8))
def test_a_cover_is_a_set_of_characters(spans: list[tuple[str, int, int]], others: list[tuple[str, int, int]]) -> None:
    assert size(cover(spans)) == len(positions(spans))
    assert shared(cover(spans), cover(others)) == len(positions(spans) & positions(others))
    assert cover([*spans, *spans]) == cover(spans)


@given(text=st.integers(20, 60), length=st.integers(1, 20), evidence=SPANS)
def test_any_cut_of_the_documents_finds_all_of_the_evidence(
    make_question: Any, text: int, length: int, evidence: tuple[str, int, int]
) -> None:
    chunks = [(name, start, min(start + length, text)) for name in DOCUMENTS for start in range(0, text, length)]
    name, start, end = evidence
    question = asking(make_question, [(name, min(start, text - 1), min(end, text))])
    assert scored(question, chunks, list(range(len(chunks))), ["SpanRecall@999"]) == {"SpanRecall@999": 1.0}


def test_an_example_by_hand(make_question: Any) -> None:
    question = asking(make_question, [("a", 10, 20), ("a", 15, 25), ("b", 0, 5)])  # 15 and 5 characters
    chunks = [("a", 0, 15), ("a", 10, 20), ("b", 0, 10), ("b", 50, 60)]
    names = ["SpanRecall@1", "SpanPrecision@1", "SpanRecall@3", "SpanPrecision@3", "SpanPrecision@9"]
    assert list(scored(question, chunks, [0, 1, 1, 2, 3], names).values()) == [
        5 / 20,
        5 / 15,
        15 / 20,
        15 / 30,
        15 / 40,
    ]


def test_what_has_no_characters_is_none(make_question: Any) -> None:
    names = ["SpanRecall@5", "SpanPrecision@5", "R@5"]
    whole = make_question(evidence=(Evidence("a", None, 0, 500),))
    assert scored(whole, [("a", 0, 9)], [0], names) == dict.fromkeys(names[:2], "no characters given as evidence") | {
        "R@5": 1.0
    }
    bare = make_question(evidence=(Evidence("a", "c0"),))
    assert scored(bare, [("a", 0, 9)], [0], names[:1]) == {"SpanRecall@5": "no characters given as evidence"}
    irrelevant = asking(make_question, [("a", 0, 9)], grade=0)
    assert set(scored(irrelevant, [("a", 0, 9)], [0], names).values()) == {"no relevant passage"}
    both = make_question(
        evidence=(Evidence("a", "c0", 0, 9), Evidence("b", "c1", 0, 9, grade=0), Evidence("b", "c2", grade=0))
    )
    assert scored(both, [("a", 0, 9)], [0], names[:1]) == {"SpanRecall@5": 1.0}


def test_an_empty_ranking_is_zero_and_a_missing_one_is_none(make_question: Any) -> None:
    question = asking(make_question, [("a", 0, 9)])
    assert scored(question, [], [], ["SpanRecall@5", "SpanPrecision@5"]) == {"SpanRecall@5": 0, "SpanPrecision@5": 0}
    [score] = score_rankings([question], {}, ["SpanRecall@5"], {}, "arm")
    assert (score.value, score.reason) == (None, "no ranking")


def test_a_chunk_without_its_place_is_an_error(make_question: Any) -> None:
    question = asking(make_question, [("a", 0, 9)])
    with pytest.raises(UserError, match="'c0'"):
        score_rankings([question], {"q": [("c0", 1.0)]}, ["SpanRecall@5"], {"c0": "a"}, "arm")


def test_the_names_are_known_to_the_config_and_bad_ones_are_refused() -> None:
    names = ["SpanRecall@5", "SpanPrecision@10"]
    validate_metrics(names)
    config = {"data": {"documents": "python-reference"}, "evaluation": {"retrieval": names}}
    assert config_from_dict(config).evaluation.retrieval == names
    for bad in ("SpanRecall", "SpanRecall@0", "SpanF1@5", "spanrecall@5", "SpanRecall@5 "):
        with pytest.raises(UserError, match=re.escape(repr(bad))):
            validate_metrics([bad])
        with pytest.raises(UserError):
            config_from_dict({"data": {"documents": "python-reference"}, "evaluation": {"retrieval": [bad]}})
