"""A head for people who hold an embedding and pairs, without a run: any LlamaIndex embedding, also a remote one."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from raglift.artifacts import WORK, write_atomic
from raglift.config import EmbeddingConfig, PluginSpec
from raglift.config_check import check_objective
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, Role
from raglift.models.head import take_off
from raglift.models.headed import HeadedEmbedding
from raglift.models.vectors import Vectors
from raglift.progress import Progress
from raglift.records import content_id
from raglift.training import recipe
from raglift.training.loop import Task, fit
from raglift.training.outcome import embedding_objective_of, strategies_of
from raglift.training.pairs import Pair, PairBatches, asked

_BLOCK = 256
"""Texts that the embedding is asked for between two writes to disk."""
_DEPTH = 10
_HELD_OUT = 5
"""One passage in so many, with its questions, chooses where no development pairs are given."""
RUNTIME = Runtime(torch.device("cpu"), torch.float32, 1)
"""A head is a matrix product or two: moving vectors to another device would take longer than its steps."""


def tune_head(
    embedding: BaseEmbedding,
    pairs: Sequence[tuple[str, str]],
    dev: Sequence[tuple[str, str]] | None = None,
    passages: Sequence[str] = (),
    *,
    head: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    quiet: bool = False,
    **settings: Any,
) -> HeadedEmbedding:
    """Train a head above a LlamaIndex embedding on (question, passage) pairs.

    The embedding is asked for each text once. Where nothing beats it on the development pairs, the head moves nothing.

    Args:
        embedding: Any; only its vectors are used.
        pairs: Questions with the passage that answers each.
        dev: Pairs that choose and never train; None: a fifth of the passages of `pairs`, with their questions.
        passages: More texts among which a development question must find its own: the rest of the index.
        head: Hyper-parameters of the strategy `embedding_head`: layers, sides, hidden.
        folder: Where vectors, checkpoints and the head are kept, so that a call that was cut off goes on.
        quiet: Show no progress.
        settings: Keys of a config's section `embedding`: epochs, learning_rate, batch_size, objective, ...

    Raises:
        UserError: Too little to train on or to choose by, vectors of several widths, or an objective that cannot learn
            from pairs alone. ValidationError: A bad setting.

    Example:
        >>> headed = raglift.tune_head(embedding, pairs, head={"layers": 2}, epochs=5)
        >>> headed.dev["base"], max(headed.dev.values())
    """
    given = {"strategies": [{"embedding_head": dict(head or {})}, "weight_interpolation"]} | settings
    config = EmbeddingConfig.model_validate(given)
    _check_objective(config.objective)
    if config.sweep is not None or config.curve_shares or config.recipe is not None:
        raise UserError(
            "tune_head trains one head.",
            "sweep, recipe and learning_curve ask for several trainings, of which a run keeps the artifacts.",
            "Call it once for each learning_rate, and compare the heads' dev.",
        )
    train, held = (list(pairs), list(dev)) if dev is not None else _held_out(pairs, seed)
    if len(train) < 2 or not held:
        raise UserError(
            "There is too little to tune a head on.",
            f"{len(train)} pairs train and {len(held)} choose.",
            "Give at least ten pairs over five different passages, or development pairs of their own.",
        )
    display = Progress(quiet=quiet)
    with tempfile.TemporaryDirectory() as temporary:
        job = Job(Path(folder) if folder is not None else Path(temporary), seed, display)
        (job.out / WORK).mkdir(parents=True, exist_ok=True)
        headed = _tune(config, embedding, train, held, passages, job)
        if folder is not None:
            headed.save(folder)
    return headed


def _check_objective(spec: PluginSpec) -> None:
    problems = [message for _, message in check_objective("embedding", spec)]
    if not problems and embedding_objective_of(spec).needs_teacher() is not None:
        problems = [f"{spec.name!r} learns a teacher's scores of hard negatives, and pairs have none."]
    if problems:
        raise UserError(
            "The objective cannot train a head on pairs.",
            "; ".join(problems),
            "Take multiple_negatives, gist or matryoshka, or tune the embedding in a run, which finds hard negatives.",
        )


def _held_out(pairs: Sequence[tuple[str, str]], seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs that train and pairs that choose, which share no passage and no question."""
    passages = sorted({passage for _, passage in pairs})
    chosen = set(random.Random(f"{seed}/held out").sample(passages, len(passages) // _HELD_OUT))
    held = [pair for pair in pairs if pair[1] in chosen]
    questions = {asked(question) for question, _ in held}
    return [pair for pair in pairs if pair[1] not in chosen and asked(pair[0]) not in questions], held


def _tune(
    config: EmbeddingConfig,
    embedding: BaseEmbedding,
    train: Sequence[tuple[str, str]],
    held: Sequence[tuple[str, str]],
    passages: Sequence[str],
    job: Job,
) -> HeadedEmbedding:
    asking = Asking(embedding, job)
    every = list(dict.fromkeys([passage for _, passage in (*train, *held)] + list(passages)))
    dimension = asking(every, "passage").shape[1]
    asking([question for question, _ in (*train, *held)], "query")
    model = SentenceTransformer(modules=[Vectors(asking, dimension)], device=str(RUNTIME.device))
    answers: dict[str, list[str]] = {}
    for question, passage in train:
        answers.setdefault(asked(question), []).append(content_id(passage))
    rows = [Pair(q, passage, content_id(passage), also=tuple(answers[asked(q)])) for q, passage in train]
    strategies = strategies_of(config.strategies)
    batches = PairBatches(rows, {}, model, config.batch_size, job.seed)
    loop = recipe.loop_settings(config, "embedding", strategies, len(rows), len(batches))
    objective = embedding_objective_of(config.objective)
    task = Task("embedding", batches, objective.build(model), DevScore(held, every), objective.weight)
    named = (embedding.class_name(), embedding.model_name, config.model_dump_json())
    work = replace(job, out=job.out / WORK / content_id(*named, job.seed, list(train), list(held), every))
    fitted = fit(model, task, strategies, loop, RUNTIME, work)
    dev = {candidate.name: candidate.score for candidate in fitted.candidates}
    assert isinstance(fitted.model, SentenceTransformer)
    return HeadedEmbedding(embedding, take_off(fitted.model), dev)


class Asking:
    """An embedding's vectors, of unit length; what was once paid for is on disk and not asked for again."""

    def __init__(self, embedding: BaseEmbedding, job: Job) -> None:
        self._embedding = embedding
        self._job = job
        self._known: dict[tuple[Role, str], NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Vectors of the texts in a role, shape (texts, dimension).

        Raises:
            UserError: The vectors differ in width.
        """
        new = sorted({text for text in texts if (role, text) not in self._known})
        blocks = [new[start : start + _BLOCK] for start in range(0, len(new), _BLOCK)]
        with self._job.display.stage(f"embedding {role} texts", len(new), "texts") as bar:
            for block in blocks:
                self._known |= {(role, text): row for text, row in zip(block, self._block(block, role), strict=True)}
                bar.advance(len(block))
        found = [self._known[role, text] for text in texts]
        if len({len(row) for row in found}) > 1:
            raise UserError("The embedding's vectors differ in width.", "Those that are kept come from another one.")
        return np.array(found)

    def _block(self, texts: list[str], role: Role) -> NDArray[np.float32]:
        name = content_id(self._embedding.class_name(), self._embedding.model_name, role, *texts)
        file = self._job.out / WORK / f"vectors-{name}.npy"
        if not file.exists():
            if isinstance(self._embedding, LiftEmbedding):  # also questions in batches, which LlamaIndex has none of
                vectors = self._embedding.encoder.encode(texts, role)
            elif role == "passage":
                vectors = np.array(self._embedding.get_text_embedding_batch(texts), dtype=np.float32)
            else:
                vectors = np.array([self._embedding.get_query_embedding(text) for text in texts], dtype=np.float32)
            buffer = BytesIO()
            np.save(buffer, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
            write_atomic(file, buffer.getvalue())
        loaded: NDArray[np.float32] = np.load(file, allow_pickle=False)
        return loaded


class DevScore:
    """Mean nDCG@10 of the development questions, each with its own passages to be found among all of them."""

    def __init__(self, held: Sequence[tuple[str, str]], passages: Sequence[str]) -> None:
        self._passages = list(passages)
        place = {text: row for row, text in enumerate(self._passages)}
        self._right: dict[str, set[int]] = {}
        for question, passage in held:
            self._right.setdefault(question, set()).add(place[passage])

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        assert isinstance(model, SentenceTransformer)
        encoder = Encoder(model, RUNTIME)
        scores = encoder.encode(list(self._right), "query") @ encoder.encode(self._passages, "passage").T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
        gains = 1 / np.log2(np.arange(2, _DEPTH + 2))
        values = []
        for right, line in zip(self._right.values(), best, strict=True):
            gained = sum(gains[rank] for rank, row in enumerate(line) if int(row) in right)
            values.append(gained / gains[: len(right)].sum())
        return float(np.mean(values))
