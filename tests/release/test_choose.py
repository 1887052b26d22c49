from __future__ import annotations

from typing import Any

import pytest

from raglift.release.choose import Choice, choose, headline, sentence

METRICS = {"embedding": "nDCG@10", "llm": "token_f1"}
BOTH = {"embedding": "final", "llm": "step 20"}


def verdict(arm: str, metric: str, decision: str, question_set: str = "human", n: int = 10) -> dict[str, Any]:
    return {
        "question_set": question_set,
        "metric": metric,
        "arm": arm,
        "delta": 0.0625,
        "ci_low": 0.01,
        "ci_high": 0.125,
        "n": n,
        "decision": decision,
    }


def test_headline_is_the_usual_metric_where_it_was_measured() -> None:
    assert headline("embedding", ["RR@10", "nDCG@10"]) == "nDCG@10"
    assert headline("llm", ["exact_match", "token_f1"]) == "token_f1"
    assert headline("llm", ["rouge_l", "abstention"]) == "rouge_l"
    assert headline("llm", []) is None


def test_nothing_beat_the_base() -> None:
    choice = choose({"embedding": "base", "llm": "base"}, [], METRICS)
    assert (choice.arm, choice.embedding, choice.llm, choice.beat_base) == ("base", "base", "base", False)
    assert choice.why.count("nothing beat the base on the development split") == 2
    assert sentence(choice, {}, METRICS) == "Nothing beat the base models: they would be released as they are."


@pytest.mark.parametrize(
    ("on_dev", "arm"),
    [
        (BOTH, "tuned_both"),
        ({"embedding": "final", "llm": "base"}, "tuned_embedding"),
        ({"embedding": "base", "llm": "final"}, "tuned_llm"),
    ],
)
def test_the_development_split_chooses(on_dev: dict[str, str], arm: str) -> None:
    assert choose(on_dev, [], METRICS).arm == arm
    assert choose(on_dev, [], METRICS).beat_base is False  # no verdict, no claim


BOTH_WORSE = verdict("tuned_both", "token_f1", "worse")
EMBEDDING_WORSE = verdict("tuned_embedding", "nDCG@10", "worse", "synthetic")
LLM_WORSE = verdict("tuned_llm", "token_f1", "worse")


@pytest.mark.parametrize(
    ("verdicts", "arm"),
    [
        ([BOTH_WORSE], "tuned_embedding"),
        ([verdict("tuned_both", "nDCG@10", "worse", "synthetic")], "tuned_embedding"),
        ([BOTH_WORSE, EMBEDDING_WORSE], "tuned_llm"),
        ([BOTH_WORSE, EMBEDDING_WORSE, LLM_WORSE], "base"),
        ([EMBEDDING_WORSE, LLM_WORSE], "tuned_both"),  # together they are not
        ([verdict("tuned_both", "exact_match", "worse")], "tuned_both"),  # no headline
        ([verdict("tuned_both", "token_f1", "cannot tell")], "tuned_both"),
        ([verdict("tuned_both", "nDCG@10", "better"), BOTH_WORSE], "tuned_embedding"),  # a gain pays for no loss
    ],
)
def test_the_test_questions_can_only_veto(verdicts: list[dict[str, Any]], arm: str) -> None:
    choice = choose(BOTH, verdicts, METRICS)
    assert choice.arm == arm
    assert (choice.embedding == "tuned") == (arm in ("tuned_both", "tuned_embedding"))
    assert (choice.llm == "tuned") == (arm in ("tuned_both", "tuned_llm"))
    assert ("tuned_both is not released" in choice.why) == (arm != "tuned_both")


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_what_the_development_split_refused_is_not_released(target: str) -> None:
    on_dev = {name: "final" if name == target else "base" for name in BOTH}
    vetoed = choose(on_dev, [EMBEDDING_WORSE, LLM_WORSE], METRICS)
    assert vetoed.arm == "base"
    better = [verdict(arm, metric, "better") for arm in ("tuned_both", "tuned_llm") for metric in METRICS.values()]
    assert choose({"embedding": "base", "llm": "base"}, better, METRICS).arm == "base"


def test_the_veto_names_every_question_set() -> None:
    worse = [verdict("tuned_both", "token_f1", "worse", name) for name in ("human", "synthetic")]
    why = choose(BOTH, worse, METRICS).why
    assert "tuned_both is not released: token_f1 on the human set and token_f1 on the synthetic set got worse" in why
    assert "embedding model: final was best on the development split" in why
    assert "language model: step 20 was best on the development split" in why


@pytest.mark.parametrize(
    ("found", "beat"),
    [
        (verdict("tuned_both", "nDCG@10", "better"), True),
        (verdict("tuned_both", "token_f1", "better", "synthetic"), True),
        (verdict("tuned_both", "RR@10", "better"), False),  # not a headline metric
        (verdict("tuned_embedding", "nDCG@10", "better"), False),  # not the chosen arm
        (verdict("tuned_both", "nDCG@10", "cannot tell"), False),
    ],
)
def test_beating_the_base_needs_a_verdict_on_the_chosen_arm(found: dict[str, Any], beat: bool) -> None:
    assert choose(BOTH, [found], METRICS).beat_base is beat


def _summary(verdicts: list[dict[str, Any]], value: float | None = 0.75) -> dict[str, Any]:
    def table(metric: str) -> dict[str, Any]:
        return {"base": {metric: {"value": 0.5}}, "tuned_both": {metric: {"value": value}}}

    sets = {"human": {"origin": "human", "questions": 12}, "a synthetic": {"origin": "synthetic", "questions": 90}}
    return {
        "question_sets": sets,
        "retrieval": {name: table("nDCG@10") for name in sets},
        "response": {name: table("token_f1") for name in sets},
        "verdicts": verdicts,
    }


def test_the_sentence_gives_both_metrics_on_the_questions_of_people() -> None:
    choice = Choice("tuned_both", "tuned", "tuned", True, "")
    verdicts = [
        verdict("tuned_both", "nDCG@10", "better"),
        verdict("tuned_both", "token_f1", "cannot tell"),
        verdict("tuned_both", "nDCG@10", "worse", "a synthetic"),
    ]
    assert sentence(choice, _summary(verdicts), METRICS) == (
        "Tuning was worth it: on 12 questions that people wrote, token_f1 0.500 to 0.750 (+0.062, 95% interval +0.010 "
        "to +0.125: cannot tell) and nDCG@10 0.500 to 0.750 (+0.062, 95% interval +0.010 to +0.125: better)."
    )


def test_the_sentence_on_synthetic_questions_alone() -> None:
    summary = _summary([verdict("tuned_both", "nDCG@10", "cannot tell", "a synthetic")])
    del summary["question_sets"]["human"]
    text = sentence(Choice("tuned_both", "tuned", "tuned", False, ""), summary, METRICS)
    assert text.startswith("Tuning showed no certain gain: on 90 a synthetic questions, nDCG@10 0.500 to 0.750")
    assert "token_f1" not in text


def test_a_metric_that_failed_everywhere_is_left_out() -> None:
    summary = _summary([verdict("tuned_both", "token_f1", "cannot tell", n=0)], value=None)
    text = sentence(Choice("tuned_both", "tuned", "tuned", False, ""), summary, METRICS)
    assert text.endswith("on 12 questions that people wrote, nothing could be compared.")
