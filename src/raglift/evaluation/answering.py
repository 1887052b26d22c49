"""What the arms do with the questions: rankings, then answers, every prompt answered once a model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from raglift.evaluation.arms import ARMS, Arm
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search
from raglift.index.first_stage import FirstStage
from raglift.index.fusions._base import Fusion
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.rewording import by_generator, journalled
from raglift.index.store import FaissStore
from raglift.index.transforms._base import QueryTransform
from raglift.journal import Journal
from raglift.models.encoder import Encoder
from raglift.models.generation import Generator, Sampling
from raglift.models.reranker import Reranker
from raglift.progress import Progress
from raglift.records import Answered, QAPair, content_id

KEPT_RANKS = 20
"""Ranks that are kept on disk; all of them are scored."""
_BATCH = 32
_VARIANTS = ("base", "tuned")
_QUERIES = 256  # BM25's, between two steps of the bar
# As many as FAISS multiplies at once. Another cut, or a short last part, would round the scores in another way.
_VECTORS = 4096


@dataclass(frozen=True)
class Pipelines:
    """What the arms are made of: both variants of each model, loaded when first asked for.

    Attributes:
        encoder: "base" or "tuned" -> the embedding model.
        store: "base" or "tuned" -> the index of its vectors.
        generator: "base" or "tuned" -> the language model.
        llm_key: "base" or "tuned" -> the hash of its weights; equal where the base won.
        bm25: Over the same chunks.
        fusion: "base" or "tuned" -> how its rankings and BM25's become one.
        text_of: Chunk id -> text.
        render: (question, passages) -> prompt, as in training and serving.
        read: What the model wrote -> the answer in it.
        arms: What is compared.
        reranker: Puts passages in order for the arms that are `reranked`; None where none was chosen.
        transforms: Name -> what puts questions in other words, for the arms that name it.
    """

    encoder: Callable[[str], Encoder]
    store: Callable[[str], FaissStore]
    generator: Callable[[str], Generator]
    llm_key: Mapping[str, str]
    bm25: Bm25
    fusion: Mapping[str, Fusion]
    text_of: Mapping[str, str]
    render: Callable[[str, Sequence[str]], str]
    read: Callable[[str], str]
    arms: Sequence[Arm] = ARMS
    reranker: Callable[[], Reranker | None] = lambda: None
    transforms: Mapping[str, QueryTransform] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Passages a prompt, length of a ranking, most tokens that are written, and passages that a reranker puts in
    order."""

    top_k: int
    depth: int
    max_new_tokens: int
    rerank_depth: int = 0


Timed = tuple[Mapping[str, Ranking], float]
"""Question id -> ranking, and seconds a question."""
Reworded = tuple[Sequence[tuple[Search, ...]], float]
"""What is searched for in place of each question, and seconds a question."""
Result = TypeVar("Result")


def reword(
    questions: Sequence[QAPair], pipelines: Pipelines, journal: Journal, seed: int, display: Progress
) -> dict[str, Reworded]:
    """Transform -> what is searched for in place of each question; the base language model writes it, once."""
    if not pipelines.transforms or not questions:
        return {}
    texts = [question.question for question in questions]
    start = time.perf_counter()

    def write(transform: QueryTransform, asked: Sequence[str]) -> list[list[str]]:
        return by_generator(pipelines.generator("base"), seed)(transform, asked)  # loaded if anything is left to write

    found = journalled(pipelines.transforms, texts, write, journal, display)
    spent = (time.perf_counter() - start) / len(texts) / len(found)
    return {name: (searches, spent) for name, searches in found.items()}


