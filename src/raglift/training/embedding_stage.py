"""The embedding stage: pairs in, a tuned sentence-transformers model out, or the base if nothing beat it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from torch import nn

from raglift.config import EmbeddingConfig
from raglift.corpus.stage import Corpus
from raglift.evaluation.retrieval import score_rankings
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import FoundModel
from raglift.progress import Progress
from raglift.records import QAPair
from raglift.training import recipe
from raglift.training.embedding_objective import EmbeddingObjective
from raglift.training.loop import Task, fit
from raglift.training.outcome import MODEL, embedding_objective_of, strategies_of, write_outcome
from raglift.training.pairs import Pair, PairBatches

VERSION = 2
METRIC = "nDCG@10"
_DEPTH = 10


class DevScore:
    """Mean nDCG@10 on the development questions, those of people and the synthetic ones counting equally as sets.

    The whole corpus is encoded, exactly as the index stage will do it.
    """

    def __init__(self, sets: Sequence[Sequence[QAPair]], corpus: Corpus, runtime: Runtime, display: Progress) -> None:
        self._sets = [[q for q in questions if q.evidence] for questions in sets]
        self._sets = [questions for questions in self._sets if questions]
        self._corpus = corpus
        self._runtime = runtime
        self._display = display
        self._document = {chunk.id: chunk.document_id for chunk in corpus.chunks}

    def __len__(self) -> int:
        return sum(len(questions) for questions in self._sets)

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        assert isinstance(model, SentenceTransformer)
        encoder = Encoder(model, self._runtime)
        chunks = self._corpus.chunks
        with self._display.stage("scoring the development split", len(chunks), "chunks") as bar:
            passages = encoder.encode([chunk.text for chunk in chunks], "passage", bar.advance)
        means = []
        for questions in self._sets:
            scores = encoder.encode([q.question for q in questions], "query") @ passages.T
            best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
            rankings: dict[str, Ranking] = {
                question.id: tuple((chunks[row].id, float(line[row])) for row in rows)
                for question, rows, line in zip(questions, best, scores, strict=True)
            }
            values = [s.value for s in score_rankings(questions, rankings, [METRIC], self._document, "dev")]
            means.append(float(np.mean([value for value in values if value is not None])))
        return float(np.mean(means))


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
    score = DevScore(dev, corpus, runtime, job.display)
    if not strategies or len(rows) < 2 or not len(score):
        job.display.warn(_why_not(bool(strategies), len(rows), "pairs"))
        write_outcome(job.out, "embedding", base, settings.strategies, None, None)
        return
    model = ready_to_train(base, runtime)
    in_batch = objective.compares_batch()
    batches = PairBatches(rows, corpus.similar, model, settings.batch_size, job.seed, in_batch)
    loop = recipe.loop_settings(settings, "embedding", strategies, len(rows), len(batches))
    task = Task("embedding", batches, objective.build(model), score, objective.weight)
    fitted = fit(model, task, strategies, loop, runtime, job)
    if fitted.chosen != "base" and not any(s.save(fitted.model, job.out / MODEL) for s in strategies):
        tuned = fitted.model
        for strategy in strategies:
            tuned = strategy.finish(tuned)
        assert isinstance(tuned, SentenceTransformer)
        tuned.save_pretrained(str(job.out / MODEL), create_model_card=False, safe_serialization=True)
    write_outcome(job.out, "embedding", base, settings.strategies, fitted, loop)


def ready_to_train(base: FoundModel, runtime: Runtime) -> SentenceTransformer:
    """The base model as a training begins with it.

    Dropout of attention weights is off, that of hidden states as the model has it: the fused attention kernels of the
    processor know none, and without them a step of MiniLM takes 2.7 times as long.
    """
    model = load_encoder(base.path, runtime)
    for module in model.modules():
        dropout = getattr(module, "dropout", None)
        if type(module).__name__.endswith("SelfAttention") and isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
    return model


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
