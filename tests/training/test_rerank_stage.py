"""The reranker stage: what is scored, what is to be beaten, and what is left behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llama_index.core.schema import NodeWithScore
from sentence_transformers import CrossEncoder
from torch import nn

from raglift.artifacts import WORK, Artifact
from raglift.config import RerankConfig
from raglift.errors import UserError
from raglift.index.encoding import node
from raglift.index.mixed_order import MixedReranker
from raglift.index.ranking import Ranking
from raglift.index.rerankers import LiftReranker
from raglift.models.find import find_model
from raglift.models.reranker import CrossEncoderReranker, Reranker, load_reranker
from raglift.models.rerankers import open_reranker
from raglift.records import Chunk, Evidence, QAPair
from raglift.training import rerank_stage
from raglift.training.loop import Fitted, fit
from raglift.training.outcome import Outcome, read_outcome
from raglift.training.parameters import block_list
from raglift.training.rerank_stage import DevScore
from raglift.training.trials import Trial, Variant
from tests import tasks
from tests.tasks import QUIET, RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate(SENTENCES)]
CORPUS: Any = SimpleNamespace(chunks=CHUNKS, text_of={chunk.id: chunk.text for chunk in CHUNKS})


def asked(row: int, places: Sequence[int]) -> tuple[QAPair, Ranking]:
    """A question whose own passage stands where it is put among others."""
    pair = QAPair(f"q{row}", QUESTIONS[row][0], (), (Evidence(f"d{row}", f"c{row}"),), "factoid", "dev", "human")
    return pair, tuple((f"c{place}", 1.0 / (1 + rank)) for rank, place in enumerate(places))


DEV = [[asked(0, [1, 0, 2]), asked(1, [2, 3, 1])], [asked(2, [2, 5, 6])], []]


def test_the_score_is_ndcg_of_the_models_order(monkeypatch: pytest.MonkeyPatch, tiny_cross_encoder: Path) -> None:
    score = DevScore(DEV, CORPUS, RUNTIME, QUIET)
    assert len(score) == 3
    second, third = 1 / torch.tensor(3.0).log2(), 0.5
    assert score.first_stage == pytest.approx(float(((second + third) / 2 + 1) / 2)), "sets count equally"
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    right = {(QUESTIONS[row][0], SENTENCES[row]) for row in range(3)}
    monkeypatch.setattr(
        CrossEncoderReranker, "scores", lambda _, pairs, advance: torch.tensor([float(p in right) for p in pairs])
    )
    assert score(model) == 1
    monkeypatch.setattr(
        CrossEncoderReranker, "scores", lambda _, pairs, advance: torch.tensor([-float(p in right) for p in pairs])
    )
    assert score(model) == pytest.approx(0.5)


def test_scores_in_serving_are_those_of_the_development_split(tiny_cross_encoder: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    seen: list[Sequence[Ranking]] = []

    class Watched(DevScore):
        def _mean(self, rankings: Sequence[Ranking]) -> float:
            seen.append(rankings)
            return super()._mean(rankings)

    Watched(DEV, CORPUS, RUNTIME, QUIET)(model)
    served = LiftReranker(CrossEncoderReranker(model, RUNTIME), 3, "folder")
    for (question, ranking), scored in zip([one for dev in DEV for one in dev], seen[0], strict=True):
        nodes = [NodeWithScore(node=node(CHUNKS[int(chunk_id[1:])]), score=score) for chunk_id, score in ranking]
        found = served.postprocess_nodes(nodes, query_str=question.question)
        assert [hit.node.node_id for hit in found] == [chunk_id for chunk_id, _ in scored]
        assert [hit.score for hit in found] == pytest.approx([score for _, score in scored], abs=1e-5)


class Scores(DevScore):
    """Development scores as they are told; the first stage's comes first."""

    first = 0.5
    later: Sequence[float] = ()

    def __init__(self, *_: Any) -> None:
        self._left = iter(self.later)

    def __len__(self) -> int:
        return 1

    @property
    def first_stage(self) -> float:
        return self.first

    def __call__(self, model: nn.Module) -> float:
        return next(self._left)

    def of_mixes(self, reranker: Reranker, shares: Sequence[float]) -> dict[float, float]:
        return {share: next(self._left) for share in shares}


def run(
    base: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: Sequence[float],
    rows: int = 8,
    **settings: Any,
) -> tuple[Outcome, dict[str, Any]]:
    monkeypatch.setattr(rerank_stage, "DevScore", type("Told", (Scores,), {"later": scores}))
    (out / WORK).mkdir(parents=True)
    given = {"batch_size": 4, "epochs": 1, "learning_rate": 1e-3, "evaluations": 2, "first_stage_share": 0, **settings}
    config = RerankConfig.model_validate(given)
    job = tasks.job(out)
    rerank_stage.build(config, tasks.lists()[:rows], [], CORPUS, find_model(str(base)), RUNTIME, job)
    return read_outcome(out, "key"), json.loads((out / "training.json").read_text("utf-8"))


