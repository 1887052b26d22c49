"""What a run serves since its documents were read again, beside the artifacts that it was scored with.

RUN/current/current.json          the version that holds
RUN/current/v000001/              documents.jsonl, chunks.jsonl, base/ and tuned/ (stores), bm25/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.persistence import Version, current_version, open_version, write_version
from raglift.index.store import FaissStore
from raglift.records import Chunk, Document, write_jsonl

FOLDER = "current"
WHICH = ("base", "tuned")
_BM25 = "bm25"


@dataclass(frozen=True, slots=True)
class Current:
    """An update, opened whole: a later one takes its files away.

    Attributes:
        version: Its name.
        facts: What its writer said of it.
        stores: "base" and "tuned" -> the vectors of that embedding model.
        bm25: Over the same chunks.
        corpus: Documents and chunks. They are read when they are asked for, by the next update alone.
    """

    version: str
    facts: dict[str, Any]
    stores: Mapping[str, FaissStore]
    bm25: Bm25
    corpus: Corpus


@dataclass(frozen=True, slots=True)
class Content:
    """What an update consists of, in memory."""

    documents: list[Document]
    chunks: list[Chunk]
    stores: Mapping[str, FaissStore]
    bm25: Bm25

    def write(self, folder: Path) -> None:
        """Write everything into a folder."""
        write_jsonl(folder / "documents.jsonl", self.documents)
        write_jsonl(folder / "chunks.jsonl", self.chunks)
        for which, store in self.stores.items():
            store.persist(str(folder / which))
        self.bm25.save(folder / _BM25)


def read_facts(run: Path, keys: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """The version that holds and what is said of it; None where the run serves what it was scored with.

    Args:
        run: The run's folder.
        keys: Stage -> key of the artifacts that an update replaces. One that was made from others is of an earlier run
            of the same name, and is not looked at.

    Raises:
        UserError: What is there is damaged.
    """
    root = (run / FOLDER).absolute()
    if current_version(root) is None:
        return None
    try:
        name, facts = open_version(root, lambda version: version.facts, verify=False)
    except UserError as error:
        raise _with_way_out(error, root) from error
    return (name, facts) if facts.get("built_from") == dict(keys) else None


def read_current(run: Path, keys: Mapping[str, str]) -> Current | None:
    """`read_facts`, and everything that is served, its files checked."""
    if read_facts(run, keys) is None:
        return None
    root = (run / FOLDER).absolute()
    try:
        return open_version(root, _read)[1]
    except UserError as error:
        raise _with_way_out(error, root) from error


def _read(version: Version) -> Current:
    stores = {which: FaissStore.open(version.path / which) for which in WHICH}
    bm25 = Bm25.load(version.path / _BM25)
    return Current(version.path.name, version.facts, stores, bm25, Corpus(version.path))


def write_current(run: Path, content: Content, facts: Mapping[str, Any], based_on: str | None) -> str:
    """Make a new version the one that is served; its name. A process that dies leaves what was served before.

    Raises:
        UserError: The disk is full or may not be written.
    """

    def fill(folder: Path) -> dict[str, Any]:
        content.write(folder)
        return dict(json.loads(json.dumps(facts)))

    return write_version((run / FOLDER).absolute(), fill, based_on)


def _with_way_out(error: UserError, root: Path) -> UserError:
    return UserError(
        error.what, error.why, f"Delete {root}: the run serves what it was scored with, until the next update."
    )
