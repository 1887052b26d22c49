"""One row of one set: a training by the loop, what it took, what it is worth at home, and what it lost elsewhere."""

from __future__ import annotations

import copy
import gc
import resource
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from strategies_data import Asked, Domain
from torch import nn

from raglift import plugins
from raglift.evaluation.retrieval import score_rankings
from raglift.job import Job
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.fused import quicken
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import QAPair, Target
from raglift.synthesis.training_sets import embedding_pairs
from raglift.training import embedding_stage, llm_stage, recipe
from raglift.training.examples import Example, ExampleBatches
from raglift.training.loop import Task, fit
from raglift.training.outcome import MODEL, embedding_objective_of, objective_of, strategies_of
from raglift.training.pairs import PairBatches
from raglift.training.strategy import Strategy

METRIC = "nDCG@10"
_DEPTH = 100
_BELOW = -1.0
"""What the base scores here: it must not be what the training ends with."""
_SCORED_AT_ONCE = 8
Values = dict[str, float]
"""Question or passage id -> value."""


class Watch:
    """The loop's score of a model, which also notes what was taken until the last step was done.

    The base loses, so that the loop ends with its last state; strategies that offer further candidates have theirs
    scored, others nothing at all.
    """

    def __init__(self, score: Callable[[nn.Module], float] | None) -> None:
        self._score = score
        self._calls = 0
        self._began = time.perf_counter(), time.process_time()
        self.taken: dict[str, float] = {}

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        self._calls += 1
        if self._calls == 1:
            return _BELOW
        if not self.taken:
            wall, cpu = self._began
            self.taken = {
                "wall_seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "peak_mb": peak_mb(),
            }
        return self._score(model) if self._score is not None else 0.0


def peak_mb() -> float:
    """The most memory that this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in kibibytes


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left: its folder, None for the base, and what the row says of it."""

    folder: Path | None
    about: dict[str, Any]


def measured(domain: Domain, other: Domain, target: Target, base: bool) -> dict[str, Any]:
    """The row of the domain's config; with `base`, that of the model as it is."""
    before = peak_mb()
    shutil.rmtree(domain.folder / "training", ignore_errors=True)  # of a row that was cut off
    job = domain.job("training")
    train, judge = (tune_embedding, judge_embedding) if target == "embedding" else (tune_llm, judge_llm)
    try:
        trained = Trained(None, {}) if base else train(domain, job)
        gc.collect()
        judged = judge(domain, other, trained.folder)
    finally:
        shutil.rmtree(job.out)
    machine = {"threads": domain.runtime.threads, "dtype": str(domain.runtime.dtype).removeprefix("torch.")}
    return {**trained.about, "libraries_mb": before, **machine, **judged}


def about(watch: Watch, strategies: Sequence[Strategy], loop: Any, chosen: str, folder: Path) -> dict[str, Any]:
    """What a row says about its training."""
    last = f"step {loop.steps}"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        **watch.taken,
        "disk_mb": size / 1e6,
        "steps": loop.steps,
        "learning_rate": loop.learning_rate,
        "strategies": [[type(s).__name__, s.model_dump(mode="json")] for s in strategies],
        "state": "last" if chosen == last else chosen,
    }


def tune_embedding(domain: Domain, job: Job) -> Trained:
    """Train as the embedding stage does."""
    settings, runtime = domain.config.embedding, domain.runtime
    strategies = strategies_of(settings.strategies)
    objective = embedding_objective_of(settings.objective)
    rows = embedding_pairs(domain.written, domain.corpus)
    whole = embedding_stage.ready_to_train(domain.models.embedding, runtime)
    dev = embedding_stage.DevScore(_dev(domain), domain.corpus, runtime, job.display)
    watch = Watch(dev if any(s.needs_mixes for s in strategies) else None)
    ready = embedding_stage.quickened(whole, strategies, rows, runtime, job)
    model, runtime = ready.model, ready.runtime
    in_batch = objective.compares_batch()
    batches = PairBatches(rows, domain.corpus.similar, model, settings.batch_size, job.seed, in_batch)
    loop = recipe.loop_settings(settings, "embedding", strategies, len(rows), len(batches))
    task = Task("embedding", batches, objective.build(model), watch, objective.weight)
    fitted = fit(model, task, strategies, loop, runtime, job)
    embedding_stage.save(ready.whole(fitted.model), strategies, job)
    return Trained(job.out / MODEL, about(watch, strategies, loop, fitted.chosen, job.out / MODEL))


