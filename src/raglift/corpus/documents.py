"""From a folder of files, a URL list or the built-in reference to `Document` records."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raglift import plugins
from raglift.corpus import python_reference
from raglift.corpus.fetch import check
from raglift.corpus.parsing import Parser
from raglift.corpus.readers._reader import EMPTY, TOO_LARGE, UNREACHABLE, Limits, UnreadableError
from raglift.errors import UserError
from raglift.progress import Progress
from raglift.records import Document, content_id

URLS = ".urls"
_NAMED = 10
"""Files that a warning names."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or address that gave no document. `reason` is one of a few, `detail` what was found."""

    source: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, in the order of the files' names, and what was not.

    Attributes:
        documents: At least one, unless there may be none.
        left_out: Files and addresses that gave none.
        removed: Invisible characters that were taken out of the documents.
        guessed: Source -> encoding, where the file does not say it.
        repeated: Source -> rows left out because an earlier row of the file has their id.
    """

    documents: list[Document]
    left_out: list[LeftOut] = field(default_factory=list)
    removed: int = 0
    guessed: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

    def counts(self) -> list[tuple[str, int]]:
        """(what, how many) for the funnel, without zeros."""
        reasons: dict[str, int] = {}
        for item in self.left_out:
            reasons[item.reason] = reasons.get(item.reason, 0) + 1
        rows = [(f"file left out: {reason}", count) for reason, count in sorted(reasons.items())]
        rows += [("files in a guessed encoding", len(self.guessed)), ("invisible characters removed", self.removed)]
        rows.append(("rows left out: an earlier one has their id", sum(self.repeated.values())))
        return [row for row in rows if row[1]]

    def warn(self, warn: Callable[[str], None]) -> None:
        """Say what was left out or guessed; empty files are counted only."""
        said = [item for item in self.left_out if item.reason != EMPTY]
        for item in said[:_NAMED]:
            warn(f"Left out {item}")
        if len(said) > _NAMED:
            warn(f"Left out {len(said) - _NAMED} more files; left_out.jsonl beside the documents names all.")
        if self.guessed:
            named = _named(self.guessed)
            warn(f"Not UTF-8, so the encoding was guessed: {named}. Convert them if the text looks wrong.")
        if self.repeated:
            named = _named(self.repeated)
            warn(f"Rows left out because an earlier row of the file has their id: {named}. Give each an id of its own.")


def _named(files: Mapping[str, object]) -> str:
    """The first few files, each with what is said of it."""
    named = ", ".join(f"{source} ({said})" for source, said in list(files.items())[:5])
    return f"{named} and {len(files) - 5} more" if len(files) > 5 else named


@dataclass(frozen=True, slots=True)
class _Task:
    """One unit of reading: what the child is asked, or why it need not be."""

    source: str
    request: dict[str, Any] | None
    left_out: LeftOut | None = None


def document(source: str, text: str, metadata: dict[str, str] | None = None) -> Document:
    """A document whose id is the hash of its source and text."""
    return Document(content_id(source, text), source, text, metadata or {})


def read_documents(name: str) -> list[Document]:
    """The documents of `data.documents`, with the default limits; see `read`."""
    return read(name).documents


def read(
    name: str,
    limits: Limits | None = None,
    network: bool = False,
    skip: Collection[Path] = (),
    display: Progress | None = None,
    may_be_empty: bool = False,
) -> Reading:
    """The documents of `data.documents`: the built-in reference, every file of a known format below a folder, or the
    pages of a URL list.

    Files are parsed in a child process under `limits`. One that fails is left out with its reason.

    Args:
        network: Whether a URL list may be fetched.
        skip: Files and folders that hold no documents, such as the human questions and the workspace.
        may_be_empty: Whether a folder or list that gives no document is no mistake.

    Raises:
        UserError: There is no such folder or list, or nothing in it can be read.
    """
    if name == python_reference.NAME:
        return Reading([document(topic, text) for topic, text in python_reference.texts().items()])
    limits, display = limits or Limits(), display or Progress(quiet=True)
    path = Path(name).expanduser()
    unit = "files"
    if path.suffix.lower() == URLS and path.is_file():
        unit = "addresses"
        tasks = _listed(path, network, limits)
    else:
        tasks = _files(path, name, limits, [other.resolve() for other in skip])
    with display.stage("reading documents", len(tasks), unit) as bar, Parser(limits) as parser:
        reading = _read(tasks, parser, bar.advance)
    if not reading.documents and not may_be_empty:
        raise _nothing(name, reading.left_out)
    return reading


def _read(tasks: Sequence[_Task], parser: Parser, advance: Callable[[], None]) -> Reading:
    reading = Reading([])
    removed = 0
    for task in tasks:
        if task.request is None:
            assert task.left_out is not None  # a task has one of the two
            reading.left_out.append(task.left_out)
            advance()
            continue
        answer = parser.parse(task.request)
        for key, text, metadata in answer.get("documents", ()):
            reading.documents.append(document(f"{task.source}#{key}" if key else task.source, text, metadata))
        if "reason" in answer:
            reading.left_out.append(LeftOut(task.source, answer["reason"], answer["detail"]))
        removed += answer.get("removed", 0)
        if answer.get("guessed"):
            reading.guessed[task.source] = answer["guessed"]
        if answer.get("repeated"):
            reading.repeated[task.source] = answer["repeated"]
        advance()
    return replace(reading, removed=removed)


def _readers() -> dict[str, str]:
    """File ending -> reader, in the order of the endings."""
    names = plugins.names("document reader")
    return dict(sorted((suffix, name) for name in names for suffix in plugins.load("document reader", name).suffixes))


def _files(folder: Path, name: str, limits: Limits, skip: Collection[Path]) -> list[_Task]:
    readers = _readers()
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {name!r} to read documents from.",
            "`data.documents` names a folder, relative to where raglift is started.",
            f"Give a folder with {', '.join(readers)} files, a {URLS} file, or '{python_reference.NAME}'.",
        )
    root = folder.resolve()
    skip = [other for other in skip if other != root and other.is_relative_to(root)]
    tasks = []
    for path in sorted(_walk(folder)):
        suffix = path.suffix.lower()
        if suffix in readers or suffix == URLS or path.is_symlink():
            source = path.relative_to(folder).as_posix()
            shown = source if source.isprintable() else ascii(source)[1:-1]
            try:
                target = path.resolve()
                if any(target.is_relative_to(other) for other in skip):
                    continue
                if suffix not in readers and suffix != URLS and path.is_file():
                    continue
                _check(path, source, root, limits)
                tasks.append(_Task(source, {"reader": readers[suffix], "path": str(path)}))
            except UnreadableError as error:
                tasks.append(_Task(shown, None, LeftOut(shown, error.reason, error.detail)))
            except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
                detail = (error.strerror if isinstance(error, OSError) else None) or "a link that leads nowhere"
                tasks.append(_Task(shown, None, LeftOut(shown, UNREACHABLE, detail)))
    return tasks


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below the folder that is not a folder; links to folders are not followed.

    A dot hides a folder from people, and so from the corpus: .git, .venv and the like.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            if current == folder:
                raise UserError(f"{folder} cannot be read.", str(error), "Mend its permissions.") from error
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path)


def _check(path: Path, source: str, root: Path, limits: Limits) -> None:
    """What can be told about a file without opening it.

    Raises:
        UnreadableError: It must not or need not be opened.
        OSError: It is gone, or its folder may not be searched.
    """
    if not source.isprintable():  # half of a surrogate pair, which stands for an undecodable byte, is not
        raise UnreadableError("a file name that cannot be read as text", "Rename the file or its folder.")
    if path.suffix.lower() == URLS:
        raise UnreadableError("a URL list within a folder", "It is read where data.documents names it.")
    if not path.resolve(strict=True).is_relative_to(root):
        raise UnreadableError("a link out of the folder")
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError("a link to a folder")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("not a regular file")
    if found.st_size == 0:
        raise UnreadableError(EMPTY)
    if found.st_size > limits.file_bytes:
        raise UnreadableError(TOO_LARGE)


def _listed(path: Path, network: bool, limits: Limits) -> list[_Task]:
    """A task a line of a URL list; blank lines and those that begin with # are passed over."""
    if not network:
        raise UserError(
            f"data.documents names the URL list {str(path)!r}, but the network is off.",
            "Nothing is fetched unless the configuration allows it.",
            "Set data.network to true, or give a folder.",
        )
    if path.stat().st_size > limits.file_bytes:
        raise UserError(f"{path} is larger than reading.file_mb ({limits.file_mb} MB).")
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{path} cannot be read.", str(error), "A URL list is UTF-8 text, an address a line."
        ) from error
    tasks = []
    for url in dict.fromkeys(line for line in lines if line and not line.startswith("#")):
        try:
            tasks.append(_Task(url, {"url": check(url)}))
        except UnreadableError as error:
            shown = ascii(url)[1:-1]
            tasks.append(_Task(shown, None, LeftOut(shown, error.reason, error.detail)))
    return tasks


def _nothing(name: str, left_out: Sequence[LeftOut]) -> UserError:
    """The error for a folder or list that gave no document at all."""
    suffixes = ", ".join(_readers())
    wrong = [item for item in left_out if item.reason != EMPTY]
    kind = "list" if Path(name).suffix.lower() == URLS else "folder"
    if wrong:
        shown = [str(item) for item in wrong[:5]] + ([f"and {len(wrong) - 5} more"] if len(wrong) > 5 else [])
        return UserError(
            f"Nothing in the {kind} {name!r} can be read.",
            "\n       ".join(shown),
            "Mend or convert them; docs/data.md says what each reason means.",
        )
    why = f"{len(left_out)} files end in {suffixes}; all of them are empty."
    return UserError(
        f"The {kind} {name!r} holds no text to read.",
        why if left_out else f"No file in it ends in {suffixes}." if kind == "folder" else "It names no address.",
        "Put the documents there as text or Markdown.",
    )