def rank(
    questions: Sequence[QAPair],
    pipelines: Pipelines,
    limits: Limits,
    display: Progress,
    reworded: Mapping[str, Reworded] = MappingProxyType({}),
) -> dict[str, Timed]:
    """Arm -> rankings of every question, for every arm that retrieves.

    Args:
        reworded: Of every transform that an arm names; see `reword`.
    """
    texts = [question.question for question in questions]
    vectors = {}
    with display.stage("encoding questions", len(texts) * len(_VARIANTS), "questions") as bar:
        for which in _VARIANTS:
            vectors[which] = _timed(partial(pipelines.encoder(which).encode, texts, "query", bar.advance), len(texts))
    found: dict[tuple[str, str], tuple[list[Ranking], float]] = {}
    with display.stage("ranking passages", len(texts) * (1 + 2 * len(_VARIANTS)), "rankings") as bar:
        sparse, sparse_seconds = _timed(partial(_sparse, pipelines.bm25, texts, limits, bar.advance), len(texts))
        found["bm25", "none"] = sparse, sparse_seconds
        for which, (rows, encoding) in vectors.items():
            search = partial(_dense, pipelines.store(which), rows, limits, bar.advance)
            dense, searching = _timed(search, len(texts))
            hybrid = []
            for pair in zip(dense, sparse, strict=True):
                hybrid.append(pipelines.fusion[which].fuse(*pair, limits.depth)[: limits.depth])
                bar.advance()
            found["dense", which] = dense, encoding + searching
            found["hybrid", which] = hybrid, encoding + searching + sparse_seconds
    ids = [question.id for question in questions]
    ranked = {}
    for arm in pipelines.arms:
        if arm.retrieval != "none":
            if arm.transform:
                ranked[arm.name] = _searched(arm, *reworded[arm.transform], pipelines, limits)
                continue
            first = found[arm.retrieval, arm.embedding]
            if arm.reranked and ("reranked", "") not in found:
                found["reranked", ""] = _reranked(texts, *first, pipelines, limits, display)
            ranked[arm.name] = found["reranked", ""] if arm.reranked else first
    return {name: (dict(zip(ids, rankings, strict=True)), seconds) for name, (rankings, seconds) in ranked.items()}


def _searched(
    arm: Arm, searches: Sequence[tuple[Search, ...]], seconds: float, pipelines: Pipelines, limits: Limits
) -> tuple[list[Ranking], float]:
    """What the arm finds by the searches that stand in place of the questions."""
    which = arm.embedding
    dense = Dense.of_store(pipelines.encoder(which), pipelines.store(which))
    first = FirstStage(dense, pipelines.bm25, limits.depth, pipelines.fusion[which])
    found, spent = _timed(partial(first.rankings, searches, limits.depth), len(searches))
    return found, seconds + spent


def _reranked(
    texts: Sequence[str],
    first: Sequence[Ranking],
    seconds: float,
    pipelines: Pipelines,
    limits: Limits,
    display: Progress,
) -> tuple[list[Ranking], float]:
    """The first stage's best passages in the reranker's order; without one, the first stage's rankings."""
    reranker = pipelines.reranker()
    if reranker is None:
        return list(first), seconds
    asked = [(text, ranking[: limits.rerank_depth]) for text, ranking in zip(texts, first, strict=True)]
    pairs = sum(len(ranking) for _, ranking in asked)
    with display.stage("re-ordering passages", pairs, "passages") as bar:
        found, spent = _timed(partial(reranker.rerank, asked, pipelines.text_of, bar.advance), len(texts))
    return found, seconds + spent


def _sparse(bm25: Bm25, texts: Sequence[str], limits: Limits, advance: Callable[[int], None]) -> list[Ranking]:
    found: list[Ranking] = []
    for start in range(0, len(texts), _QUERIES):
        part = texts[start : start + _QUERIES]
        found += bm25.rankings(part, limits.depth)
        advance(len(part))
    return found


def _dense(
    store: FaissStore, vectors: NDArray[np.float32], limits: Limits, advance: Callable[[int], None]
) -> list[Ranking]:
    found: list[Ranking] = []
    parts = max(1, len(vectors) // _VECTORS)
    for number in range(parts):
        part = vectors[number * _VECTORS : (number + 1) * _VECTORS if number < parts - 1 else None]
        found += dense_rankings(store, part, limits.depth)
        advance(len(part))
    return found


def _timed(work: Callable[[], Result], count: int) -> tuple[Result, float]:
    """What `work` returns, and its seconds a question."""
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) / max(1, count)


def to_answer(questions: Sequence[QAPair], most: int | None, seed: int) -> list[QAPair]:
    """The questions that the arms answer: those with a known right reaction, a seeded sample of at most `most`."""
    usable = [question for question in questions if question.answers or not question.answerable]
    if most is None or len(usable) <= most:
        return usable
    chosen = set(random.Random(f"{seed}/answers").sample(range(len(usable)), most))
    return [question for position, question in enumerate(usable) if position in chosen]


