"""The pages' tables are what the classes say, and a stale one is noticed."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import objectives_table
import strategies_table
from marked_tables import markers, renewed
from raglift import plugins

SCRIPTS = [objectives_table, strategies_table]

every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)


@every_script
def test_the_tables_are_fresh(script: ModuleType) -> None:
    text = script.PAGE.read_text("utf-8")
    fresh = renewed(text, script.tables(), script.PAGE)
    assert fresh == text, f"run python scripts/{script.__name__}.py"
    assert script.main(["--check"]) == 0


def test_every_strategy_and_every_setting_of_an_objective_has_a_row() -> None:
    names = re.findall(r"^\| `(\w+)` \|", strategies_table.tables()["strategies"], re.MULTILINE)
    assert sorted(names) == plugins.names("strategy")
    text = objectives_table.PAGE.read_text("utf-8")
    for kind in ("objective", "teacher"):
        for name in plugins.names(kind):
            assert all(f"| `{name}` | `{field}` |" in text for field in plugins.load(kind, name).model_fields)


@every_script
def test_a_stale_table_is_noticed_and_renewed(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    stale = ["before", *(f"{begin}\nold\n{end}" for begin, end in map(markers, script.tables())), "after", ""]
    page.write_text("\n".join(stale), "utf-8")
    monkeypatch.setattr(script, "PAGE", page)
    assert script.main(["--check"]) == 1
    assert f"The tables of page.md are stale: run python scripts/{script.__name__}.py" in capsys.readouterr().err
    assert "old" in page.read_text("utf-8")
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    text = page.read_text("utf-8")
    assert (text.startswith("before\n<!--"), text.endswith("-->\nafter\n"), "\nold\n" in text) == (True, True, False)
    assert all(table in text for table in script.tables().values())


@pytest.mark.parametrize("text", ["", "{end}{begin}", "{begin}{begin}{end}", "{begin}{end}{end}"])
def test_markers_that_do_not_fit_are_an_error(text: str) -> None:
    begin, end = markers("strategies")
    with pytest.raises(ValueError, match="once each"):
        renewed(text.format(begin=begin, end=end), {"strategies": "|"}, Path("page.md"))
