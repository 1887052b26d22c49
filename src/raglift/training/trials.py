"""The trainings of one model in a run: one, or one for each learning rate, and one for each share of the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from raglift.artifacts import Artifact
from raglift.config import TuningConfig
from raglift.progress import Progress
from raglift.records import Target
from raglift.training import recipe
from raglift.training.outcome import strategies_of

WHICH = frozenset({"sweep", "recipe", "recipe_trials", "learning_curve"})
"""The keys of a section that say which trainings there are. They are in no key of an artifact: each training is the one
that it would be alone, and is found again whatever others are asked for beside it."""
_FACTORS = (1 / 3, 1.0, 3.0)
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Variant:
    """One training: its settings, and the share of the examples that it learns from.

    Attributes:
        label: What the run calls it.
    """

    config: TuningConfig
    label: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A training that is done."""

    variant: Variant
    artifact: Artifact

    def result(self) -> dict[str, Any]:
        """What came out: `learning_rate`, `chosen`, its `dev` score, the last `loss`, and `seconds`; None where nothing
        was trained."""
        training = json.loads((self.artifact.path / "training.json").read_text("utf-8"))
        scores = {candidate["name"]: candidate["dev"] for candidate in training["candidates"]}
        losses = [entry["loss"] for entry in training["history"] if "loss" in entry]
        return {
            "learning_rate": training["settings"].get("learning_rate"),
            "chosen": training["chosen"],
            "dev": scores.get(training["chosen"]),
            "loss": losses[-1] if losses else None,
            "seconds": round(self.artifact.seconds, 3),
        }


Train = Callable[[Variant], Artifact]


class Trials:
    """Trains the variants that a section asks for, and says which one the run goes on with.

    Args:
        train: The artifact of a variant, from the store where it is there.
        examples: How many there are to learn from; asked only where something depends on it.
    """

    def __init__(
        self, target: Target, config: TuningConfig, train: Train, examples: Callable[[], int], display: Progress
    ) -> None:
        self._target = target
        self._config = config
        self._train = train
        self._examples = examples
        self._display = display

    def sweep(self) -> tuple[Trial, list[dict[str, Any]]]:
        """The training with the best development score, and a row a learning rate with `kept`; none without a sweep.

        The base is a candidate of every training, so that where none beats it each has chosen it. Of equals the first
        is kept.
        """
        variants = self._variants()
        trials = [Trial(variant, self._train(variant)) for variant in variants]
        rows = [trial.result() for trial in trials]
        scores = [row["dev"] if row["dev"] is not None else float("-inf") for row in rows]
        best = scores.index(max(scores))
        if self._config.sweep is None:
            return trials[best], []
        for number, row in enumerate(rows):
            row["kept"] = number == best
            self._display.say(f"  {trials[number].variant.label}: {_said(row)}{', kept' if row['kept'] else ''}")
        return trials[best], rows

    def _variants(self) -> list[Variant]:
        config, rates = self._config, self._rates()
        if config.sweep is None:
            return [Variant(config, self._target)]
        return [
            Variant(config.model_copy(update={"learning_rate": rate}), f"{self._target} (rate {rate})")
            for rate in rates
        ]

    def _rates(self) -> list[float | Literal["auto"]]:
        config = self._config
        if config.sweep != "auto":
            return list(config.sweep or [])
        strategies = strategies_of(config.strategies)
        middle = recipe.learning_rate(config.learning_rate, self._target, strategies, self._examples())
        # The usual rate stays as it is written, so that the training is the one that there would be without a sweep.
        return [config.learning_rate if factor == 1 else float(f"{factor * middle:.2g}") for factor in _FACTORS]

    def curve(self, kept: Trial) -> tuple[list[Trial], list[dict[str, Any]]]:
        """The trainings on shares of the examples with the settings that were kept, the whole one last, and a row
        each with `share` and `examples`; none where no curve is wanted."""
        shares = self._config.curve_shares
        if not shares:
            return [], []
        config, count = kept.variant.config, self._examples()
        variants = [Variant(config, f"{self._target} ({share:.3g} of the data)", share) for share in shares]
        trials = [*(Trial(variant, self._train(variant)) for variant in variants), kept]
        rows = []
        for trial in trials:
            share = trial.variant.share
            rows.append({"share": share, "examples": portion_size(count, share), **trial.result()})
            self._display.say(f"  {share:.0%} of the data, {rows[-1]['examples']} examples: {_said(rows[-1])}")
        return trials, rows


def _said(row: dict[str, Any]) -> str:
    dev, loss = (f"{value:.4f}" if (value := row[key]) is not None else "none" for key in ("dev", "loss"))
    return f"development split {dev} ({row['chosen']}), loss {loss}, {row['seconds']:.0f} s"


def portion_size(count: int, share: float) -> int:
    """Examples in a share of `count`; at least one."""
    return min(count, max(1, round(share * count)))


def portion(rows: Sequence[_Row], share: float, text: Callable[[_Row], str], seed: int) -> list[_Row]:
    """A share of the rows, in their order: those whose text has the lowest hashes, so that a smaller share lies within
    a larger one, and rows with the same text come together."""
    if share >= 1:
        return list(rows)

    def place(at: int) -> tuple[bytes, int]:
        return hashlib.sha256(f"{seed}/{text(rows[at])}".encode()).digest(), at

    return [rows[at] for at in sorted(sorted(range(len(rows)), key=place)[: portion_size(len(rows), share)])]
