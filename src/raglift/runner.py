"""Runs stages for one run: the lock, the state on disk, and what was already done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raglift.artifacts import Artifact, Store, stage_key, write_atomic, write_json
from raglift.config import Config, dump_config
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.device import give_back_memory
from raglift.progress import Progress
from raglift.workspace import RUNS, STATE, hold


class Runner:
    """Holds the workspace for one run at a time and keeps `runs/NAME/run.json` true.

    Use as a context manager: the lock is let go at the end, and by the operating system if the process dies.
    """

    def __init__(self, config: Config, display: Progress) -> None:
        self._config = config
        self._display = display
        self._root = Path(config.workspace)
        self._store = Store(self._root)
        self.folder = self._root / RUNS / config.run
        self.folders: dict[str, Path] = {}
        self.stages: list[dict[str, Any]] = []
        self._decisions: dict[str, Any] = {}

    def __enter__(self) -> Runner:
        self._hold = hold(self._root, f"run {self._config.run}")
        self._hold.__enter__()
        try:
            write_atomic(self.folder / "config.yaml", dump_config(self._config).encode("utf-8"))
            self._save("running")
        except BaseException as error:
            self._hold.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise UserError(
                    f"Cannot write to the workspace {self._root}.", str(error), "Choose another `workspace`."
                ) from error
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is not None:
                state = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
                for stage in self.stages:
                    if stage["state"] == "running":
                        stage["state"] = state
                self._save(state)
        except (OSError, UserError):  # must not hide the error that ended the run
            self._display.warn(f"The state of the run could not be written to {self.folder}.")
        finally:
            self._hold.__exit__(None, None, None)

    def stage(
        self,
        name: str,
        version: int,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        write: Callable[[Job], None],
        label: str | None = None,
    ) -> Artifact:
        """The stage's artifact, built by `write` unless it is already there and sound.

        Args:
            label: What the run calls it, where it has several artifacts of the stage; see `go_on_with`.
        """
        key, label = stage_key(name, version, settings, inputs), label or name
        entry: dict[str, Any] = {"name": label, "key": key, "seconds": 0.0, "cached": False, "state": "running"}
        self.stages.append(entry)
        self._save("running")
        number = len(self.stages)

        def announced(out: Path) -> None:
            self._display.say(f"[{number}] {label}")
            write(Job(out, self._config.seed, self._display))

        try:
            artifact = self._store.build(name, key, announced, self._display.warn)
        except UserError:
            entry["state"] = "failed"  # also where the run goes on without it
            raise
        if not artifact.cached:
            give_back_memory()
        entry |= {"seconds": round(artifact.seconds, 3), "cached": artifact.cached, "state": "done"}
        done = "already done" if artifact.cached else f"done in {artifact.seconds:.0f} s"
        self._display.say(f"[{number}] {label}: {done}")
        self.folders[label] = artifact.path
        self._save("running")
        return artifact

    def go_on_with(self, label: str, name: str) -> None:
        """Of a stage's several artifacts, the one that later stages take: from now on it has the stage's own name."""
        for entry in self.stages:
            if entry["name"] == label:
                entry["name"] = name
        self.folders[name] = self.folders.pop(label)
        self._save("running")

    def decide(self, name: str, value: Any) -> None:
        """Keep in run.json what the run has decided by itself, and on what evidence."""
        self._decisions[name] = value
        self._save("running")

    def finish(self) -> None:
        """The run is done and its report is written."""
        self._save("done")

    def _save(self, state: str) -> None:
        value = {
            "run": self._config.run,
            "state": state,
            "stages": self.stages,
            **({"decisions": self._decisions} if self._decisions else {}),
            "config": json.loads(self._config.model_dump_json()),
        }
        write_json(self.folder / STATE, value)
