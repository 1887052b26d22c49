"""`raglift doctor` says what is missing, whatever is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from raglift import cli
from raglift.errors import UserError


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Any = ModuleType("raglift.models.find")
    find.KNOWN = {"there": None, "gone": None}

    def find_model(name: str) -> SimpleNamespace:
        if name == "gone":
            raise UserError("The model 'gone' is not installed.", "Looked here.", "pip install gone")
        return SimpleNamespace(path=Path("models/there"), revision="0123456789abcdef")

    find.find_model = find_model
    monkeypatch.setitem(sys.modules, "raglift.models.find", find)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "raglift.models.device", raising=False)


@pytest.mark.usefixtures("no_torch")
def test_doctor_survives_without_torch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["doctor", "--json", "--workspace", str(tmp_path / "not" / "yet")]) == 0
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert found["python"]["ok"]
    for name in ("torch", "threads", "dtype"):
        assert (found[name]["ok"], found[name]["fix"]) == (False, "pip install torch")
    assert found["model there"]["found"] == "models/there (revision 0123456789ab)"
    assert (found["model gone"]["ok"], found["model gone"]["fix"]) == (False, "pip install gone")
    assert "GB free" in found["disk"]["found"]
    assert "GB free of" in found["memory"]["found"]
    assert cli.main(["doctor"]) == 0
    gone = next(line for line in capsys.readouterr().out.splitlines() if "model gone" in line)
    assert "warn" in gone
    assert "pip install gone" in gone


def test_doctor_finds_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from raglift import doctor

    monkeypatch.setattr(doctor, "_libraries", lambda: ["pydantic", "surely-not-installed"])
    checks = {check.name: check for check in doctor.checks(Path())}
    assert checks["pydantic"].ok
    assert checks["surely-not-installed"].fix == "pip install surely-not-installed"
    assert not checks["surely-not-installed"].ok
