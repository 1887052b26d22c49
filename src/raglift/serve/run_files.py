"""What a finished run left on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raglift.artifacts import Artifact, Store
from raglift.config import Config, config_from_dict
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.evaluation.arms import Arm, arms_of
from raglift.models.device import Runtime, resolve
from raglift.models.find import find_model
from raglift.records import Target
from raglift.serve.state import read_state
from raglift.training.outcome import Outcome, read_outcome


@dataclass(frozen=True)
class RunFiles:
    """A finished run's settings, report and artifacts."""

    folder: Path

    @cached_property
    def state(self) -> dict[str, Any]:
        """The run's settings and the keys of its artifacts."""
        return read_state(self.folder)

    @cached_property
    def config(self) -> Config:
        """The run's settings."""
        try:
            return config_from_dict(self.state["config"])
        except UserError as error:
            raise UserError(
                f"The run in {self.folder} was made by another version of raglift.",
                error.why or error.what,
                "Run the `raglift run` command that made it again, with a config that this version reads.",
            ) from error

    @cached_property
    def report(self) -> dict[str, Any]:
        """report.json."""
        try:
            value: dict[str, Any] = json.loads((self.folder / "report.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder / 'report.json'} is missing or damaged.",
                str(error),
                "Run the same `raglift run` command again: it writes the report anew.",
            ) from error
        return value

    @property
    def beat_base(self) -> bool:
        """Whether what would be released is measurably better than the base set-up."""
        return bool(self.report["chosen"]["beat_base"])

    @property
    def chosen_arm(self) -> str:
        """The arm that would be released."""
        return str(self.report["chosen"]["arm"])

    @property
    def arms(self) -> list[str]:
        """Every arm's name."""
        return [arm.name for arm in self.all_arms]

    @property
    def all_arms(self) -> tuple[Arm, ...]:
        """Every arm."""
        return arms_of(self.config)

    def key(self, stage: str) -> str:
        """The key of a stage's artifact; empty where the run has no such stage."""
        return next((str(entry["key"]) for entry in self.state["stages"] if entry["name"] == stage), "")

    def artifact(self, stage: str) -> Artifact:
        """A stage's finished artifact, its files checked.

        Raises:
            UserError: It is missing, or a file of it is damaged.
        """
        key = self.key(stage)
        found = Store(self.workspace).open(stage, key) if key else None
        if found is None:
            raise UserError(
                f"The run's {stage} is not there any more.",
                f"Looked for {stage}/{key}.",
                "Run the same `raglift run` command again: it builds what is missing.",
            )
        return found

    @property
    def workspace(self) -> Path:
        """The folder of the run's artifacts."""
        return self.folder.parent.parent

    @cached_property
    def corpus(self) -> Corpus:
        """Documents, chunks and human questions that the run was scored with."""
        return Corpus(self.artifact("corpus").path)

    @cached_property
    def runtime(self) -> Runtime:
        """Device, precision and threads."""
        return resolve(self.config.runtime, self.workspace)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The models that the run tuned, or tried to."""
        return ("embedding", "llm") if self.config.rerank is None else ("embedding", "llm", "rerank")

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What the trainings left behind."""
        return [read_outcome(found.path, found.key) for found in map(self.artifact, self.targets)]

    def check_models(self) -> None:
        """Refuse base models that are not those that the run was made with.

        The index holds vectors of one base, and an adapter is a difference to one: beside another they still give
        answers, only not those that were scored.

        Raises:
            UserError: A base model is missing, or its weights, tokenizer or settings have changed since.
        """
        for record in (outcome.record for outcome in self.outcomes):
            found = find_model(record.base)
            if found.revision != record.base_revision:
                raise UserError(
                    f"The {record.target} model {record.base!r} is not the one that the run {self.state['run']!r} "
                    "was made with.",
                    f"Its revision was {record.base_revision}; what is in {found.path} has {found.revision}.",
                    "Put the earlier version back, or run the same `raglift run` command again: it builds anew what "
                    "depends on the model.",
                )
