"""Exact match and token F1 are those of SQuAD's published script."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.response import score_answers

WORDS = st.sampled_from(
    [
        "the",
        "The",
        "a",
        "an",
        "cat",
        "Cat.",
        "cat's",
        "U.S.",
        "1990",
        "1,990",
        "-",
        "\u2014",
        "th",
        "theory",
        "\u00c9t\u00e9",
    ]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=8).map(" ".join), st.text(max_size=30))


# The functions of evaluate-v1.1.py as they stand at https://rajpurkar.github.io/SQuAD-explorer (Rajpurkar et al. 2016),
# here as the reference alone; only the types are added.
def normalize_answer(s: str) -> str:
    def remove_articles(text: str) -> str:
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def white_space_fix(text: str) -> str:
        return " ".join(text.split())

    def remove_punc(text: str) -> str:
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    def lower(text: str) -> str:
        return text.lower()

    return white_space_fix(remove_articles(remove_punc(lower(s))))


def f1_score(prediction: str, ground_truth: str) -> float:
    prediction_tokens = normalize_answer(prediction).split()
    ground_truth_tokens = normalize_answer(ground_truth).split()
    common = Counter(prediction_tokens) & Counter(ground_truth_tokens)
    num_same = sum(common.values())
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(prediction_tokens)
    recall = 1.0 * num_same / len(ground_truth_tokens)
    return (2 * precision * recall) / (precision + recall)


def exact_match_score(prediction: str, ground_truth: str) -> bool:
    return normalize_answer(prediction) == normalize_answer(ground_truth)


def metric_max_over_ground_truths(
    metric_fn: Callable[[str, str], float], prediction: str, ground_truths: list[str]
) -> float:
    scores_for_ground_truths = []
    for ground_truth in ground_truths:
        score = metric_fn(prediction, ground_truth)
        scores_for_ground_truths.append(score)
    return max(scores_for_ground_truths)


@given(answer=TEXTS, references=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3))
def test_the_metrics_are_the_scripts(make_question: Any, answer: str, references: list[str]) -> None:
    question = make_question(answers=tuple(references))
    found = score_answers(
        [question], {"q": answer}, ["exact_match", "token_f1"], "arm", lambda texts: np.empty((0, 1), np.float32)
    )
    expected = [
        float(metric_max_over_ground_truths(function, answer, references)) for function in (exact_match_score, f1_score)
    ]
    assert [score.value for score in found] == pytest.approx(expected, abs=1e-12)
