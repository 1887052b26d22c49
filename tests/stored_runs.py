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
    root: Path, models: Mapping[Target, Path], writers: Mapping[Target, Callable[[Path], None]], name: str = "demo"
) -> RunResult:
    """A run in the workspace `root` whose trainings are what the writers write.

    Args:
        models: Target -> the folder of its base model.
        writers: Target -> what fills the artifact of its training.
    """
    sections = {target: {"model": str(model)} for target, model in models.items()}
    runtime = {"dtype": "float32", "threads": 1}
    config: Config = config_from_dict({"run": name, "data": {"documents": "d"}, "runtime": runtime} | sections)
    for target, write in writers.items():
        Store(root).build(target, name, write)
    stages = [{"name": target, "key": name} for target in writers]
    state = {"run": name, "state": "done", "stages": stages, "config": json.loads(config.model_dump_json())}
    write_json(root / RUNS / name / STATE, state)
    write_json(root / RUNS / name / "report.json", {"verdict": "better"})
    return RunResult(root / RUNS / name)
