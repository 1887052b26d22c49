"""The embedding stage: pairs in, a tuned sentence-transformers model out, or the base if nothing beat it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn

from raglift.config import EmbeddingConfig
from raglift.corpus.stage import Corpus
from raglift.evaluation.retrieval import score_rankings
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, Role, features, load_encoder
from raglift.models.find import FoundModel
from raglift.models.flattened import flatten_inputs
from raglift.models.quick_dropout import quicken_dropout
from raglift.progress import Progress
from raglift.records import Chunk, QAPair
from raglift.training import recipe
from raglift.training.embedding_objective import EmbeddingObjective
from raglift.training.loop import Task, fit
from raglift.training.outcome import MODEL, embedding_objective_of, strategies_of, write_outcome
from raglift.training.pairs import Pair, PairBatches
from raglift.training.strategy import Strategy, shortened_by
from raglift.training.token_runs import Run, runs_of

VERSION = 4
METRIC = "nDCG@10"
_DEPTH = 10
_BLOCK = 1024
"""Texts tokenised at once."""


def mean_over_sets(
    ranked: Sequence[tuple[Sequence[QAPair], Mapping[str, Ranking]]], document_of: Mapping[str, str]
) -> float:
    """Mean nDCG@10 of each set's questions, all of which have evidence, and the mean of the sets.

    Args:
        ranked: Each set's questions, and their rankings by id.
        document_of: Chunk id -> document id.
    """
    found = values_by_set(ranked, document_of)
    return float(np.mean([float(np.mean(list(values.values()))) for values in found]))


def values_by_set(
    ranked: Sequence[tuple[Sequence[QAPair], Mapping[str, Ranking]]], document_of: Mapping[str, str]
) -> list[dict[str, float]]:
    """nDCG@10 of every question of each set, by id."""
    scored = [score_rankings(questions, found, [METRIC], document_of, "dev") for questions, found in ranked]
    return [{score.qa_id: score.value for score in scores if score.value is not None} for scores in scored]


class DevRanking:
    """Mean nDCG@10 on the development questions, those of people and the synthetic ones counting equally as sets.

    Attributes:
        sets: The questions of each set that have evidence; sets without any are left out.
    """

    def __init__(self, sets: Sequence[Sequence[QAPair]], chunks: Sequence[Chunk]) -> None:
        found = [[question for question in questions if question.evidence] for questions in sets]
        self.sets = [questions for questions in found if questions]
        self._chunks = chunks
        self._document = {chunk.id: chunk.document_id for chunk in chunks}

    def score(self, queries: Sequence[NDArray[np.float32]], passages: NDArray[np.float32]) -> float:
        """The score of vectors: of each set's questions, and of all chunks; their inner product ranks."""
        return mean_over_sets(self._ranked(queries, passages), self._document)

    def values(self, queries: Sequence[NDArray[np.float32]], passages: NDArray[np.float32]) -> list[dict[str, float]]:
        """What `score` is the mean of: question id -> nDCG@10, for each set."""
        return values_by_set(self._ranked(queries, passages), self._document)

    def _ranked(
        self, queries: Sequence[NDArray[np.float32]], passages: NDArray[np.float32]
    ) -> list[tuple[list[QAPair], dict[str, Ranking]]]:
        ranked = []
        for questions, vectors in zip(self.sets, queries, strict=True):
            scores = vectors @ passages.T
            best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
            rankings: dict[str, Ranking] = {
                question.id: tuple((self._chunks[row].id, float(line[row])) for row in rows)
                for question, rows, line in zip(questions, best, scores, strict=True)
            }
            ranked.append((questions, rankings))
        return ranked


class DevScore:
    """The development questions' score (`DevRanking`) of a model.

    The whole corpus is encoded, exactly as the index stage does it in torch.
    """

    def __init__(self, sets: Sequence[Sequence[QAPair]], corpus: Corpus, runtime: Runtime, display: Progress) -> None:
        self._ranking = DevRanking(sets, corpus.chunks)
        self._texts = [chunk.text for chunk in corpus.chunks]
        self._runtime = runtime
        self._display = display

    def __len__(self) -> int:
        return sum(len(questions) for questions in self._ranking.sets)

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        assert isinstance(model, SentenceTransformer)
        return self._ranking.score(*self._vectors(model))

    def values(self, model: SentenceTransformer) -> list[dict[str, float]]:
        """What the score is the mean of: question id -> nDCG@10, for each set."""
        return self._ranking.values(*self._vectors(model))

    def _vectors(self, model: SentenceTransformer) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Of each set's questions, and of all chunks."""
        encoder = Encoder(model, self._runtime)
        with self._display.stage("scoring the development split", len(self._texts), "chunks") as bar:
            passages = encoder.encode(self._texts, "passage", bar.advance)
        asked = [[question.question for question in questions] for questions in self._ranking.sets]
        return [encoder.encode(texts, "query") for texts in asked], passages


