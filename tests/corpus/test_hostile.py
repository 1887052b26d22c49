"""Files that were made to break readers cost no more than their limit, and nothing of their siblings."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from raglift.corpus.documents import Reading, read
from tests.corpus import hostile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes pipes, sockets and links")
SECONDS = 40.0


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    folder = tmp_path_factory.mktemp("hostile") / "folder"
    hostile.make(folder)
    began = time.monotonic()
    found = read(str(folder), hostile.LIMITS)
    assert time.monotonic() - began < SECONDS
    return found


def test_there_are_many() -> None:
    assert len(hostile.REJECTED) + len(hostile.HANDLED) + len(hostile.SPECIAL) >= 60


@pytest.mark.parametrize("name", [*hostile.REJECTED, *hostile.SPECIAL])
def test_is_left_out_with_its_reason(reading: Reading, name: str) -> None:
    _, reasons = {**hostile.REJECTED, **hostile.SPECIAL}[name]
    shown = name if name.isprintable() else ascii(name)[1:-1]
    assert not [d for d in reading.documents if d.source.partition("#")[0] == name]
    (found,) = [item for item in reading.left_out if item.source == shown]
    assert found.reason in reasons.split("|"), found
    assert found.detail.isprintable()
    assert len(found.detail) <= 200


@pytest.mark.parametrize("name", list(hostile.HANDLED))
def test_is_read_as_what_a_person_sees(reading: Reading, name: str) -> None:
    found = [d for d in reading.documents if d.source.partition("#")[0] == name]
    assert [d.text for d in found] == [hostile.HANDLED[name][1]], [i for i in reading.left_out if i.source == name]


def test_their_siblings_are_read(reading: Reading) -> None:
    texts = {document.source: document.text for document in reading.documents}
    assert [texts[f"{letter}-sibling.txt"] for letter in "amz"] == [f"The sibling {letter}." for letter in "amz"]
    assert len(reading.documents) == len(hostile.HANDLED) + 3


def test_nothing_outside_of_the_folder_is_read(reading: Reading) -> None:
    everything = "".join(document.text for document in reading.documents) + "".join(map(str, reading.left_out))
    assert hostile.SECRET not in everything
    assert "root:" not in everything


def test_the_order_is_that_of_the_names(reading: Reading) -> None:
    sources = [Path(document.source) for document in reading.documents]
    assert sources == sorted(sources)
    plain = [item.source for item in reading.left_out if "\\" not in item.source]  # an escaped name is sorted as it was
    assert plain == sorted(plain)


def test_all_is_counted(reading: Reading) -> None:
    counts = dict(reading.counts())
    left_out = sum(count for name, count in counts.items() if name.startswith("file left out: "))
    assert left_out == len(reading.left_out) == len(hostile.REJECTED) + len(hostile.SPECIAL)
    assert counts["invisible characters removed"] > 100_000
