"""How likely a passage supports a claim: a small cross-encoder and what stands there word for word, calibrated."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from raglift.artifacts import write_json
from raglift.grounding.claims import Claim
from raglift.grounding.lexical import overlap
from raglift.models.device import Runtime
from raglift.models.find import FoundModel
from raglift.models.reranker import CrossEncoderReranker, Reranker, load_reranker

Floats = NDArray[np.float64]
FILE = "support.json"
MODEL = "model"


class SupportChecker(ABC):
    """Says of claims how likely their passages support them."""

    @abstractmethod
    def probabilities(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> Floats:
        """Of (claim, passage) pairs, shape (pairs,): from 0.5 on a claim counts as supported.

        Args:
            advance: Told how many more pairs are done.
        """

    def supported(self, claims: Sequence[Claim]) -> NDArray[np.bool_]:
        """Which claims count as supported by their own passage, shape (claims,)."""
        return self.probabilities([(claim.text, claim.passage) for claim in claims]) >= 0.5


class LexicalChecker(SupportChecker):
    """By words alone: `Overlap.support` against a share of words; see `raglift.grounding.lexical`.

    Args:
        least: Share of a claim's content words that a sentence of the passage must hold.
    """

    def __init__(self, least: float = 0.6) -> None:
        self._least = least

    def probabilities(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> Floats:
        """See `SupportChecker`; 0 or 1."""
        found = []
        for pair in pairs:
            found.append(float(overlap(*pair).support >= self._least))
            advance(1)
        return np.array(found, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic regression over the cross-encoder's score and the five numbers of `Overlap`.

    Attributes:
        weights: Of the score, and then of the five.
        bias: What is added to their sum.
    """

    weights: tuple[float, ...]
    bias: float

    def probabilities(self, features: Floats) -> Floats:
        """Of features of shape (claims, 6)."""
        found: Floats = expit(features @ np.array(self.weights) + self.bias)
        return found


def calibrated(features: Floats, supported: Sequence[bool]) -> Calibration:
    """The regression that fits claims whose answer is known, with a little L2.

    References:
        Platt 1999, "Probabilistic Outputs for Support Vector Machines" (a sigmoid over a classifier's score).
    """
    # Columns are brought to a common scale first, so that the penalty treats them alike.
    scale = np.maximum(features.std(axis=0), 1e-6)
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(features / scale, np.array(supported, dtype=int))
    weights = fitted.coef_[0] / scale
    return Calibration(tuple(float(weight) for weight in weights), float(fitted.intercept_[0]))


class TrainedChecker(SupportChecker):
    """A cross-encoder that has read true and corrupted claims, and the overlap of words, weighed against each other.

    Args:
        reranker: Scores a passage and a claim read together.
        calibration: What makes a probability of it.
    """

    def __init__(self, reranker: Reranker, calibration: Calibration) -> None:
        self._reranker, self.calibration = reranker, calibration

    def probabilities(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> Floats:
        """See `SupportChecker`."""
        return self.calibration.probabilities(features_of(self._reranker, pairs, advance))

    def save(self, folder: Path) -> None:
        """Write what `open_checker` needs beside the model."""
        write_json(folder / FILE, asdict(self.calibration))


def features_of(
    reranker: Reranker, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
) -> Floats:
    """What a calibration weighs, of (claim, passage) pairs: shape (pairs, 6)."""
    if not pairs:
        return np.zeros((0, 6))
    scores = reranker.scores([(passage, claim) for claim, passage in pairs], advance).astype(np.float64)
    return np.column_stack([scores, np.stack([overlap(*pair).features() for pair in pairs])])


def open_checker(folder: Path, base: FoundModel, runtime: Runtime) -> TrainedChecker:
    """The checker that the support stage left in a folder."""
    kept = json.loads((folder / FILE).read_text("utf-8"))
    tuned = folder / MODEL
    reranker = CrossEncoderReranker(load_reranker(base.path, runtime, tuned if tuned.exists() else None), runtime)
    return TrainedChecker(reranker, Calibration(tuple(kept["weights"]), kept["bias"]))
