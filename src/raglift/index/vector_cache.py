"""Vectors of texts that are known already, in one SQLite file a model, prompt, role and precision.

An encoder's vector depends, in its last digits, on the batch that its text stood in: two windows of other texts gave
MiniLM vectors that differ by 1.4e-7 in float32 and by 1.2e-3 (a cosine of 0.99998) in bfloat16. What is kept is the
vector that was computed first. So the same runs one after another, from an empty cache, give the same bytes, and so
does a run that was killed and goes on; a run that finds texts in the cache gives what it would have given without it
but for that rounding.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raglift.records import content_id

Vectors = NDArray[np.float32]

FOLDER = "vectors"
_SUFFIX = ".sqlite"
_ASKED = 500
"""Texts looked up by one statement: SQLite takes a limited number of parameters."""
_DISK = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_PRIMARY = 0xFF
"""The low byte of an extended result code, which is the code itself."""


def cache_key(weights: str, prompt: str, role: str, precision: str) -> str:
    """Of all that decides a text's vector but the text.

    Args:
        weights: The hash of the model's weights, tokenizer and settings.
        prompt: What the model puts before a text in this role.
        role: "query" or "passage".
        precision: Number format and kind of device.
    """
    return content_id("vectors", weights, prompt, role, precision)


class VectorCache:
    """Text -> vector, on disk. A process that dies leaves every block that was added, whole.

    Memory does not grow with what is kept: a text is known by its sha256, and a vector is read when it is asked for. A
    row whose checksum is wrong is as one that is not there, and a file that is no such cache is begun anew.

    Args:
        folder: Of the caches of all models.
        key: See `cache_key`.
        dimension: Of the vectors.
        warn: Told when a damaged file is begun anew.
    """

    def __init__(self, folder: Path, key: str, dimension: int, warn: Callable[[str], None] = lambda _: None) -> None:
        self.path = folder / f"{key}{_SUFFIX}"
        self._dimension = dimension
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                raise
            warn(f"{self.path} is damaged ({error}); what it held is encoded again.")
            for name in (self.path.name, f"{self.path.name}-journal"):
                (folder / name).unlink(missing_ok=True)
            self._create()

    def _create(self) -> None:
        with self._open() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB NOT NULL, sum INTEGER NOT NULL)"
            )
            database.execute("SELECT text, vector, sum FROM vectors LIMIT 1").fetchall()

    def __len__(self) -> int:
        with self._open() as database:
            return int(database.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts that have no sound vector here, each once, in their order."""
        names = {_name(text): text for text in texts}
        with self._open() as database:
            for name, _ in self._rows(database, list(names)):
                del names[name]
        return list(names.values())

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Their vectors, shape (len(texts), dimension); KeyError where one is not known."""
        names = [_name(text) for text in texts]
        with self._open() as database:
            found = dict(self._rows(database, list(dict.fromkeys(names))))
        whole = b"".join(found[name] for name in names)
        return np.frombuffer(whole, "<f4").reshape(len(texts), self._dimension).astype(np.float32)

    def add(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors, shape (len(texts), dimension); all of them are on disk when this returns, or none."""
        rows = [(_name(text), _blob(vector)) for text, vector in zip(texts, vectors, strict=True)]
        with self._open() as database, database:
            database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(name, blob, zlib.crc32(name + blob)) for name, blob in rows],
            )

    def _rows(self, database: sqlite3.Connection, names: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(names), _ASKED):
            some = names[start : start + _ASKED]
            places = ",".join("?" * len(some))
            found = database.execute(f"SELECT text, vector, sum FROM vectors WHERE text IN ({places})", some)
            for name, blob, checksum in found:
                if len(blob) == 4 * self._dimension and zlib.crc32(name + blob) == checksum:
                    yield name, blob

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection; what the disk refuses is an OSError, as of any other file."""
        try:
            with closing(sqlite3.connect(self.path)) as database:
                yield database
        except sqlite3.OperationalError as error:
            number = _DISK.get(_code(error))
            if number is None:
                raise
            raise OSError(number, str(error), str(self.path)) from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _name(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _blob(vector: Vectors) -> bytes:
    return vector.astype("<f4").tobytes()