@pytest.mark.parametrize(("score", "chosen"), [(0.6, "base"), (0.4, "not reranked")])
def test_a_language_model_is_taken_as_it_comes_if_it_beats_the_first_stage(
    score: float, chosen: str, tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, training = run(tiny_llm, tmp_path / "out", monkeypatch, (score,), strategies=[])
    assert (outcome.record.chosen, outcome.tuned) == (chosen, None)
    assert training["candidates"] == [{"name": "not reranked", "dev": 0.5}, {"name": "base", "dev": score}]


@pytest.mark.parametrize(
    ("scores", "chosen", "share"),
    [
        ((0.6, 0.7, 0.65, 0.7, 0.5), "base", 0.2),  # of equal ones the least
        ((0.4, 0.3, 0.55, 0.5, 0.5), "base", 0.4),  # alone it does not beat the first stage
        ((0.4, 0.3, 0.5, 0.5, 0.5), "not reranked", 0.0),
    ],
)
def test_the_development_questions_choose_what_the_first_stage_counts(
    scores: Sequence[float],
    chosen: str,
    share: float,
    tiny_cross_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = {"strategies": [], "first_stage_share": "auto"}
    outcome, training = run(tiny_cross_encoder, tmp_path / "out", monkeypatch, scores, **more)
    assert (outcome.record.chosen, outcome.record.first_stage_share) == (chosen, share)
    assert {row["name"]: row["dev"] for row in training["candidates"]} == {
        "not reranked": 0.5,
        **dict(zip(["base", *(f"base, 0.{n} first stage" for n in (2, 4, 6, 8))], scores, strict=True)),
    }


@pytest.mark.parametrize("people", [0, 19, 20])
def test_a_language_model_is_chosen_by_people_or_counts_half(people: int) -> None:
    asked, ranking = DEV[0][0]
    dev = [[(replace(asked, origin="synthetic"), ranking)] * 30, [(replace(asked, origin="human"), ranking)] * people]
    questions, shares = rerank_stage.choosing(RerankConfig(), dev, language_model=True)
    assert sum(map(len, questions)) == (20 if people == 20 else 30 + people)
    assert len(shares) == (5 if people == 20 else 1)
    assert people == 20 or shares == (0.5,)
    fixed = RerankConfig(first_stage_share=0.2)
    assert rerank_stage.choosing(fixed, dev, language_model=True)[1] == (0.2,)
    assert rerank_stage.choosing(RerankConfig(), dev, language_model=False) == (dev, rerank_stage._SHARES)


def test_a_mix_on_the_development_split_is_what_is_served(tiny_llm: Path) -> None:
    score, reranker = DevScore(DEV, CORPUS, RUNTIME, QUIET), open_reranker(tiny_llm, RUNTIME)
    every = [(question.question, ranking) for asked in DEV for question, ranking in asked]
    for share, found in score.of_mixes(reranker, (0.0, 0.3)).items():
        assert found == score._mean(MixedReranker(reranker, share).rerank(every, CORPUS.text_of))


def test_a_language_model_is_not_tuned(tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is not tuned as a reranker") as caught:
        run(tiny_llm, tmp_path / "out", monkeypatch, ())
    assert "rerank.strategies: []" in caught.value.fix


def test_the_score_of_a_language_models_order(tiny_llm: Path) -> None:
    score, reranker = DevScore(DEV, CORPUS, RUNTIME, QUIET), open_reranker(tiny_llm, RUNTIME)
    every = [(question.question, ranking) for asked in DEV for question, ranking in asked]
    expected = score._mean(reranker.rerank(every, CORPUS.text_of))
    assert score.of(reranker) == expected


@pytest.mark.parametrize("epochs", [1, 2])
def test_what_stays_frozen_is_computed_once_if_it_is_met_again(
    epochs: int, tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fitted: list[nn.Module] = []

    def watched(model: nn.Module, *rest: Any) -> Fitted:
        lowest = block_list(model)[1][0].get_submodule("intermediate.dense")
        handle = lowest.register_forward_hook(lambda *_: calls.append(1))
        found = fit(model, *rest)
        handle.remove()
        fitted.append(found.model)
        return found

    monkeypatch.setattr(rerank_stage, "fit", watched)
    settings = {"strategies": [{"top_layers": {"layers": 1}}], "epochs": epochs}
    outcome, _ = run(tiny_cross_encoder, tmp_path / "out", monkeypatch, (0.3, 0.6, 0.7), **settings)
    assert bool(calls) == (epochs == 1)
    assert not any("forward" in vars(module) for module in fitted[0].modules())
    assert outcome.record.chosen == f"step {2 * epochs}"
    assert outcome.tuned is not None
    tuned_and_base = (outcome.tuned, tiny_cross_encoder)
    tuned, base = (dict(load_reranker(path, RUNTIME).named_parameters()) for path in tuned_and_base)
    moved = {name for name, value in tuned.items() if name in base and not torch.equal(value, base[name])}
    assert any(".layer.1." in name for name in moved)
    assert not any(".layer.0." in name or "embeddings" in name for name in moved)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [((0.6, 0.7), "step 2"), ((0.6, 0.55), "step 1"), ((0.5, 0.4), "not reranked"), ((0.1, 0.2), "not reranked")],
)
def test_a_new_head_must_beat_the_first_stage(
    scores: tuple[float, ...], chosen: str, tiny_embedding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, training = run(tiny_embedding, tmp_path / "out", monkeypatch, scores)
    assert outcome.record.chosen == training["chosen"] == chosen
    assert training["candidates"] == [
        {"name": "not reranked", "dev": 0.5},
        *({"name": f"step {step}", "dev": score} for step, score in enumerate(scores, 1)),
    ]
    assert (outcome.tuned is None) == (chosen == "not reranked") == (not (tmp_path / "out" / "model").exists())
    if outcome.tuned is not None:
        plain = CrossEncoder(str(outcome.tuned), device="cpu", local_files_only=True)
        assert plain.num_labels == 1


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((0.6, 0.7, 0.65), "step 1"),
        ((0.6, 0.55, 0.6), "base"),
        ((0.4, 0.45, 0.48), "not reranked"),
        ((0.5, 0.4, 0.4), "not reranked"),
    ],
)
def test_a_cross_encoder_is_a_candidate_as_it_comes(
    scores: tuple[float, ...], chosen: str, tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, training = run(tiny_cross_encoder, tmp_path / "out", monkeypatch, scores)
    assert outcome.record.chosen == chosen
    assert [(c["name"], c["dev"]) for c in training["candidates"]] == [
        ("not reranked", 0.5),
        *zip(("base", "step 1", "step 2"), scores, strict=True),
    ]
    assert (outcome.tuned is not None) == (chosen == "step 1")


def test_what_was_trained_is_mixed_with_the_first_stage(
    tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = (0.4, 0.45, 0.42, *(0.46, 0.51, 0.48, 0.5))  # the base, two checkpoints; the better one's mixes
    outcome, training = run(tiny_cross_encoder, tmp_path / "out", monkeypatch, scores, first_stage_share="auto")
    assert (outcome.record.chosen, outcome.record.first_stage_share) == ("step 1", 0.4)
    assert {c["name"]: c["dev"] for c in training["candidates"]}["step 1, 0.4 first stage"] == 0.51
    assert outcome.tuned is not None


def test_trainings_are_compared_by_the_order_that_is_used(
    tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone the better checkpoint would lose to a training that ended with the first stage's own order."""
    _, training = run(tiny_cross_encoder, tmp_path / "m", monkeypatch, (0.4, 0.45, 0.42, 0.6), first_stage_share=0.4)
    trial = Trial(Variant(RerankConfig(), "rerank"), Artifact("rerank", "key", tmp_path / "m", 1.0, cached=False))
    assert (trial.result()["chosen"], trial.result()["dev"]) == ("step 1, 0.4 first stage", 0.6)
    assert training["chosen"] in {candidate["name"] for candidate in training["candidates"]}


@pytest.mark.parametrize(("score", "chosen"), [(0.6, "base"), (0.4, "not reranked")])
@pytest.mark.parametrize("left", [{"strategies": []}, {"rows": 0}])
def test_without_training_a_cross_encoder_may_still_serve(
    score: float,
    chosen: str,
    left: dict[str, Any],
    tiny_cross_encoder: Path,
    tiny_embedding: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome, _ = run(tiny_cross_encoder, tmp_path / "out", monkeypatch, (score,), **left)
    assert (outcome.record.chosen, outcome.tuned) == (chosen, None)
    outcome, _ = run(tiny_embedding, tmp_path / "fresh", monkeypatch, (), **left)
    assert (outcome.record.chosen, outcome.tuned) == ("not reranked", None)


@pytest.mark.parametrize("strategy", ["full", "lora", "bias_only", "vital_parameters", "bottleneck_adapter"])
def test_a_new_head_is_saved_with_whatever_a_strategy_saves(
    strategy: str, tiny_embedding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    fit = rerank_stage.fit
    monkeypatch.setattr(rerank_stage, "fit", lambda *given: kept.append(fit(*given)) or kept[-1])
    specs = [{"vital_parameters": {"share": 0.05}} if strategy == "vital_parameters" else strategy]
    outcome, _ = run(tiny_embedding, tmp_path / "out", monkeypatch, (0.6, 0.7), strategies=specs)
    assert outcome.tuned is not None
    expected = tasks.outputs("rerank", tiny_embedding, kept[0].model)
    loaded = load_reranker(tiny_embedding, RUNTIME, outcome.tuned)
    torch.testing.assert_close(tasks.outputs("rerank", tiny_embedding, loaded), expected, rtol=0, atol=1e-5)
    base = tasks.outputs("rerank", tiny_embedding, load_reranker(tiny_embedding, RUNTIME))
    assert not torch.allclose(base, expected, atol=1e-4)
