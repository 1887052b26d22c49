"""Whether one training is better than another on the development questions, by more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raglift.evaluation.statistics import Resampling, compare

LEVEL = 0.1
"""How often a whole search may leave the settings as written by noise alone. Such a change costs nothing on average,
so that it may be likelier than what is claimed of test questions."""
_FEWEST = 20
"""Development questions below which nothing is tried."""
_RESAMPLES = 10_000

DevValues = Sequence[Mapping[str, float]]
"""Question id -> nDCG@10, for each set of development questions; the score is the mean of the sets' means."""


@dataclass(frozen=True, slots=True)
class Gain:
    """One training's mean over another's, each set of questions counting equally.

    Attributes:
        ci_low: Of the 95% interval, which is of this comparison alone.
        p: One-sided, and corrected for all comparisons of the search.
    """

    delta: float
    ci_low: float
    ci_high: float
    p: float

    @property
    def counts(self) -> bool:
        """Whether it is more than noise."""
        return self.delta > 0 and self.p <= LEVEL


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares trainings by their values of the same development questions.

    The test is `evaluation.statistics.compare`'s: paired by question, its signs flipped document by document. It is of
    the models as they are, not of the settings with other seeds: another seed's luck is part of what is chosen. As each
    of `trials` comparisons alone might mislead, its p is multiplied by their number (Bonferroni): the best of many
    trials on few questions is the best by luck (Cawley and Talbot 2010, "On Over-fitting in Model Selection and
    Subsequent Selection Bias in Performance Evaluation").

    Attributes:
        document_of: Question id -> its document.
        trials: Comparisons in all.
        seed: Of the random flips.
    """

    document_of: Mapping[str, str]
    trials: int
    seed: int = 0

    def gain(self, one: DevValues, other: DevValues) -> Gain:
        """The mean of `one` less that of `other`."""
        found = compare(_flat(one), _flat(other), self._resampling(one))
        single = found.p / 2 if found.delta > 0 else 1 - found.p / 2
        return Gain(found.delta, found.ci_low, found.ci_high, min(1.0, self.trials * single))

    def too_few(self, values: DevValues) -> str:
        """Why these questions cannot tell the trainings of a search apart; empty where they can.

        Flipping the signs of n documents gives no p below 2^-n.
        """
        questions, documents = count(values), self.documents(values)
        if questions < _FEWEST:
            return f"{questions} development questions are too few to choose by: it takes {_FEWEST}"
        if self.trials * 0.5**documents > LEVEL:
            fewest = next(n for n in range(1, 64) if self.trials * 0.5**n <= LEVEL)
            return f"development questions of {documents} documents are too few to choose by: it takes {fewest}"
        return ""

    def documents(self, values: DevValues) -> int:
        """The documents that the questions are about."""
        return len({self.document_of.get(qa_id, qa_id) for each in values for qa_id in each})

    def _resampling(self, values: DevValues) -> Resampling:
        named = {
            f"{place}/{qa_id}": self.document_of[qa_id]
            for place, each in enumerate(values)
            for qa_id in each
            if qa_id in self.document_of
        }
        return Resampling(named, self.seed, _RESAMPLES)


def mean(values: DevValues) -> float | None:
    """The mean of the sets' means; None where there are no questions."""
    return float(np.mean([np.mean(list(each.values())) for each in values])) if count(values) else None


def count(values: DevValues) -> int:
    """The questions of all sets."""
    return sum(len(each) for each in values)


def _flat(values: DevValues) -> dict[str, float]:
    """One value a question whose mean is that of the sets' means: a question of a small set counts for more."""
    weight = count(values) / max(1, len(values))
    return {
        f"{place}/{qa_id}": value * weight / len(each)
        for place, each in enumerate(values)
        for qa_id, value in each.items()
    }
