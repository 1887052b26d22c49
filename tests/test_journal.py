from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.journal import Journal

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


def _journal(path: Path, values: list[Any]) -> None:
    journal = Journal(path)
    for number, value in enumerate(values):
        journal.append(f"unit {number}", value)
    journal.close()


@given(values=st.lists(_VALUES, max_size=5), data=st.data())
def test_a_cut_keeps_the_whole_lines_before_it(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "units.jsonl"
    _journal(path, values)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")

    journal = Journal(path)
    assert [f"unit {number}" in journal for number in range(len(values))] == [n < kept for n in range(len(values))]
    assert [journal[f"unit {number}"] for number in range(kept)] == values[:kept]
    for number in range(kept, len(values)):
        journal.append(f"unit {number}", values[number])
    journal.close()
    assert path.read_bytes() == whole


def test_what_follows_a_damaged_line_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    _journal(path, ["a", "b", "c"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * len(lines[1]) + b"\n" + lines[2])
    journal = Journal(path)
    assert ("unit 0" in journal, "unit 1" in journal, "unit 2" in journal) == (True, False, False)
    journal.close()
    assert path.read_bytes() == lines[0]


def test_a_unit_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "units.jsonl")
    journal.append("one", {"x": (1, 2)})
    assert journal["one"] == {"x": [1, 2]}  # as it will be read back
    assert (tmp_path / "deep" / "units.jsonl").read_text("utf-8") == '["one", {"x": [1, 2]}]\n'
    journal.close()
