"""Imports point one way only, and the command line starts without a heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import raglift

ROOT = Path(raglift.__file__).parent
LAYERS = (
    ("records", "errors", "abstention", "journal"),
    ("config", "artifacts", "plugins", "progress", "job", "workspace", "confined", "child"),
    ("corpus", "models", "training", "index", "evaluation"),
    ("strategies", "prompting", "synthesis", "grounding", "judging"),
    ("report", "release", "serve", "engines", "exchange", "assess"),
    ("runner", "pipeline", "estimation", "api"),
    ("cli", "doctor", "__main__"),
)
"""Lowest first; a module may import its own layer and those below. A name in `FAMILIES` stands for `NAME_*` too."""
FAMILIES = ("config_", "cli_", "pipeline_")
HEAVY = ("torch", "transformers", "llama_index", "faiss", "ragas", "scipy", "datasets", "peft")

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def layer(unit: str) -> int:
    """The layer of a top-level module or package."""
    family = unit.partition("_")[0] if unit.startswith(FAMILIES) else unit
    found = [number for number, names in enumerate(LAYERS) if family in names]
    assert found, f"raglift.{unit} is in no layer: give it one"
    return found[0]


def imported_units(path: Path) -> list[tuple[int, str]]:
    """(line, top-level module or package of raglift) of every import, those in functions and type checks too."""
    units: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "raglift" and len(parts) > 1 and _is_module(parts[1]):
                units.append((node.lineno, parts[1]))
    return units


def _is_module(name: str) -> bool:
    return (ROOT / f"{name}.py").exists() or (ROOT / name / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path: Path) -> None:
    own = layer(path.relative_to(ROOT).with_suffix("").parts[0])
    wrong = [f"{path}:{line} imports raglift.{unit}" for line, unit in imported_units(path) if layer(unit) > own]
    assert not wrong, "\n".join(wrong)


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    source = """
import raglift.records
from raglift import plugins, __version__
from raglift.corpus.stage import Corpus
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from raglift.cli import main
def late():
    from raglift import pipeline
"""
    (tmp_path / "module.py").write_text(source)
    assert sorted(unit for _, unit in imported_units(tmp_path / "module.py")) == [
        "cli",
        "corpus",
        "pipeline",
        "plugins",
        "records",
    ]


@pytest.mark.parametrize("module", ["raglift", "raglift.cli"])
def test_starting_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.split()
    assert "raglift" in loaded
    assert not set(HEAVY) & set(loaded)
