"""What a run's models, base and tuned, do with texts outside of its documents: a score an item, nothing summed up.

Data that flows: the probe -> each model's losses and closed-book answers, or its rankings -> scores of the arms "base"
and "tuned". What one model has done is in a journal, or in a cache of vectors, before the next begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raglift.artifacts import WORK
from raglift.evaluation.metrics.exact_match import normalize_answer
from raglift.evaluation.probe import Probe
from raglift.evaluation.response import score_answers
from raglift.evaluation.retention import BASE, LOSS, TUNED
from raglift.evaluation.retrieval import score_rankings
from raglift.index.encoding import Source, encode_unknown
from raglift.index.ranking import Ranking
from raglift.index.vector_cache import VectorCache
from raglift.index.vectors import Plan, VectorTable
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.generation import Generator
from raglift.records import Answered, Chunk, Document, QAPair, Score, write_jsonl
from raglift.serve.models import GENERATION_BATCH, Models
from raglift.synthesis.guesses import local_guesses

VERSION = 1
SCORES, ANSWERS = "scores.jsonl", "answers.jsonl"
RIGHT, F1, BITS = "right", "token_f1", "bits_per_byte"
RETRIEVAL = ("nDCG@10", "Success@5")
_DEPTH = 10
_NOT_FINITE = "not a finite number"


@dataclass(frozen=True, slots=True)
class Judged:
    """A small corpus with questions, each of which names the documents that answer it."""

    name: str
    documents: Sequence[Document]
    questions: Sequence[QAPair]


def probe_llm(models: Models, probe: Probe, job: Job) -> None:
    """Write scores.jsonl and answers.jsonl: what both language models make of the probe.

    `loss` is the mean negative log-likelihood of a passage's tokens from the second one on, in nats; `bits_per_byte`
    the same in bits over the bytes of its text. `right` is 1 where a reference stands in the answer to a closed-book
    question, which is asked after worked pairs of common knowledge and not in the run's own prompt: that offers a way
    out ("the documents do not say"), and a model that learned to take it has forgotten nothing.
    """
    scores: list[Score] = []
    said: list[Answered] = []
    for which in (BASE, TUNED):
        job.display.say(f"  the {which} language model")
        journal = Journal(job.out / WORK / f"{which}.jsonl")
        try:
            scores += _losses(models, which, probe.passages, journal, job)
            answers = _answers(models, which, probe.closed_book, journal, job)
        finally:
            journal.close()
        scores += _response(probe.closed_book, answers, which)
        said += [Answered(qa_id, which, (), (), answer, 0.0) for qa_id, answer in answers.items()]
    write_jsonl(job.out / SCORES, scores)
    write_jsonl(job.out / ANSWERS, said)


def _losses(models: Models, which: str, passages: Sequence[Document], journal: Journal, job: Job) -> list[Score]:
    done = len(passages) if LOSS in journal else 0
    with job.display.stage("reading the probe's passages", len(passages), "passages", done=done) as bar:
        if LOSS not in journal:
            generator: Generator = models.generator(which)
            found = generator.score_texts([passage.text for passage in passages], advance=bar.advance)
            journal.append(LOSS, [[each.mean_log_probability, each.tokens] for each in found])
    scores = []
    for passage, (mean, tokens) in zip(passages, journal[LOSS], strict=True):
        loss = math.nan if mean is None else -mean
        bits = loss * tokens / math.log(2) / len(passage.text.encode("utf-8"))
        scores += [_score(LOSS, passage.id, which, loss), _score(BITS, passage.id, which, bits)]
    return scores


def _score(metric: str, item: str, arm: str, value: float) -> Score:
    return Score(metric, item, arm, value) if math.isfinite(value) else Score(metric, item, arm, None, _NOT_FINITE)


def _answers(
    models: Models, which: str, questions: Sequence[QAPair], journal: Journal, job: Job
) -> dict[str, str | None]:
    """Question id -> answer."""
    asked = [question.question for question in questions]
    found = local_guesses(asked, lambda: models.generator(which), GENERATION_BATCH, journal, job.display)
    return {question.id: found[question.question] for question in questions}


def _response(questions: Sequence[QAPair], answers: dict[str, str | None], which: str) -> list[Score]:
    right = [
        Score(RIGHT, question.id, which, float(is_right(answers[question.id] or "", question.answers)))
        for question in questions
    ]
    return right + score_answers(questions, answers, [F1], which, _no_vectors)


def _no_vectors(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError("words alone are compared")


def is_right(answer: str, references: Sequence[str]) -> bool:
    """Whether a reference stands in the answer as whole words, after SQuAD's normalisation: a model that was tuned to
    answer in a word knows no more than one that says the same in a sentence."""
    said = f" {normalize_answer(answer)} "
    return any(f" {normalize_answer(reference)} " in said for reference in references)


def probe_embedding(models: Models, judged: Judged, job: Job) -> None:
    """Write scores.jsonl: how both embedding models rank the documents of a corpus for its questions.

    Each document is one passage, cut where the model cuts (as BEIR does, Thakur et al. 2021), and is found by its
    cosine alone. Memory holds the vectors of all documents.
    """
    chunks = [Chunk(document.id, document.id, document.text, 0, len(document.text)) for document in judged.documents]
    document_of = {chunk.id: chunk.document_id for chunk in chunks}
    scores: list[Score] = []
    for which in (BASE, TUNED):
        rankings = _rankings(models, which, judged.questions, chunks, job)
        scores += score_rankings(judged.questions, rankings, RETRIEVAL, document_of, which)
    write_jsonl(job.out / SCORES, scores)


def _rankings(
    models: Models, which: str, questions: Sequence[QAPair], chunks: Sequence[Chunk], job: Job
) -> dict[str, Ranking]:
    """Question id -> the nearest chunks; nothing where the model gives no finite vectors."""
    encoder = models.encoder(which)
    cache = VectorCache(job.out / WORK, which, encoder.dimension, job.display.warn)
    encode_unknown(chunks, Source(encoder, cache, which), job.display)
    passages = cache.vectors([chunk.text for chunk in chunks])
    with job.display.stage(f"encoding questions with the {which} embedding model", len(questions), "questions") as bar:
        queries = encoder.encode([question.question for question in questions], "query", bar.advance)
    if not (np.isfinite(passages).all() and np.isfinite(queries).all()):
        return {}
    table = VectorTable(encoder.dimension, Plan())
    table.add(passages)
    rows, cosines = table.search(queries, _DEPTH)
    return {
        question.id: tuple((chunks[row].id, float(cosine)) for row, cosine in zip(*found, strict=True))
        for question, *found in zip(questions, rows.tolist(), cosines.tolist(), strict=True)
    }
