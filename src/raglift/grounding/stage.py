"""The support stage: claims from the train documents in, a calibrated checker out, measured on the test documents.

Data that flows: chunks and answered questions of a split -> claims, true and corrupted -> what the words say of them,
weighed (train), a cross-encoder of each claim and the sentences that it is most like (train) -> the calibration of the
two (dev), sensitivity and specificity (test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sentence_transformers import CrossEncoder
from torch import nn

from raglift.artifacts import write_json
from raglift.config import RerankConfig
from raglift.config_fields import PluginSpec
from raglift.errors import UserError
from raglift.evaluation.rates import Rate
from raglift.grounding.checker import Regression, TrainedChecker, evidence, regression, said_by_words
from raglift.grounding.claims import Claim
from raglift.grounding.health import Health, health_of
from raglift.grounding.passages import read
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.find import FoundModel
from raglift.models.reranker import CrossEncoderReranker, load_reranker
from raglift.strategies.full import Full
from raglift.training import recipe
from raglift.training.embedding_stage import save, without_attention_dropout
from raglift.training.lists import ListBatches
from raglift.training.loop import Task, fit
from raglift.training.outcome import UNTUNED, objective_of
from raglift.training.pairs import Pair

VERSION = 3
HEALTH = "health.json"
_FEWEST = 40
"""Claims of each of the three splits below which nothing can be learned or said."""
SETTINGS = RerankConfig(
    objective=PluginSpec(name="binary_cross_entropy", settings={"positive_weight": 1.0}),
    epochs=3.0,
    learning_rate=1e-4,
    batch_size=16,
)


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims about the documents of each split."""

    train: Sequence[Claim]
    dev: Sequence[Claim]
    test: Sequence[Claim]


@dataclass(frozen=True, slots=True)
class Reader:
    """What a cross-encoder is made of, and how it is trained.

    Attributes:
        base: A cross-encoder, or an embedding model, which is given a head.
    """

    base: FoundModel
    runtime: Runtime
    settings: RerankConfig = SETTINGS


def build(claims: Claims, job: Job, reader: Reader | None = None) -> Health:
    """Write support.json (the weights), health.json (what it does with the test claims) and, of a reader, `model/`.

    Args:
        reader: A cross-encoder that is weighed too; None: words alone, which takes seconds.

    Raises:
        UserError: There are too few claims.
    """
    for split, some in (("train", claims.train), ("dev", claims.dev), ("test", claims.test)):
        if len(some) < _FEWEST:
            raise UserError(
                f"A support checker cannot be trained on {len(some)} claims about {split} documents.",
                f"It takes {_FEWEST} of each split; sentences and answered questions give them.",
                "Give more documents, or use the lexical checker, which learns nothing.",
            )
    words = regression(said_by_words(_pairs(claims.train)), _truth(claims.train))
    reranker = None if reader is None else CrossEncoderReranker(_trained(claims, words, reader, job), reader.runtime)
    calibration = regression(evidence(words, _pairs(claims.dev), reranker), _truth(claims.dev))
    checker = TrainedChecker(words, calibration, reranker)
    checker.save(job.out)
    health = health_of(claims.test, checker.supported(claims.test))
    write_json(job.out / HEALTH, told(health))
    return health


def told(health: Health) -> dict[str, object]:
    """As JSON: shares with their intervals."""

    def rate(found: Rate) -> dict[str, object]:
        return {"value": found.known, "interval": [found.low, found.high], "n": found.n}

    return {
        "sensitivity": rate(health.sensitivity),
        "specificity": rate(health.specificity),
        "balanced_accuracy": health.balanced_accuracy,
        "balanced_interval": list(health.interval),
        "by_kind": {kind: rate(found) for kind, found in health.by_kind.items()},
    }


def _pairs(claims: Sequence[Claim]) -> list[tuple[str, str]]:
    return [(claim.text, claim.passage) for claim in claims]


def _truth(claims: Sequence[Claim]) -> list[bool]:
    return [claim.supported for claim in claims]


def _trained(claims: Claims, words: Regression, reader: Reader, job: Job) -> CrossEncoder:
    """The cross-encoder at its best state on the development claims, by balanced accuracy once calibrated there."""
    runtime, settings = reader.runtime, reader.settings
    model = load_reranker(reader.base.path, runtime)
    without_attention_dropout(model)
    # Both claims of a pair are read with the true one's sentences: only what they say is to tell them apart.
    rows = [
        Pair(read(true.passage).excerpt(true.text), true.text, "", negatives=(false.text,))
        for true, false in zip(claims.train[::2], claims.train[1::2], strict=True)
    ]
    batches = ListBatches(rows, model, settings.batch_size, job.seed)
    strategies = [Full()]
    loop = recipe.loop_settings(settings, "rerank", strategies, len(rows), len(batches))

    def score(current: nn.Module) -> float:
        assert isinstance(current, CrossEncoder)
        return _dev_score(CrossEncoderReranker(current, runtime), words, claims.dev)

    objective = objective_of(settings.objective)
    task = Task("rerank", batches, objective.build(model), score, objective.weight, base_score=0.0)
    fitted = fit(model, task, strategies, loop, runtime, job)
    if fitted.chosen not in UNTUNED:
        save(fitted.model, strategies, job)
    found: CrossEncoder = fitted.model  # type: ignore[assignment]
    return found


def _dev_score(reranker: CrossEncoderReranker, words: Regression, claims: Sequence[Claim]) -> float:
    """Of each half of the claims, judged by a calibration on the other; a document's claims are in one half."""
    features = evidence(words, _pairs(claims), reranker)
    documents = sorted({claim.document_id for claim in claims})
    first = set(documents[::2]) if len(documents) > 1 else set()
    half = np.array([claim.document_id in first for claim in claims])
    if half.all() or not half.any():
        half = np.arange(len(claims)) % 4 < 2
    verdicts = np.zeros(len(claims), np.bool_)
    truth = np.array(_truth(claims))
    for own in (half, ~half):
        verdicts[own] = regression(features[~own], truth[~own].tolist()).log_odds(features[own]) >= 0
    return health_of(claims, verdicts).balanced_accuracy or 0.0


def without(claims: Claims, kind: str) -> Claims:
    """The claims without those of one corruption in training and calibration, and with those alone in the test: how a
    checker does on what it was never shown."""

    def pairs(some: Sequence[Claim], keep: bool) -> list[Claim]:
        return [
            claim
            for true, false in zip(some[::2], some[1::2], strict=True)
            if (false.kind == kind) == keep
            for claim in (true, false)
        ]

    return replace(
        claims, train=pairs(claims.train, False), dev=pairs(claims.dev, False), test=pairs(claims.test, True)
    )