def tune_llm(domain: Domain, job: Job) -> Trained:
    """Train as the language-model stage does."""
    settings, runtime, base = domain.config.llm, domain.runtime, domain.models.llm
    strategies = strategies_of(settings.strategies)
    tokenizer = load_tokenizer(base.path)
    rows = [Example(**row) for row in domain.examples]
    dev = domain.asked("dev")
    batches = ExampleBatches(rows, tokenizer, runtime.device, settings.batch_size, job.seed)
    model, end = llm_stage.ready_to_train(base, strategies, batches, runtime, job)
    loop = recipe.loop_settings(settings, "llm", strategies, len(rows), len(batches))
    objective = objective_of(settings.objective)

    def score(model: nn.Module) -> float:
        # The loop's own score would write in float32 where all weights learn.
        acting = copy.deepcopy(model).to(runtime.dtype).eval()
        return _mean(answered(Generator(acting, tokenizer), dev, settings.new_tokens))  # type: ignore[arg-type]

    watch = Watch(score if any(s.needs_mixes for s in strategies) else None)
    task = Task("llm", batches, objective.build(model), watch, objective.weight)
    fitted = fit(model, task, strategies, loop, runtime, job)
    end()
    folder, tuned = job.out / MODEL, fitted.model
    if not any(strategy.save(tuned, folder) for strategy in strategies):
        for strategy in strategies:
            tuned = strategy.finish(tuned)
        tuned.save_pretrained(str(folder), safe_serialization=True)  # type: ignore[operator]
        tokenizer.save_pretrained(str(folder))
    return Trained(folder, about(watch, strategies, loop, fitted.chosen, folder))


def _dev(domain: Domain) -> list[list[QAPair]]:
    return [domain.people("dev"), [q for q in domain.written if q.split == "dev"]]


def judge_embedding(domain: Domain, other: Domain, folder: Path | None) -> dict[str, Any]:
    """nDCG@10 of people's questions about held-out documents, and of all of the other set's."""
    encoder = Encoder(load_encoder(domain.models.embedding.path, domain.runtime, folder), domain.runtime)
    chunks = domain.corpus.chunks
    passages = encoder.encode([chunk.text for chunk in chunks], "passage")
    dev = embedding_stage.DevRanking(_dev(domain), chunks)
    queries = [encoder.encode([question.question for question in asked], "query") for asked in dev.sets]
    elsewhere = encoder.encode([chunk.text for chunk in other.corpus.chunks], "passage")
    home, away = domain.people("test"), other.people("train", "dev", "test")
    return {
        "dev": dev.score(queries, passages),
        "quality": ranked(encoder, domain, home, passages),
        "outside": ranked(encoder, other, away, elsewhere),
        "clusters": {question.id: question.evidence[0].document_id for question in (*home, *away)},
    }


def ranked(encoder: Encoder, domain: Domain, questions: Sequence[QAPair], passages: Any) -> Values:
    """nDCG@10 of each question over all passages of its set."""
    chunks = domain.corpus.chunks
    scores = encoder.encode([question.question for question in questions], "query") @ passages.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    rankings = {
        question.id: tuple((chunks[row].id, float(line[row])) for row in rows)
        for question, rows, line in zip(questions, best, scores, strict=True)
    }
    documents = {chunk.id: chunk.document_id for chunk in chunks}
    found = score_rankings(questions, rankings, [METRIC], documents, "row")
    return {score.qa_id: score.value for score in found if score.value is not None}


def judge_llm(domain: Domain, other: Domain, folder: Path | None) -> dict[str, Any]:
    """Token F1 on people's questions about held-out documents; nats a token of the other set's passages."""
    base, most = domain.models.llm.path, domain.config.llm.new_tokens
    model, tokenizer = quicken(load_causal_lm(base, domain.runtime, folder)), load_tokenizer(base)
    writer, reader = Generator(model, tokenizer), Generator(model, tokenizer, _SCORED_AT_ONCE)
    test, passages = domain.asked("test"), other.outside
    start = str(tokenizer.bos_token or tokenizer.eos_token)
    found = reader.score([start] * len(passages), [text for text, _ in passages.values()])
    outside = {
        chunk_id: likelihood.mean_log_probability
        for chunk_id, likelihood in zip(passages, found, strict=True)
        if likelihood.mean_log_probability is not None
    }
    documents = {chunk_id: document for chunk_id, (_, document) in passages.items()}
    return {
        "dev": _mean(answered(writer, domain.asked("dev"), most)),
        "quality": answered(writer, test, most),
        "outside": outside,
        "clusters": {row.id: row.document for row in test} | documents,
    }


def answered(generator: Generator, asked: Sequence[Asked], most: int) -> Values:
    """Token F1 of each answer against the nearest of the right ones."""
    metric = plugins.load("response metric", "token_f1")
    texts = generator.generate([row.prompt for row in asked], Sampling(most))
    return {
        row.id: max(float(metric.compare(text.strip(), answer)) for answer in row.answers)
        for row, text in zip(asked, texts, strict=True)
    }


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
