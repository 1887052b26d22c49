"""How likely a passage supports a claim: what stands there word for word and a small cross-encoder, calibrated."""

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
from raglift.grounding.features import COUNT, word_features
from raglift.grounding.lexical import overlap
from raglift.grounding.passages import read
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
class Regression:
    """A logistic regression: the logarithm of the odds is the weighted sum of the features, plus the bias."""

    weights: tuple[float, ...]
    bias: float

    def log_odds(self, features: Floats) -> Floats:
        """Of features of shape (claims, weights)."""
        found: Floats = features @ np.array(self.weights) + self.bias
        return found


def regression(features: Floats, supported: Sequence[bool]) -> Regression:
    """The one that fits claims whose answer is known, with a little L2.

    References:
        Platt 1999, "Probabilistic Outputs for Support Vector Machines" (a sigmoid over a classifier's score).
    """
    # Columns are brought to a common scale first, so that the penalty treats them alike; one that never changes says
    # nothing and gets no weight.
    middle, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)
    fitted = LogisticRegression(C=0.3, max_iter=3000).fit((features - middle) / scale, np.array(supported, dtype=int))
    weights = fitted.coef_[0] / scale
    return Regression(tuple(float(weight) for weight in weights), float(fitted.intercept_[0] - weights @ middle))


class TrainedChecker(SupportChecker):
    """What the words say, weighed by true and corrupted claims, and if wanted a cross-encoder that has read the same.

    Args:
        words: Weighs `word_features`.
        calibration: Weighs the columns of `evidence`, and makes a probability of them.
        reranker: Scores a passage and a claim read together.
    """

    def __init__(self, words: Regression, calibration: Regression, reranker: Reranker | None = None) -> None:
        self.words, self.calibration, self._reranker = words, calibration, reranker

    def probabilities(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> Floats:
        """See `SupportChecker`."""
        found: Floats = expit(self.calibration.log_odds(evidence(self.words, pairs, self._reranker, advance)))
        return found

    def save(self, folder: Path) -> None:
        """Write what `open_checker` needs beside the model."""
        write_json(folder / FILE, {"words": asdict(self.words), "calibration": asdict(self.calibration)})


def said_by_words(pairs: Sequence[tuple[str, str]]) -> Floats:
    """`word_features` of (claim, passage) pairs, shape (pairs, COUNT)."""
    return np.array([word_features(*pair) for pair in pairs], dtype=np.float64).reshape(len(pairs), COUNT)


def evidence(
    words: Regression,
    pairs: Sequence[tuple[str, str]],
    reranker: Reranker | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Floats:
    """What a calibration weighs, of (claim, passage) pairs, shape (pairs, 2 or 3).

    The words' log-odds, whether the claim is an answer to a question, and where there is a cross-encoder its score of
    the claim and the sentences that are most like it.
    """
    found = said_by_words(pairs)
    columns = [words.log_odds(found), found[:, -1]]
    if reranker is None:
        advance(len(pairs))
    elif pairs:
        excerpts = [(read(passage).excerpt(claim), claim) for claim, passage in pairs]
        columns.append(reranker.scores(excerpts, advance).astype(np.float64))
    return np.column_stack(columns)


def open_checker(folder: Path, base: FoundModel | None, runtime: Runtime) -> TrainedChecker:
    """The checker that the support stage left in a folder.

    Args:
        base: What the cross-encoder was made of; None where it has none.
    """
    kept = json.loads((folder / FILE).read_text("utf-8"))
    reranker = None
    if base is not None:
        tuned = folder / MODEL
        reranker = CrossEncoderReranker(load_reranker(base.path, runtime, tuned if tuned.exists() else None), runtime)
    words, calibration = (
        Regression(tuple(kept[name]["weights"]), kept[name]["bias"]) for name in ("words", "calibration")
    )
    return TrainedChecker(words, calibration, reranker)
