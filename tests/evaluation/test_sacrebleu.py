"""BLEU and chrF are sacrebleu's, scaled to the unit interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.response import score_answers

REFERENCES = {"bleu": sacrebleu.sentence_bleu, "chrf": sacrebleu.sentence_chrf}
WORDS = st.sampled_from(["the", "cat", "sat", "on", "a", "mat.", "don't", "$1.5", "\u6771\u4eac", "\u00e9t\u00e9"])
TEXTS = st.one_of(st.lists(WORDS, max_size=10).map(" ".join), st.text(max_size=40))


def value(make_question: Any, metric: str, answer: str, references: list[str]) -> float:
    question = make_question(answers=tuple(references))
    [score] = score_answers([question], {"q": answer}, [metric], "arm", lambda texts: np.empty((0, 1), np.float32))
    assert score.value is not None
    return score.value


@given(answer=TEXTS, references=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3))
def test_the_metrics_are_sacrebleus(make_question: Any, answer: str, references: list[str]) -> None:
    for metric, reference in REFERENCES.items():
        expected = reference(answer, references).score / 100
        assert value(make_question, metric, answer, references) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", REFERENCES)
def test_an_answer_that_is_a_reference_scores_one_and_no_more(make_question: Any, metric: str) -> None:
    texts = ["the cat sat on the mat and slept", "Paris", "in the year 1990, on a Monday"]
    for text in texts:
        assert value(make_question, metric, text, ["something else entirely", text]) == pytest.approx(1)
        assert value(make_question, metric, "", [text]) == 0


def test_bleu_takes_its_runs_from_all_references_at_once(make_question: Any) -> None:
    references = ["the cat sat on the mat", "a dog slept under a tree"]
    mixed = "the cat sat on the mat a dog slept under a tree"
    assert value(make_question, "bleu", mixed, references) > 1.2 * max(
        value(make_question, "bleu", mixed, [reference]) for reference in references
    )
