"""Response metrics agree with the scripts that define them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer

from raglift import plugins
from raglift.errors import UserError
from raglift.evaluation.metrics._base import ResponseMetric
from raglift.evaluation.metrics.exact_match import normalize_answer
from raglift.evaluation.response import score_answers
from raglift.evaluation.scale import SECONDS, Scale, scale_of

REFERENCE_METRICS = [
    *("exact_match", "token_f1", "rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "numeric_match", "json_valid"),
    "semantic_similarity",
]
WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "a", "mat", "dog", "on", "1990"]), max_size=8).map(" ".join)


def letters(texts: list[str]) -> NDArray[np.float32]:
    """Normalised letter counts, a stand-in for a sentence embedding."""
    counts = np.array([[text.lower().count(chr(97 + number)) for number in range(26)] for text in texts], dtype=float)
    lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)
    return np.asarray(counts / lengths, dtype=np.float32)


def refuse(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError(f"nothing should be embedded, got {texts}")


def value(metric: str, question: Any, answer: str | None) -> float | None:
    [score] = score_answers([question], {question.id: answer}, [metric], "arm", letters)
    return score.value


def test_every_metric_is_a_plugin_named_like_its_file() -> None:
    names = plugins.names("response metric")
    assert {*REFERENCE_METRICS, "abstention", "string_presence"} < set(names)
    for name in names:
        metric = plugins.load("response metric", name)
        assert isinstance(metric, ResponseMetric)
        assert metric.name == name
        assert scale_of(name) == metric.scale


def test_the_scale_of_every_metric_is_known() -> None:
    lower = {"wrongly_refused", "wrongly_answered"}
    for name in plugins.names("response metric"):
        scale = scale_of(name)
        if name == "answer_length":
            assert (scale, scale.judged) == (Scale(0, math.inf, None), False)
        else:
            assert scale.judged
            assert scale.bounds == ((0, 100) if name == "readability" else (0, 1))
            assert scale.better == ("lower" if name in lower else "higher")
    assert scale_of("nDCG@10") == scale_of("SpanRecall@5") == scale_of("a judge's") == Scale(0, 1, "higher")
    assert scale_of(SECONDS).described() == {"low": 0, "high": None, "better": "lower"}
    assert [Scale(0, 1, better).judged for better in ("higher", "lower", None)] == [True, True, False]
    assert not any(scale.judged for scale in (scale_of(SECONDS), Scale(0, math.inf), Scale(-math.inf, 0)))


def test_an_unknown_metric_is_an_error(make_question: Any) -> None:
    with pytest.raises(UserError, match="token_fl"):
        score_answers([make_question()], {}, ["token_fl"], "arm", letters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat, sat.", "cat sat"),
        ("a  an the", ""),
        ("U.S.A.", "usa"),
        ("another theory", "another theory"),
        ("\u00c9t\u00e9 \u2014 1990", "\u00e9t\u00e9 \u2014 1990"),  # only ASCII punctuation goes
    ],
)
def test_normalisation_is_squads(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("answer", "references", "exact", "f1"),
    [
        ("The Denver Broncos!", ("Denver Broncos",), 1.0, 1.0),
        ("It was the Denver Broncos", ("Denver Broncos",), 0.0, 2 / 3),
        ("Broncos", ("Carolina Panthers", "Denver Broncos"), 0.0, 2 / 3),
        ("cat cat", ("cat",), 0.0, 2 / 3),  # a repeated word counts as often as the reference has it
        ("1990", ("1991",), 0.0, 0.0),
        ("the", ("A",), 1.0, 0.0),  # both normalise to nothing; the official script gives just this
        ("", ("Denver",), 0.0, 0.0),
    ],
)
def test_squad_examples(make_question: Any, answer: str, references: tuple[str, ...], exact: float, f1: float) -> None:
    question = make_question(answers=references)
    assert value("exact_match", question, answer) == exact
    assert value("token_f1", question, answer) == pytest.approx(f1)


@given(left=WORDS, right=WORDS)
def test_f1_and_rouge_are_symmetric_and_bounded(make_question: Any, left: str, right: str) -> None:
    for name in ("token_f1", "rouge_l"):
        metric = plugins.load("response metric", name)
        forth, back = metric.compare(left, right), metric.compare(right, left)
        assert forth == pytest.approx(back)
        assert 0 <= forth <= 1
    if normalize_answer(left):
        assert plugins.load("response metric", "rouge_l").compare(left, left) == 1
    assert (plugins.load("response metric", "token_f1").compare(left, right) == 1) == (
        sorted(normalize_answer(left).split()) == sorted(normalize_answer(right).split()) != []
    )


@pytest.mark.parametrize(("name", "kind"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")])
@given(
    answer=st.one_of(WORDS, st.text(st.characters(max_codepoint=126))),
    references=st.lists(st.one_of(WORDS, st.text("abc XYZ-_'.\n19")), min_size=1),
)
def test_rouge_is_rouge_scores_on_ascii(
    make_question: Any, name: str, kind: str, answer: str, references: list[str]
) -> None:
    expected = RougeScorer([kind], use_stemmer=False).score_multi(references, answer)[kind].fmeasure
    got = value(name, make_question(answers=tuple(references)), answer)
    if any(reference.strip() for reference in references):
        assert got == pytest.approx(expected)
    else:
        assert got is None


def test_rouge_tells_words_from_pairs_from_order(make_question: Any) -> None:
    question = make_question(answers=("the cat sat on the mat",))
    found = [value(name, question, "on the mat the cat sat") for name in ("rouge_1", "rouge_2", "rouge_l")]
    assert found == pytest.approx([1.0, 4 / 5, 1 / 2])
    assert value("rouge_2", make_question(answers=("Paris",)), "Paris") == 0


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        (
            "\u041c\u043e\u0441\u043a\u0432\u0430 \u0433\u043e\u0440\u043e\u0434",
            "\u041c\u043e\u0441\u043a\u0432\u0430",
            2 / 3,
        ),
        ("caf\u00e9", "cafe\u0301", 1.0),  # composed and decomposed
        ("\u6771\u4eac\u90fd", "\u6771\u4eac", 0.8),  # Han, a token each
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
            2 / 3,
        ),
    ],
)
def test_rouge_l_reads_other_scripts(make_question: Any, answer: str, reference: str, expected: float) -> None:
    assert value("rouge_l", make_question(answers=(reference,)), answer) == pytest.approx(expected)


def test_similarity_is_the_cosine_to_the_nearest_reference(make_question: Any) -> None:
    question = make_question(answers=("zzz", "abbb"))
    assert value("semantic_similarity", question, "ab") == pytest.approx(4 / np.sqrt(2 * 10), abs=1e-6)
    assert value("semantic_similarity", question, "abbb") == pytest.approx(1.0)


def test_similarity_embeds_each_text_once_and_is_cut_to_the_unit_interval(make_question: Any) -> None:
    calls: list[list[str]] = []

    def embed(texts: list[str]) -> NDArray[np.float32]:
        calls.append(texts)
        signs = [[-1.0 if text == "opposite" else np.nan if text == "broken" else 1.0001] for text in texts]
        return np.array(signs, dtype=np.float32)

    answers = {"same": "same", "opposite": "opposite", "broken": "broken", "again": "same", "blank": " "}
    questions = [make_question(name, answers=("reference",)) for name in answers]
    scores = score_answers(questions, answers, ["semantic_similarity"], "arm", embed)
    assert [score.value for score in scores] == [1.0, 0.0, None, 1.0, 0.0]
    assert scores[2].reason
    assert [sorted(call) for call in calls] == [["broken", "opposite", "reference", "same"]]


def test_similarity_refuses_vectors_of_another_number(make_question: Any) -> None:
    with pytest.raises(ValueError, match="2 texts"):
        score_answers(
            [make_question(answers=("yes",))], {"q": "no"}, ["semantic_similarity"], "arm", lambda texts: letters(["x"])
        )


@pytest.mark.parametrize("metric", REFERENCE_METRICS)
def test_what_cannot_be_scored_is_none_with_its_reason(make_question: Any, metric: str) -> None:
    questions = [
        make_question("unanswerable", answerable=False),
        make_question("bare", answers=()),
        make_question("blank", answers=(" ",)),
        make_question("failed", answers=("[1]",)),  # words, a number and JSON
        make_question("unasked", answers=("[1]",)),
    ]
    answers = {"unanswerable": "yes", "bare": "yes", "blank": "yes", "failed": None}
    scores = score_answers(questions, answers, [metric], "arm", refuse)
    assert [score.value for score in scores] == [None] * 5
    assert [score.reason for score in scores] == [
        "unanswerable",
        "no reference answer",
        "no reference answer",
        "no answer",
        "no answer",
    ]
    assert {(score.metric, score.arm) for score in scores} == {(metric, "arm")}


def test_scores_come_metric_by_metric_in_the_order_of_the_questions(make_question: Any) -> None:
    questions = [make_question(name, answers=("yes",)) for name in ("b", "a")]
    scores = score_answers(questions, {"a": "yes", "b": "no"}, ["token_f1", "exact_match"], "arm", refuse)
    assert [(score.metric, score.qa_id, score.value) for score in scores] == [
        ("token_f1", "b", 0.0),
        ("token_f1", "a", 1.0),
        ("exact_match", "b", 0.0),
        ("exact_match", "a", 1.0),
    ]
