"""Finished runs on disk, made without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from raglift.artifacts import Store, write_json
from raglift.config import Config, config_from_dict
from raglift.records import Target
from raglift.serve.result import RunResult
from raglift.workspace import RUNS, STATE


def stored_run(
    root: Path, models: Mapping[Target, Path], writers: Mapping[Target, Callable[[Path], None]]
) -> RunResult:
    """A run `demo` in the workspace `root` whose trainings are what the writers write.

    Args:
        models: Target -> the folder of its base model.
        writers: Target -> what fills the artifact of its training.
    """
    sections = {target: {"model": str(model)} for target, model in models.items()}
    config: Config = config_from_dict({"run": "demo", "data": {"documents": "d"}} | sections)
    for target, write in writers.items():
        Store(root).build(target, "k", write)
    stages = [{"name": target, "key": "k"} for target in writers]
    state = {"run": "demo", "state": "done", "stages": stages, "config": json.loads(config.model_dump_json())}
    write_json(root / RUNS / "demo" / STATE, state)
    write_json(root / RUNS / "demo" / "report.json", {"verdict": "better"})
    return RunResult(root / RUNS / "demo")
