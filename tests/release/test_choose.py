from __future__ import annotations

from typing import Any

import pytest

from raglift.release.choose import Choice, choose, headline, judging_set, sentence

METRICS = {"embedding": "nDCG@10", "llm": "token_f1"}
BOTH = {"embedding": "final", "llm": "step 20"}


def verdict(
    arm: str, metric: str, decision: str, question_set: str = "human", n: int = 10, p: float = 0.01
) -> dict[str, Any]:
    return {
        "question_set": question_set,
        "metric": metric,
        "arm": arm,
        "delta": 0.0625,
        "ci_low": 0.01,
        "ci_high": 0.125,
        "p": p,
        "n": n,
        "decision": decision,
    }


def test_headline_is_the_usual_metric_where_it_was_measured() -> None:
    assert headline("embedding", ["RR@10", "nDCG@10"]) == "nDCG@10"
    assert headline("llm", ["exact_match", "token_f1"]) == "token_f1"
    assert headline("llm", ["rouge_l", "abstention"]) == "rouge_l"
    assert headline("llm", []) is None
    assert headline("llm", ["answer_length", "wrongly_refused"]) == "wrongly_refused"  # a length judges nothing
    assert headline("llm", ["answer_length"]) is None


def test_nothing_beat_the_base() -> None:
    choice = choose({"embedding": "base", "llm": "base"}, [], METRICS, "human")
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
    assert choose(on_dev, [], METRICS, "human").arm == arm
    assert choose(on_dev, [], METRICS, "human").beat_base is False  # no verdict, no claim


@pytest.mark.parametrize(
    ("on_dev", "worse", "arm", "embedding"),
    [
        ({"embedding": "final", "llm": "final", "rerank": "step 3"}, (), "tuned_all", "tuned"),
        ({"embedding": "base", "llm": "final", "rerank": "step 3"}, (), "tuned_all", "base"),
        ({"embedding": "final", "llm": "base", "rerank": "step 3"}, (), "reranked", "tuned"),
        ({"embedding": "final", "llm": "final", "rerank": "step 3"}, ("tuned_all",), "reranked", "tuned"),
        ({"embedding": "final", "llm": "final", "rerank": "step 3"}, ("tuned_all", "reranked"), "tuned_both", "tuned"),
        ({"embedding": "final", "llm": "final", "rerank": "base"}, (), "tuned_both", "tuned"),
        ({"embedding": "base", "llm": "base", "rerank": "the model as it comes"}, (), "reranked", "base"),
    ],
)
def test_a_reranker_stands_on_the_embedding_model_that_was_chosen(
    on_dev: dict[str, str], worse: tuple[str, ...], arm: str, embedding: str
) -> None:
    choice = choose(on_dev, [verdict(name, "nDCG@10", "worse") for name in worse], METRICS, "human")
    assert (choice.arm, choice.embedding) == (arm, embedding)
    assert "reranker: " in choice.why


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
    choice = choose(BOTH, verdicts, METRICS, "human")
    assert choice.arm == arm
    assert (choice.embedding == "tuned") == (arm in ("tuned_both", "tuned_embedding"))
    assert (choice.llm == "tuned") == (arm in ("tuned_both", "tuned_llm"))
    assert ("tuned_both is not released" in choice.why) == (arm != "tuned_both")


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_what_the_development_split_refused_is_not_released(target: str) -> None:
    on_dev = {name: "final" if name == target else "base" for name in BOTH}
    vetoed = choose(on_dev, [EMBEDDING_WORSE, LLM_WORSE], METRICS, "human")
    assert vetoed.arm == "base"
    better = [verdict(arm, metric, "better") for arm in ("tuned_both", "tuned_llm") for metric in METRICS.values()]
    assert choose({"embedding": "base", "llm": "base"}, better, METRICS, "human").arm == "base"


def test_the_veto_names_every_question_set() -> None:
    worse = [verdict("tuned_both", "token_f1", "worse", name) for name in ("human", "synthetic")]
    why = choose(BOTH, worse, METRICS, "human").why
    assert "tuned_both is not released: token_f1 on the human set and token_f1 on the synthetic set got worse" in why
    assert "embedding model: final was best on the development split" in why
    assert "language model: step 20 was best on the development split" in why


@pytest.mark.parametrize(
    ("found", "beat"),
    [
        (verdict("tuned_both", "nDCG@10", "better"), True),
        (verdict("tuned_both", "token_f1", "better"), True),
        (verdict("tuned_both", "token_f1", "better", "synthetic"), False),  # people's questions decide
        (verdict("tuned_both", "RR@10", "better"), False),  # not a headline metric
        (verdict("tuned_embedding", "nDCG@10", "better"), False),  # not the chosen arm
        (verdict("tuned_both", "nDCG@10", "cannot tell"), False),
    ],
)
def test_beating_the_base_needs_a_verdict_on_the_chosen_arm(found: dict[str, Any], beat: bool) -> None:
    assert choose(BOTH, [found], METRICS, "human").beat_base is beat


