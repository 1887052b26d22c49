"""What an engine made of a question: an answer, passages, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore

from raglift.errors import UserError
from raglift.evaluation.scale import TOKENS_IN, TOKENS_OUT
from raglift.index.retriever import LiftRetriever
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.records import QAPair, content_id
from raglift.serve.engine import LiftQueryEngine

Engine: TypeAlias = BaseQueryEngine | BaseRetriever

_NAMING = ("document_id", "doc_id", "ref_doc_id", "id", "_id", "source", "file_path", "file_name", "path", "url")
"""Keys of a node's metadata that readers put a document's name under."""
_LONGEST_REASON = 300
_RANKED_AT_ONCE, _ANSWERED_AT_ONCE = 256, 32
"""Questions that raglift's own retrievers and query engines are put at once: what an interruption may cost."""


MOST_TOKENS = 10**12
"""More than that, or fewer than none, nobody has counted for a question."""


class HopelessError(UserError):
    """The engine failed in a way that no other question will escape, such as a refused key."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What was retrieved, with every id and name that it may go by, the nearest first."""

    text: str
    names: tuple[str, ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `passages` are best first; None: none were asked for or given. `failure` says why there is
    nothing. The tokens are those of the prompt and the answer, where the engine's metadata names them."""

    answer: str | None
    passages: tuple[Passage, ...] | None
    seconds: float | None
    failure: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """What is scored under one name: question id -> reply, and which kinds of metric apply to it."""

    name: str
    replies: Mapping[str, Reply]
    retrieves: bool
    answers: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """How questions are put.

    Attributes:
        folder: Where replies are kept as they come, so that the same call goes on from there; None: nowhere.
        workers: Questions at once; above 1 only for engines that may be called from several threads. raglift's own
            work in batches, whatever it says.
    """

    folder: Path | None = None
    workers: int = 1


def check_engines(engines: Mapping[str, Engine]) -> None:
    """Refuse what is no LlamaIndex query engine or retriever.

    Raises:
        UserError: One is something else, or there is none.
    """
    if not engines:
        raise UserError("There is no engine to evaluate.", fix="Give a LlamaIndex query engine or retriever.")
    for name, engine in engines.items():
        if not isinstance(engine, BaseQueryEngine | BaseRetriever):
            raise UserError(
                f"{name!r} cannot be evaluated.",
                f"It is a {type(engine).__name__}.",
                "Give a LlamaIndex query engine or retriever, such as index.as_query_engine().",
            )


def ask_all(engines: Mapping[str, Engine], questions: Sequence[QAPair], asking: Asking, display: Progress) -> list[Arm]:
    """Put every question to every engine.

    A question on which an engine raises has a reply with the reason; with a folder it is put again by the next call.

    Raises:
        HopelessError: An engine says that no question will fare better.
    """
    arms = []
    for name, engine in engines.items():
        replies = _ask(name, engine, questions, asking, display)
        retrieves = isinstance(engine, BaseRetriever) or any(reply.passages for reply in replies.values())
        arms.append(Arm(name, replies, retrieves, isinstance(engine, BaseQueryEngine)))
    return arms


def _ask(name: str, engine: Engine, questions: Sequence[QAPair], asking: Asking, display: Progress) -> dict[str, Reply]:
    journal = None if asking.folder is None else Journal(asking.folder / f"asked-{content_id(name)}.jsonl")
    units = {
        question.id: content_id(type(engine).__qualname__, question.id, question.question) for question in questions
    }
    replies: dict[str, Reply] = {}
    if journal is not None:
        replies = {q.id: _from_json(journal[units[q.id]]) for q in questions if units[q.id] in journal}
    try:
        with display.stage(f"asking {name}", len(questions), "questions", done=len(replies)) as bar:
            for qa_id, reply in _replies(engine, questions, frozenset(replies), asking.workers):
                if qa_id in replies:  # kept: what comes now may have failed, and is in no journal
                    continue
                replies[qa_id] = reply
                if journal is not None and not reply.failure:
                    journal.append(units[qa_id], asdict(reply))
                bar.advance(1)
    finally:
        if journal is not None:
            journal.close()
    failed = [reply.failure for reply in replies.values() if reply.failure]
    if failed:
        display.warn(f"{name} failed on {len(failed)} of {len(questions)} questions, at first with: {failed[0]}")
    return replies


def _replies(
    engine: Engine, questions: Sequence[QAPair], known: frozenset[str], workers: int
) -> Iterator[tuple[str, Reply]]:
    """(question id, reply), as they come; those that are known are put again only where their batch is."""
    left = [question for question in questions if question.id not in known]
    if isinstance(engine, LiftRetriever | LiftQueryEngine) and engine.in_batches:
        # What stands beside a question in bfloat16 can change a word of its answer: the batches are those of a call
        # that was never cut off.
        size = _RANKED_AT_ONCE if isinstance(engine, LiftRetriever) else _ANSWERED_AT_ONCE
        for start in range(0, len(questions), size):
            batch = questions[start : start + size]
            if any(question.id not in known for question in batch):
                yield from zip((question.id for question in batch), _put_batch(engine, batch), strict=True)
    elif workers == 1:  # in this thread, for engines that belong to it
        yield from ((question.id, _put(engine, question.question)) for question in left)
    else:
        yield from _side_by_side(engine, left, workers)


def _side_by_side(engine: Engine, questions: Sequence[QAPair], workers: int) -> Iterator[tuple[str, Reply]]:
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = {pool.submit(_put, engine, question.question): question.id for question in questions}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:  # once somebody interrupts, nothing waits for the calls that are under way
        pool.shutdown(wait=False, cancel_futures=True)


def _put_batch(engine: LiftRetriever | LiftQueryEngine, batch: Sequence[QAPair]) -> list[Reply]:
    """One reply a question, each with an equal share of the batch's seconds."""
    texts = [question.question for question in batch]
    began = time.perf_counter()
    try:
        if isinstance(engine, LiftRetriever):
            found = [Reply(None, tuple(map(_passage, nodes)), None) for nodes in engine.retrieve_batch(texts)]
        else:
            found = [_answered(response) for response in engine.query_batch(texts)]
    except Exception:  # one by one it shows which question it is
        return [_put(engine, text) for text in texts]
    spent = (time.perf_counter() - began) / len(batch)
    return [replace(reply, seconds=spent) for reply in found]


def _put(engine: Engine, question: str) -> Reply:
    began = time.perf_counter()
    try:
        if isinstance(engine, BaseRetriever):
            reply = Reply(None, tuple(map(_passage, engine.retrieve(question))), None)
        else:
            reply = _answered(engine.query(question))
    except HopelessError:
        raise
    except Exception as error:  # whatever an engine raises, the other questions still count
        told = " ".join(f"{type(error).__name__}: {error}".split())
        return Reply(None, None, time.perf_counter() - began, told[:_LONGEST_REASON])
    return replace(reply, seconds=time.perf_counter() - began)


def _answered(response: Any) -> Reply:
    whole = response.get_response() if hasattr(response, "get_response") else response  # a stream is read to its end
    answer = getattr(whole, "response", None)
    passages = tuple(map(_passage, getattr(response, "source_nodes", None) or ()))
    told = getattr(whole, "metadata", None) or {}
    counts = {name: told.get(name) for name in (TOKENS_IN, TOKENS_OUT)}
    sound: dict[str, Any] = {name: n for name, n in counts.items() if isinstance(n, int) and 0 <= n <= MOST_TOKENS}
    return Reply(None if answer is None else str(answer), passages, None, **sound)


def _passage(found: NodeWithScore) -> Passage:
    node, metadata = found.node, found.node.metadata
    named = [node.node_id, node.ref_doc_id, *(metadata.get(key) for key in _NAMING)]
    names = tuple(dict.fromkeys(str(name) for name in named if isinstance(name, str | int) and name != ""))
    return Passage(node.get_content(), names, None if found.score is None else float(found.score))


def _from_json(value: dict[str, Any]) -> Reply:
    passages = value["passages"]
    found = None if passages is None else tuple(Passage(p["text"], tuple(p["names"]), p["score"]) for p in passages)
    return Reply(**{**value, "passages": found})