def build(
    settings: EmbeddingConfig,
    rows: Sequence[Pair],
    dev: Sequence[Sequence[QAPair]],
    corpus: Corpus,
    base: FoundModel,
    runtime: Runtime,
    job: Job,
) -> None:
    """Train and write `model/` (a plain sentence-transformers folder), model.json and training.json.

    Args:
        rows: Training pairs.
        dev: Development question sets, which choose the checkpoint and the mix.
        base: The model to start from.
    """
    strategies = strategies_of(settings.strategies)
    objective = embedding_objective_of(settings.objective)
    rows = learnable(rows, objective, job.display)
    if not strategies or len(rows) < 2 or not len(DevScore(dev, corpus, runtime, job.display)):
        job.display.warn(_why_not(bool(strategies), len(rows), "pairs"))
        write_outcome(job.out, "embedding", base, settings.strategies, None, None)
        return
    ready = quickened(ready_to_train(base, runtime), strategies, rows, runtime, job)
    model, runtime = ready.model, ready.runtime
    score = DevScore(dev, corpus, runtime, job.display)
    in_batch = objective.compares_batch()
    batches = PairBatches(rows, corpus.similar, model, settings.batch_size, job.seed, in_batch)
    loop = recipe.loop_settings(settings, "embedding", strategies, len(rows), len(batches))
    task = Task("embedding", batches, objective.build(model), score, objective.weight)
    fitted = fit(model, task, strategies, loop, runtime, job)
    if fitted.chosen != "base":
        save(ready.whole(fitted.model), strategies, job)
    write_outcome(job.out, "embedding", base, settings.strategies, fitted, loop)


@dataclass(frozen=True, slots=True)
class Ready:
    """A model as its training begins with it.

    Attributes:
        runtime: In whose precision it is trained.
        whole: The whole model, of what the training returns.
    """

    model: SentenceTransformer
    runtime: Runtime
    whole: Callable[[nn.Module], nn.Module]


def quickened(
    model: SentenceTransformer, strategies: Sequence[Strategy], rows: Sequence[Pair], runtime: Runtime, job: Job
) -> Ready:
    """The model with texts end to end where it can take them so, and with what stays frozen computed once."""
    short = shortened_by(strategies, model, "embedding", runtime)
    if short is None or short.fill is not None:
        flatten_inputs(model)
    if short is None:
        return Ready(model, runtime, lambda trained: trained)
    if short.fill is not None:
        short.fill(runs_of_texts(model, rows), job)
    else:
        # What is looked up was encoded in the run's precision; what little is left above it is computed in full.
        runtime = replace(runtime, dtype=torch.float32)
        look_up(short.model, rows, runtime, job.display)
    assert isinstance(short.model, SentenceTransformer)
    return Ready(short.model, runtime, short.whole)


def save(tuned: nn.Module, strategies: Sequence[Strategy], job: Job) -> None:
    """Write what a strategy saves of the tuned embedding model or cross-encoder, or all of it as a plain
    sentence-transformers folder."""
    if any(strategy.save(tuned, job.out / MODEL) for strategy in strategies):
        return
    for strategy in strategies:
        tuned = strategy.finish(tuned)
    assert isinstance(tuned, SentenceTransformer | CrossEncoder)
    tuned.save_pretrained(str(job.out / MODEL), create_model_card=False, safe_serialization=True)


def look_up(model: nn.Module, rows: Sequence[Pair], runtime: Runtime, display: Progress) -> None:
    """Have a shortened model compute all that training will look up, at once: sorted by length and with progress."""
    assert isinstance(model, SentenceTransformer)
    texts = _texts(rows)
    encoder = Encoder(model, runtime)
    with display.stage("computing what stays frozen, once", sum(len(found) for _, found in texts), "texts") as bar:
        for role, found in texts:
            encoder.encode(found, role, bar.advance)


def _texts(rows: Sequence[Pair]) -> list[tuple[Role, list[str]]]:
    """All that is trained on, by role."""
    return [
        ("query", [pair.query for pair in rows]),
        ("passage", [text for pair in rows for text in (pair.passage, *pair.negatives)]),
    ]


def runs_of_texts(model: SentenceTransformer, rows: Sequence[Pair]) -> Iterator[Run]:
    """The tokens of all that is trained on."""
    for role, texts in _texts(rows):
        distinct = list(dict.fromkeys(texts))
        for start in range(0, len(distinct), _BLOCK):
            yield from runs_of(features(model, distinct[start : start + _BLOCK], role))


def ready_to_train(base: FoundModel, runtime: Runtime) -> SentenceTransformer:
    """The base model as a training begins with it: with quick dropout, and none of attention weights."""
    model = load_encoder(base.path, runtime)
    without_attention_dropout(model)
    quicken_dropout(model)
    return model


def without_attention_dropout(model: nn.Module) -> None:
    """Switch dropout of attention weights off; that of hidden states stays as the model has it.

    The fused attention kernels of the processor know none, and without them a step of MiniLM takes 2.7 times as long.
    """
    for module in model.modules():
        dropout = getattr(module, "dropout", None)
        if type(module).__name__.endswith("SelfAttention") and isinstance(dropout, nn.Dropout):
            dropout.p = 0.0


def learnable(rows: Sequence[Pair], objective: EmbeddingObjective, display: Progress) -> list[Pair]:
    """The pairs that the objective can learn from: where it learns a teacher's scores, those that have them."""
    if objective.needs_teacher() is None:
        return list(rows)
    kept = [pair for pair in rows if pair.scores]
    if len(kept) < len(rows):
        display.warn(f"{len(rows) - len(kept)} of {len(rows)} pairs have no hard negative and are left out.")
    return kept


def _why_not(strategies: bool, rows: int, what: str) -> str:
    if not strategies:
        return "No strategy is named: the base stays as it is."
    return f"Nothing to train on or to choose by ({rows} {what}): the base stays as it is."
