"""The recipe of the embedding model: from the settings as written, one ingredient after the other, what trainings show
to be better on the development questions.

A greedy search by coordinates. Every trial is a training of its own, under the key that it would have alone; a choice
depends on artifacts alone, so that a search that is interrupted goes on where it was and ends the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from raglift import plugins
from raglift.artifacts import Artifact, DiskError
from raglift.config import EmbeddingConfig
from raglift.errors import UserError
from raglift.progress import Progress
from raglift.training.gains import LEVEL, DevValues, Gain, Judge, count, mean
from raglift.training.ingredients._base import Alternative, Ingredient, Size
from raglift.training.trials import Trial, Variant

KIND = "recipe ingredient"
AS_WRITTEN = "as written"


def ingredients() -> dict[str, Ingredient]:
    """All ingredients by name, in the order of the search."""
    found = {name: plugins.load(KIND, name) for name in plugins.names(KIND)}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))


@dataclass(frozen=True, slots=True)
class Training:
    """What a search asks of the run.

    Attributes:
        train: The artifact of a variant, from the store where it is there.
        values: A training's model on the development questions.
        note: Is given the record after every decision.
    """

    train: Callable[[Variant], Artifact]
    values: Callable[[Trial], DevValues]
    note: Callable[[Mapping[str, Any]], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Scored:
    """A training that is done, what was tried with it, and its development questions' values."""

    label: str
    trial: Trial
    values: DevValues

    @property
    def config(self) -> EmbeddingConfig:
        """The settings of the training."""
        config = self.trial.variant.config
        assert isinstance(config, EmbeddingConfig)
        return config


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be tried with this much data, in order.

    Attributes:
        tried: Label and ingredient of each alternative.
        left_out: Label -> why it is not tried.
    """

    tried: Mapping[str, str]
    left_out: Mapping[str, str]


def plan(config: EmbeddingConfig, size: Size) -> Plan:
    """What a recipe may try: what the section names or leaves at its defaults, and the data makes worth a training."""
    tried: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, ingredient in ingredients().items():
        if config.recipe != "auto" and name not in (config.recipe or []):
            continue
        for alternative in ingredient.alternatives(config, size):
            held = _kept_as_written(config, alternative) if config.recipe == "auto" else ""
            why = alternative.why_not or held
            if not why and len(tried) == config.recipe_trials:
                why = f"recipe_trials is {config.recipe_trials}"
            if why:
                left_out[alternative.label] = why
            else:
                tried[alternative.label] = name
    return Plan(tried, left_out)


def _kept_as_written(config: EmbeddingConfig, alternative: Alternative) -> str:
    """Why the alternative would change what the user has set; empty where it would not.

    By value and not by whether it is written: a run's own config.yaml, which spells out every default, is the same run.
    """
    defaults = EmbeddingConfig()
    set_by_user = [f"embedding.{key}" for key in alternative.update if getattr(config, key) != getattr(defaults, key)]
    return f"{' and '.join(set_by_user)} stays as written" if set_by_user else ""


class RecipeSearch:
    """Trains what a plan names, and takes of each ingredient the best alternative whose gain is more than noise.

    The base is a candidate of every training, and an alternative is taken only where its mean is higher: the end is
    never below the base on the development questions. The settings as written win ties.

    Args:
        config: The section as written.
        judge: With any number of trials; the search sets it.
    """

    def __init__(
        self, config: EmbeddingConfig, size: Size, judge: Judge, training: Training, display: Progress
    ) -> None:
        self._config = config
        self._size = size
        self._plan = plan(config, size)
        self._judge = replace(judge, trials=max(1, len(self._plan.tried)))
        self._training = training
        self._display = display
        self._rows: list[dict[str, Any]] = []
        self._left_out = dict(self._plan.left_out)
        self._taken: list[str] = []

    def run(self) -> tuple[Trial, dict[str, Any]]:
        """The training that the run goes on with, and the record of the search (`record`)."""
        planned = len(self._plan.tried)
        self._display.say(
            f"  recipe: at most {planned} trainings beside the one with the settings {AS_WRITTEN} "
            f"({self._size.pairs} questions train)"
        )
        for label, why in self._plan.left_out.items():
            self._display.say(f"  recipe: {label}: not tried, {why}")
        best = self._scored(AS_WRITTEN, self._config)
        self._rows.append(self._row("", best, None, ""))
        few = self._judge.too_few(best.values) if planned else ""
        if few:
            self._display.say(f"  recipe: {few}; the settings stay {AS_WRITTEN}")
            self._left_out |= dict.fromkeys(self._plan.tried, few)
        else:
            self._say_how(best)
            for name, ingredient in ingredients().items():
                best = self._try(name, ingredient, best)
        self._display.say(f"  recipe: {', '.join(self._taken) or f'the settings {AS_WRITTEN}'}")
        self._training.note(self.record(best))
        return best.trial, self.record(best)

    def _say_how(self, start: Scored) -> None:
        questions, documents = count(start.values), self._judge.documents(start.values)
        if self._plan.tried:
            self._display.say(
                f"  recipe: chosen by {questions} development questions of {documents} documents; an alternative is "
                f"taken where its gain has p <= {LEVEL}, corrected for {self._judge.trials} trials"
            )

    def _scored(self, label: str, config: EmbeddingConfig) -> Scored:
        variant = Variant(config, f"embedding (recipe: {label})")
        trial = Trial(variant, self._training.train(variant))
        return Scored(label, trial, self._training.values(trial))

    def _try(self, name: str, ingredient: Ingredient, best: Scored) -> Scored:
        """The best so far, or the ingredient's best alternative where that is better by more than noise."""
        found: list[tuple[Gain, Scored, dict[str, Any]]] = []
        planned = [label for label, each in self._plan.tried.items() if each == name]
        # What is planned is known by its place: a label may tell of a setting that the search has changed meanwhile.
        start = [each.label for each in ingredient.alternatives(self._config, self._size)] if planned else []
        for before, alternative in zip(start, ingredient.alternatives(best.config, self._size), strict=False):
            if before not in planned:
                continue
            trained = self._trained(alternative, best.config)
            if trained is None:
                continue
            gain = self._judge.gain(trained.values, best.values)
            row = self._row(name, trained, gain, best.label)
            self._rows.append(row)
            found.append((gain, trained, row))
            self._display.say(f"  recipe: {trained.label}: {_said(row)}")
            self._training.note(self.record(best))
        better = [each for each in found if each[0].counts]
        if not better:
            return best
        gain, chosen, row = max(better, key=lambda each: each[0].delta)
        row["kept"] = True
        self._taken.append(chosen.label)
        self._display.say(f"  recipe: {chosen.label} is taken, {gain.delta:+.4f}")
        self._training.note(self.record(chosen))
        return chosen

    def _trained(self, alternative: Alternative, config: EmbeddingConfig) -> Scored | None:
        """The training with an alternative; None where the model or the machine does not allow it."""
        try:
            return self._scored(alternative.label, config.model_copy(update=dict(alternative.update)))
        except DiskError:
            raise
        except UserError as error:
            self._left_out[alternative.label] = f"it cannot be trained here: {error.what} {error.why}".strip()
            self._display.warn(f"recipe: {alternative.label}: {self._left_out[alternative.label]}")
            return None

    def _row(self, name: str, scored: Scored, gain: Gain | None, against: str) -> dict[str, Any]:
        found = scored.trial.result()
        numbers = asdict(gain) if gain else dict.fromkeys(("delta", "ci_low", "ci_high", "p"))
        return {
            "ingredient": name,
            "tried": scored.label,
            "dev": mean(scored.values),
            "chosen": found["chosen"],
            "against": against,
            **numbers,
            "seconds": found["seconds"],
            "kept": False,
        }

    def record(self, best: Scored) -> dict[str, Any]:
        """What the report shows of the search so far.

        Returns:
            `trials`, a row each, the settings as written first; `left_out`, what was not tried and why; `taken`,
            labels; `settings`, the keys that are not as written; and the numbers that the choice rests on: `planned`,
            `level`, `pairs`, `questions`, `documents`.
        """
        config = best.config.model_dump(mode="json")
        written = self._config.model_dump(mode="json")
        return {
            "trials": [dict(row) for row in self._rows],
            "left_out": [{"tried": label, "why": why} for label, why in self._left_out.items()],
            "taken": list(self._taken),
            "settings": {key: value for key, value in config.items() if value != written[key]},
            "planned": len(self._plan.tried),
            "level": LEVEL,
            "pairs": self._size.pairs,
            "questions": count(best.values),
            "documents": self._judge.documents(best.values),
        }


def _said(row: Mapping[str, Any]) -> str:
    interval = f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"
    dev = f"development split {row['dev']:.4f} ({row['chosen']})"
    return f"{dev}, {row['delta']:+.4f} {interval} against {row['against']}, p {row['p']:.3g}"
