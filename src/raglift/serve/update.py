"""`raglift index update`: a run's documents read again, and its indexes brought up with what changed alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from raglift.corpus.changes import Changes, brought_up, changes
from raglift.corpus.chunking import chunk_documents
from raglift.corpus.stage import Corpus, read_again
from raglift.errors import UserError
from raglift.index.backend import GRAPHS, source_of
from raglift.index.bm25 import Bm25
from raglift.index.encoding import add_chunks
from raglift.index.stage import build_approximate
from raglift.index.store import FaissStore
from raglift.index.vector_cache import FOLDER
from raglift.progress import Progress
from raglift.records import Chunk, Document
from raglift.serve.current import WHICH, Content, read_current, write_current
from raglift.workspace import hold

if TYPE_CHECKING:
    from raglift.serve.result import RunResult


@dataclass(frozen=True, slots=True)
class DocumentCount:
    """Documents: read = new + changed + unchanged."""

    read: int
    new: int
    changed: int
    gone: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class ChunkCount:
    """Chunks: those of changed documents are deleted, and added as they are now."""

    added: int
    deleted: int
    kept: int


@dataclass(frozen=True, slots=True)
class VectorCount:
    """Vectors added to the two indexes: encoded + known = two for every added chunk.

    Attributes:
        encoded: Texts that a model read.
        known: Vectors that were there: of a text in the workspace's cache, or one that the update has twice.
    """

    encoded: int
    known: int


@dataclass(frozen=True, slots=True)
class Account:
    """What an update found and paid for.

    Attributes:
        version: What is served from now on, under the run's `current`; None: what the run was scored with.
        written: Whether anything was.
    """

    documents: DocumentCount
    chunks: ChunkCount
    vectors: VectorCount
    seconds: float
    version: str | None
    written: bool


@dataclass(frozen=True, slots=True)
class _Before:
    """What is served before the update: indexes of its own, which it may change."""

    version: str | None
    corpus: Corpus
    stores: Mapping[str, FaissStore]


def update(run: RunResult, allow_empty: bool = False, display: Progress | None = None) -> Account:
    """Read a run's documents again and bring what it serves up to them; its artifacts and scores stay as they are.

    Only new and changed documents are cut into chunks, and only texts that no index of these weights has seen are
    encoded. BM25 is built anew: the weight of every word depends on all chunks. The new state takes the old one's place
    in one step, so that an update that is killed leaves the old state; what it had encoded is not encoded again.

    Args:
        allow_empty: Whether an index may be left without a document.

    Raises:
        UserError: The documents' folder is not there, all documents are gone, a base model is missing or another one
            by now, or another process is using the workspace.
    """
    display = display or Progress()
    run.check_models()
    with hold(run.workspace, f"update of {run.folder.name}"):
        return _update(run, allow_empty, display)


def _update(run: RunResult, allow_empty: bool, display: Progress) -> Account:
    began = time.perf_counter()
    before = _before(run)
    read = read_again(run.config.model_copy(update={"workspace": str(run.workspace)}), display)
    found = changes(before.corpus.documents, read)
    if found and not read and not allow_empty:
        raise UserError(
            "None of the run's documents is there any more.",
            f"{len(found.gone):,} were; without them the index would be empty.",
            "Put them back, or say --allow-empty.",
        )
    documents = DocumentCount(len(read), len(found.new), len(found.changed), len(found.gone), len(found.unchanged))
    old = before.corpus.chunks
    if not found:
        chunks, vectors = ChunkCount(0, 0, len(old)), VectorCount(0, 0)
        return Account(documents, chunks, vectors, _since(began), before.version, written=False)
    fresh = _cut(run, found, display)
    dropped = {document.id for document in (*found.gone, *found.replaced)}
    deleted = [chunk.id for chunk in old if chunk.document_id in dropped]
    encoded = 0
    for which in WHICH:
        store = before.stores[which]
        store.delete_nodes(deleted)
        encoded += _added(run, which, store, fresh, display)
        build_approximate(store, display)
    account = Account(
        documents,
        ChunkCount(len(fresh), len(deleted), len(old) - len(deleted)),
        VectorCount(encoded, len(WHICH) * len(fresh) - encoded),
        _since(began),
        None,
        written=True,
    )
    now = brought_up(found, read)
    content = _content(now, _in_order(now, [*old, *fresh]), before.stores, run.config.retrieval.language, display)
    facts = {
        "built_from": run.served_keys,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "account": asdict(account),
        "counts": {"documents": len(content.documents), "chunks": len(content.chunks)},
    }
    version = write_current(run.folder, content, facts, before.version)
    return replace(account, seconds=_since(began), version=version)


def _before(run: RunResult) -> _Before:
    current = read_current(run.folder, run.served_keys)
    if current is not None:
        return _Before(current.version, current.corpus, current.stores)
    return _Before(None, run.corpus, {which: run.open_store(which) for which in WHICH})


def _cut(run: RunResult, found: Changes, display: Progress) -> list[Chunk]:
    settings, documents = run.config.corpus, [*found.new, *found.changed]
    if not documents:
        return []
    with display.stage("cutting documents into chunks", len(documents), "documents") as bar:
        return chunk_documents(
            documents,
            settings.chunk_tokens,
            settings.chunk_overlap,
            bar.advance,
            settings.chunker,
            lambda: run.models.llama_embedding("base"),
        )


def _added(run: RunResult, which: str, store: FaissStore, chunks: list[Chunk], display: Progress) -> int:
    if not chunks:
        return 0
    with TemporaryDirectory() as folder:
        caches = run.workspace / FOLDER if run.config.runtime.vector_cache else Path(folder)
        passages = run.models.passages(which, caches, display.warn)
        source = source_of(run.backend(which), [chunk.text for chunk in chunks], passages, Path(folder) / GRAPHS)
        return add_chunks(store, chunks, source, display)


def _in_order(documents: list[Document], chunks: list[Chunk]) -> list[Chunk]:
    """The chunks of the documents, in the documents' order."""
    of: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        of.setdefault(chunk.document_id, []).append(chunk)
    return [chunk for document in documents for chunk in of.get(document.id, ())]


def _content(
    documents: list[Document],
    chunks: list[Chunk],
    stores: Mapping[str, FaissStore],
    language: str,
    display: Progress,
) -> Content:
    with display.stage("indexing the words of chunks", len(chunks), "chunks") as bar:
        bm25 = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks], language, bar.advance)
    return Content(documents, chunks, stores, bm25)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)
