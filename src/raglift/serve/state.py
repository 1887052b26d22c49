"""Where a run lies, and what its run.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raglift.errors import UserError
from raglift.plugins import nearest
from raglift.workspace import RUNS, STATE


def run_folder(run: str | Path, workspace: str | Path) -> Path:
    """A run's folder, from its name in the workspace or the folder itself.

    Raises:
        UserError: There is no such run.
    """
    for folder in (Path(workspace) / RUNS / str(run), Path(run)):
        if (folder / STATE).exists():
            return folder
    known = sorted(path.parent.name for path in Path(workspace).glob(f"{RUNS}/*/{STATE}"))
    raise UserError(
        f"There is no run called {str(run)!r} in {workspace}.",
        nearest(str(run), known) if known else "There is no run at all.",
        "Name a run or its folder; --workspace names where runs are kept.",
    )


def read_state(folder: Path) -> dict[str, Any]:
    """A run's run.json.

    Raises:
        UserError: It is damaged.
    """
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
        if not isinstance(state, dict) or not {"run", "state", "stages", "config"} <= set(state):
            raise ValueError("it lacks some of run, state, stages, config")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / STATE} is damaged.", str(error), "Run the same `raglift run` command again: it writes it anew."
        ) from error
    return state