def answer(
    questions: Sequence[QAPair],
    asked: Sequence[QAPair],
    rankings: Mapping[str, Timed],
    pipelines: Pipelines,
    limits: Limits,
    journal: Journal,
    display: Progress,
) -> list[Answered]:
    """What every arm did with every question; only `asked` ones have answers.

    Arms that put the same prompt to the same model share the answer and its time, and batches are sorted by length
    over all arms: most prompts of two arms are equal where their retrieval agrees.
    """
    passages = {
        arm.name: passages_of(arm, asked, rankings, limits.top_k) for arm in pipelines.arms if arm.llm != "none"
    }
    prompts = {
        name: {q.id: pipelines.render(q.question, [pipelines.text_of[c] for c in chosen[q.id]]) for q in asked}
        for name, chosen in passages.items()
    }
    replies = _generate(prompts, pipelines, limits, journal, display)
    found = []
    for arm in pipelines.arms:
        by_question, seconds = rankings.get(arm.name, ({}, 0.0))
        for question in questions:
            prompt = prompts.get(arm.name, {}).get(question.id)
            reply = replies[pipelines.llm_key[arm.llm], prompt] if prompt is not None else _UNASKED
            contexts = tuple(pipelines.text_of[c] for c in passages.get(arm.name, {}).get(question.id, ()))
            ranking = tuple(by_question.get(question.id, ()))[:KEPT_RANKS]
            spent, counts = seconds + reply.seconds, (reply.tokens_in, reply.tokens_out)
            found.append(Answered(question.id, arm.name, ranking, contexts, reply.text, spent, *counts))
    return found


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a model made of a prompt."""

    text: str | None
    seconds: float = 0.0
    tokens_in: int | None = None
    tokens_out: int | None = None


_UNASKED = _Reply(None)


def passages_of(arm: Arm, asked: Sequence[QAPair], rankings: Mapping[str, Timed], top_k: int) -> dict[str, list[str]]:
    """Question id -> the chunks that stand in the arm's prompt, in their order; none for a closed book."""
    by_question = rankings[arm.name][0] if arm.retrieval != "none" else {}
    return {q.id: [chunk_id for chunk_id, _ in by_question.get(q.id, ())[:top_k]] for q in asked}


def _generate(
    prompts: Mapping[str, Mapping[str, str]], pipelines: Pipelines, limits: Limits, journal: Journal, display: Progress
) -> dict[tuple[str, str], _Reply]:
    """(model key, prompt) -> what came of it. A finished batch is in the journal and is not answered again."""
    wanted: dict[str, dict[str, None]] = {}
    which_of: dict[str, str] = {}
    for arm in pipelines.arms:
        if arm.name in prompts:
            key = pipelines.llm_key[arm.llm]
            which_of.setdefault(key, arm.llm)
            wanted.setdefault(key, {}).update(dict.fromkeys(prompts[arm.name].values()))
    replies: dict[tuple[str, str], _Reply] = {}
    total = sum(len(texts) for texts in wanted.values())
    batches = [
        (key, ordered[start : start + _BATCH])
        for key, texts in wanted.items()
        for ordered in [sorted(texts, key=lambda text: (-len(text), text))]
        for start in range(0, len(ordered), _BATCH)
    ]
    done = sum(len(batch) for key, batch in batches if _unit(key, batch) in journal)
    with display.stage("answering with every arm", total, "answers", done=done) as bar:
        for key, batch in batches:
            unit = _unit(key, batch)
            if unit not in journal:
                start = time.perf_counter()
                generator = pipelines.generator(which_of[key])
                texts = generator.generate(batch, Sampling(limits.max_new_tokens))
                spent = (time.perf_counter() - start) / len(batch)
                counts = zip(generator.count(batch), generator.count(texts), strict=True)
                journal.append(unit, [[text.strip(), spent, *n] for text, n in zip(texts, counts, strict=True)])
                bar.advance(len(batch))
            for prompt, (text, *numbers) in zip(batch, journal[unit], strict=True):
                replies[key, prompt] = _Reply(pipelines.read(text), *numbers)
    return replies


def _unit(key: str, batch: Sequence[str]) -> str:
    return content_id(key, *batch)
