"""Runs stages for one run: the lock, the state on disk, and what was already done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from raglift.artifacts import Artifact, Store, stage_key, write_atomic, write_json
from raglift.config import Config, dump_config
from raglift.errors import UserError
from raglift.progress import Progress

RUNS = "runs"
LOCK = ".lock"


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
        self._lock = FileLock(str(self._root / LOCK), timeout=0)

    def __enter__(self) -> Runner:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._begin()
        except Timeout as error:
            raise UserError(
                f"Another run is using the workspace {self._root}.",
                _holder(self._root),
                "Wait for it to end, or give this run a `workspace` of its own.",
            ) from error
        except OSError as error:
            self._lock.release()
            raise UserError(
                f"Cannot write to the workspace {self._root}.", str(error), "Choose another `workspace`."
            ) from error
        return self

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._root / ".holder", f"process {os.getpid()}, run {self._config.run}".encode())
        write_atomic(self.folder / "config.yaml", dump_config(self._config).encode("utf-8"))
        self._save("running")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is not None:
                for stage in self.stages:
                    if stage["state"] == "running":
                        stage["state"] = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
                self._save("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")
        except OSError:
            self._display.warn(f"The state of the run could not be written to {self.folder}.")
        finally:
            self._lock.release()

    def stage(
        self,
        name: str,
        version: int,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        write: Callable[[Path], None],
    ) -> Artifact:
        """The stage's artifact, built by `write` unless it is already there and sound."""
        key = stage_key(name, version, settings, inputs)
        entry: dict[str, Any] = {"name": name, "key": key, "seconds": 0.0, "cached": False, "state": "running"}
        self.stages.append(entry)
        self._save("running")
        number = len(self.stages)

        def announced(out: Path) -> None:
            self._display.say(f"[{number}] {name}")
            write(out)

        artifact = self._store.build(name, key, announced, self._display.warn)
        entry |= {"seconds": round(artifact.seconds, 3), "cached": artifact.cached, "state": "done"}
        done = "already done" if artifact.cached else f"done in {artifact.seconds:.0f} s"
        self._display.say(f"[{number}] {name}: {done}")
        self.folders[name] = artifact.path
        self._save("running")
        return artifact

    def finish(self) -> None:
        """The run is done and its report is written."""
        self._save("done")

    def _save(self, state: str) -> None:
        value = {
            "run": self._config.run,
            "state": state,
            "stages": self.stages,
            "config": json.loads(self._config.model_dump_json()),
        }
        write_json(self.folder / "run.json", value)


def _holder(root: Path) -> str:
    try:
        return f"Held by {(root / '.holder').read_text('utf-8')}."
    except OSError:
        return "Two runs at once would write into each other's folders."