def test_better_on_synthetic_questions_alone_does_not_beat_the_base_where_people_asked() -> None:
    synthetic = [verdict("tuned_both", metric, "better", "a synthetic", p=1e-6) for metric in METRICS.values()]
    human = [verdict("tuned_both", metric, "cannot tell", p=0.6) for metric in METRICS.values()]
    summary = _summary([*synthetic, *human])
    choice = choose(BOTH, summary["verdicts"], METRICS, judging_set(summary["question_sets"]))
    assert (choice.arm, choice.beat_base) == ("tuned_both", False)
    del summary["question_sets"]["human"]
    assert choose(BOTH, synthetic, METRICS, judging_set(summary["question_sets"])).beat_base is True


@pytest.mark.parametrize(
    ("p_retrieval", "p_response", "beat"),
    [
        (0.03, None, True),  # one headline metric: nothing to correct for
        (0.03, 0.9, False),
        (0.03, 0.04, False),
        (0.02, 0.9, True),
        (0.9, 0.02, True),
        (0.025, 0.05, True),
    ],
)
def test_two_headline_metrics_are_two_chances(p_retrieval: float, p_response: float | None, beat: bool) -> None:
    chances = {"nDCG@10": p_retrieval} | ({} if p_response is None else {"token_f1": p_response})
    verdicts = [verdict("tuned_both", m, "better" if p <= 0.05 else "cannot tell", p=p) for m, p in chances.items()]
    # None of these is a chance of its own: another set, another arm, no headline.
    others = [
        verdict("tuned_both", "nDCG@10", "cannot tell", "synthetic", p=0.5),
        verdict("tuned_llm", "token_f1", "cannot tell", p=0.5),
        verdict("tuned_both", "RR@10", "cannot tell", p=0.5),
    ]
    assert choose(BOTH, verdicts + others, METRICS, "human").beat_base is beat


def test_a_small_p_in_the_wrong_direction_beats_nothing() -> None:
    # `decision` is corrected over more metrics than the headlines: "cannot tell" stays so whatever p is.
    assert choose(BOTH, [verdict("tuned_both", "nDCG@10", "cannot tell", p=0.001)], METRICS, "human").beat_base is False


@pytest.mark.parametrize(
    ("origins", "judge"),
    [
        ({"a": "synthetic", "people": "human"}, "people"),
        ({"z": "human", "y": "human", "a": "synthetic"}, "y"),
        ({"b": "synthetic", "a": "synthetic"}, "a"),
        ({}, None),
    ],
)
def test_people_judge_where_they_asked(origins: dict[str, str], judge: str | None) -> None:
    assert judging_set({name: {"origin": origin} for name, origin in origins.items()}) == judge


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
        verdict("tuned_both", "token_f1", "cannot tell", n=9),
        verdict("tuned_both", "nDCG@10", "worse", "a synthetic", n=80),
    ]
    assert sentence(choice, _summary(verdicts), METRICS) == (
        "Tuning was worth it, on questions that people wrote: token_f1 0.500 to 0.750 (+0.062, 95% interval +0.010 to "
        "+0.125, 9 questions: cannot tell) and nDCG@10 0.500 to 0.750 (+0.062, 95% interval +0.010 to +0.125, "
        "10 questions: better)."
    )


def test_the_sentence_on_synthetic_questions_alone() -> None:
    summary = _summary([verdict("tuned_both", "nDCG@10", "cannot tell", "a synthetic")])
    del summary["question_sets"]["human"]
    text = sentence(Choice("tuned_both", "tuned", "tuned", False, ""), summary, METRICS)
    assert text.startswith("Tuning showed no certain gain, on a synthetic questions: nDCG@10 0.500 to 0.750")
    assert "token_f1" not in text


def test_a_metric_that_failed_everywhere_is_left_out() -> None:
    failed = verdict("tuned_both", "token_f1", "cannot tell", n=0)
    measured = verdict("tuned_both", "nDCG@10", "cannot tell")
    summary = _summary([failed, measured])
    summary["response"]["human"]["tuned_both"]["token_f1"]["value"] = None
    text = sentence(Choice("tuned_both", "tuned", "tuned", False, ""), summary, METRICS)
    assert text.startswith("Tuning showed no certain gain, on questions that people wrote: nDCG@10")
    assert "token_f1" not in text


@pytest.mark.parametrize("asked", [True, False])
def test_without_anything_to_compare_the_sentence_says_so(asked: bool) -> None:
    summary = _summary([verdict("tuned_both", "token_f1", "cannot tell", n=0)] if asked else [], value=None)
    if not asked:
        summary["question_sets"] = {}
    text = sentence(Choice("tuned_both", "tuned", "tuned", False, ""), summary, METRICS)
    assert text == "Tuning showed no certain gain: there were no test questions to compare on."
