"""What the trainings of all models have in common: each is a stage, with a card, and one of several is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift.artifacts import Artifact
from raglift.config import Config, TuningConfig
from raglift.job import Job
from raglift.pipeline_data import synthetic
from raglift.pipeline_pairs import PairStages
from raglift.progress import Progress
from raglift.records import QAPair, Target
from raglift.training import provenance
from raglift.training.card import write_card
from raglift.training.outcome import objective_key, read_outcome, strategy_key
from raglift.training.trials import WHICH, Trial, Trials, Variant


@dataclass(frozen=True, slots=True)
class Materials:
    """What a training is made of.

    Attributes:
        keys: What enters its key.
        folders: Stages of this training alone that its card counts, beside the run's.
    """

    keys: Mapping[str, str]
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tuning:
    """The trainings of one model.

    Attributes:
        version: The stage's.
        config: The section as written.
        made_of: What a training with these settings is made of; makes it where it is not there.
        write: Fills a training's folder.
        examples: How many there are to learn from with these settings.
    """

    target: Target
    version: int
    config: TuningConfig
    made_of: Callable[[TuningConfig], Materials]
    write: Callable[[Variant, Job], None]
    examples: Callable[[TuningConfig], int]


_BY_PAIRS = frozenset({"pairs", "train_on", "hard_negatives", "hard_negative_ceiling"})
"""Keys of a section that say which pairs there are."""


class TuningStages(PairStages):
    """A run's trainings, and what their trials came to."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        super().__init__(config, display, writer)
        self._trials: dict[str, dict[str, Any]] = {}

    def _tuned(self, tuning: Tuning) -> list[Trial]:
        """The training that the run goes on with, and those of the learning curve, which are returned."""
        config = tuning.config
        trials = Trials(
            tuning.target, config, lambda v: self._train(tuning, v), lambda: tuning.examples(config), self._display
        )
        kept, sweep = trials.sweep()
        return self._kept(tuning, trials, kept, {"sweep": sweep})

    def _kept(self, tuning: Tuning, trials: Trials, kept: Trial, shown: Mapping[str, Any]) -> list[Trial]:
        """Go on with one training; `shown` is what the report says of the others."""
        target = tuning.target
        self._runner.go_on_with(kept.variant.label, target)
        self._models.add(read_outcome(kept.artifact.path, kept.artifact.key))
        curve, points = trials.curve(kept)
        self._trials[target] = {name: found for name, found in {**shown, "curve": points}.items() if found}
        return curve

    def _train(self, tuning: Tuning, variant: Variant) -> Artifact:
        """The artifact of one training, from the store where it is there."""
        target, config = tuning.target, variant.config
        materials = tuning.made_of(config)
        settings = {
            # What is mined or given enters by the key of the pairs, so that keys from before it stay.
            **config.model_dump(mode="json", exclude={*_BY_PAIRS, *WHICH}),
            "strategies": strategy_key(config.strategies),
            "objective": objective_key(config.objective),
            "seed": self._config.seed,
        }
        if variant.share < 1:
            settings["share"] = variant.share

        def with_card(job: Job) -> None:
            tuning.write(variant, job)
            folders = {**self._runner.folders, **materials.folders}
            learned = target != "embedding" or self._config.embedding.train_on != "pairs"
            data = provenance.describe(folders, self._loaded, self._config.synthesis, target, learned)
            if variant.share < 1:
                data["facts"] |= {"share of the training set that was learned from": variant.share}
            write_card(job.out, target, self._models.base(target), config, data, job.seed)

        keys = {**materials.keys, "base": self._revisions[target]}
        return self._runner.stage(target, tuning.version, settings, keys, with_card, variant.label)

    def _dev_sets(self, questions: Artifact) -> list[list[QAPair]]:
        """The development questions of people, and the synthetic ones."""
        return [[q for q in asked if q.split == "dev"] for asked in (self._loaded.human, synthetic(questions))]

    def _test_sets(self, questions: Artifact) -> dict[str, list[QAPair]]:
        """The test questions of people, and the synthetic ones."""
        sets = {"human": self._loaded.human, "synthetic": synthetic(questions)}
        return {name: [question for question in asked if question.split == "test"] for name, asked in sets.items()}
