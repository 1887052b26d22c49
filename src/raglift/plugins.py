"""Plug-ins are files: a kind of plug-in is a folder, a plug-in is one module in it with one public class.

`names` lists the folder without importing anything, so that a name can be checked before a heavy library loads.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from raglift.errors import UserError

_ROOT = Path(__file__).parent

FOLDERS = {
    "chunker": "corpus/chunkers",
    "strategy": "strategies",
    "objective": "training/objectives",
    "teacher": "training/teachers",
    "recipe ingredient": "training/ingredients",
    "adapter format": "models/adapters",
    "question kind": "synthesis/kinds",
    "question filter": "synthesis/filters",
    "prompt style": "synthesis/styles",
    "prompt": "prompting",
    "fusion": "index/fusions",
    "query transform": "index/transforms",
    "document reader": "corpus/readers",
    "response metric": "evaluation/metrics",
    "judge question": "judging/questions",
    "exchange format": "exchange/formats",
    "index kind": "index/kinds",
    "encoding backend": "models/backends",
    "corruption": "grounding/corruptions",
    "slice dimension": "evaluation/slices",
}
"""Kind of plug-in -> folder under the package."""


def names(kind: str) -> list[str]:
    """The plug-ins of a kind, sorted; files that start with an underscore are not plug-ins."""
    folder = _ROOT / FOLDERS[kind]
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def nearest(name: str, known: list[str]) -> str:
    """A half-sentence that helps with a misspelt name: the nearest one, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def load(kind: str, name: str) -> Any:
    """The plug-in's object: the module attribute `PLUGIN` of its one file.

    Raises:
        UserError: There is no such plug-in.
    """
    known = names(kind)
    if name not in known:
        raise UserError(f"There is no {kind} called {name!r}.", nearest(name, known))
    module = import_module("raglift." + FOLDERS[kind].replace("/", ".") + "." + name)
    return module.PLUGIN
