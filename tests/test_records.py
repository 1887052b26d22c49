from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.errors import UserError
from raglift.records import (
    Answered,
    Chunk,
    Document,
    Evidence,
    IndexRef,
    QAPair,
    Score,
    TrainedModel,
    Verdict,
    content_id,
    dump_line,
    parse_line,
    read_jsonl,
    write_jsonl,
)

RECORDS = (Document, Chunk, Evidence, QAPair, TrainedModel, IndexRef, Answered, Score, Verdict)


@pytest.mark.parametrize("cls", RECORDS)
@given(data=st.data())
def test_round_trip(cls: type[Any], data: st.DataObject) -> None:
    record = data.draw(st.from_type(cls))
    line = dump_line(record)
    assert "\n" not in line
    parsed = parse_line(line, cls)
    assert dump_line(parsed) == line
    assert parsed == record or "NaN" in line  # which equals nothing, itself included


@given(st.lists(st.from_type(Score)))
def test_file_round_trip(tmp_path_factory: pytest.TempPathFactory, records: list[Score]) -> None:
    path = tmp_path_factory.mktemp("records") / "scores.jsonl"
    write_jsonl(path, records)
    assert list(map(dump_line, read_jsonl(path, Score))) == list(map(dump_line, records))


def test_line_ends_inside_a_text_do_not_end_the_line(tmp_path: Path) -> None:
    documents = [Document(str(n), "s", f"a{mark}b") for n, mark in enumerate("\n\r\u2028\u2029\x85\x0b\x1c")]
    write_jsonl(tmp_path / "documents.jsonl", documents)
    assert read_jsonl(tmp_path / "documents.jsonl", Document) == documents


GOOD = b'{"metric": "m", "qa_id": "q", "arm": "a", "value": null}\n'


@pytest.mark.parametrize(
    "bad",
    [
        b"{}\n",
        b"[]\n",
        b"\n",
        b"{\n",
        GOOD[:-3],
        b'{"metric": 1, "qa_id": "q", "arm": "a", "value": null}\n',
        b'{"metric": "m", "qa_id": "q", "arm": "a", "value": "high"}\n',
        b'{"metric": "\xff", "qa_id": "q", "arm": "a", "value": null}\n',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(GOOD + bad)
    with pytest.raises(UserError) as caught:
        read_jsonl(path, Score)
    assert f"{path}:2 " in caught.value.what
    assert "Score" in caught.value.what
    assert caught.value.why


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*none\.jsonl"):
        read_jsonl(tmp_path / "none.jsonl", Score)


def test_content_ids_are_the_same_on_every_machine() -> None:
    assert content_id("a", 1, {"b": [1.5, None]}) == "d66bdef65ce79465"
    assert content_id("d\u00e9j\u00e0 vu", 0) == "b73290c6aed8aaf4"


def test_content_ids_tell_parts_apart() -> None:
    parts: list[tuple[object, ...]] = [
        ("ab",),
        ("a", "b"),
        ("a", "", "b"),
        (["a", "b"],),
        ("a", None),
        ("a",),
        (1,),
        ("1",),
    ]
    assert len({content_id(*each) for each in parts}) == len(parts)
    assert content_id({"x": 1, "y": 2}) == content_id({"y": 2, "x": 1})
