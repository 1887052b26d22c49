"""Reads and writes question sets by the name of a format."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from raglift import plugins
from raglift.artifacts import disk_errors
from raglift.errors import UserError
from raglift.exchange.features import ERASERS, Feature, reduce
from raglift.exchange.sets import Passages, QuestionSet, as_passages, numbered
from raglift.exchange.source import Source
from raglift.progress import Progress

KIND = "exchange format"
T = TypeVar("T")


class Pieces(Protocol):
    """The text of a file, in as many pieces as there are to count."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class JsonLines(Generic[T]):
    """A line for each record, made when it is written."""

    def __init__(self, records: Sequence[T], row: Callable[[T], Any]) -> None:
        self._records = records
        self._row = row

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return (json_text(self._row(record)) + "\n" for record in self._records)


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in a written file, and in words what of the set does not."""

    questions: int
    passages: int
    lost: tuple[str, ...]


class Format(Protocol):
    """A file layout; one module under `formats/`.

    Attributes:
        name: The module's name.
        about: What writes or reads such files, in a line.
        ending: `.json`, `.jsonl`, or "" for a folder of files.
        holds: What such a file holds beside the questions' texts. Everything else is taken out of a set, with a
            warning, before `files` sees it.
    """

    name: str
    about: str
    ending: str
    holds: Collection[Feature]

    def read(self, source: Source) -> QuestionSet:
        """What the file says, as passages (documents whose source is the passage's id) and questions.

        A question without an id has "". Reading what `files` made of a set gives that set again.
        """

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """File name within the folder ("" where the format is one file) -> its text."""


def load(name: str) -> Format:
    """The format.

    Raises:
        UserError: There is none of this name.
    """
    found: Format = plugins.load(KIND, name)
    return found


def read(path: str | Path, format: str, display: Progress | None = None) -> QuestionSet:
    """The question set in a file or folder of another project.

    Args:
        path: The file, or the folder where the format is one.
        format: Its name; `raglift formats` lists them.
        display: Shows how far it is, and warns of what raglift's records cannot hold.

    Returns:
        Documents, one a passage, and questions whose evidence names them.

    Raises:
        UserError: There is no such format or file, or the file is not in the format; says on which line.

    Example:
        >>> content = raglift.exchange.read("train-v2.0.json", "squad")
    """
    display = display or Progress()
    layout = load(format)
    with display.stage(f"reading {Path(path).name}", unit="records") as bar:
        source = Source(Path(path).expanduser(), format, bar)
        content = layout.read(source)
    content = QuestionSet(content.documents, (), numbered(content.questions))
    if not content.questions:
        raise UserError(f"{path} holds no question.", f"It was read in the format {format!r}.")
    warn_of_unheld(source, display)
    # Also says where two questions or passages have one id.
    return as_passages(content)[0]


def warn_of_unheld(source: Source, display: Progress) -> None:
    """Say what of a file was passed over; nothing where all of it was read."""
    if source.unheld:
        said = ", ".join(f"{name} ({count:,} times)" for name, count in sorted(source.unheld.items()))
        display.warn(f"{source.path.name} says what raglift has no place for, and it is left out: {said}.")


def write(
    content: QuestionSet,
    path: str | Path,
    format: str,
    passages: Passages = "auto",
    display: Progress | None = None,
) -> Written:
    """Write a question set for another project.

    Args:
        content: From `read`, from a run (`raglift.exchange.run.question_set`), or your own.
        path: A new file, or a new folder where the format is one.
        format: Its name.
        passages: Whether the passages of a run are its chunks or its documents; "auto" takes chunks unless a question
            is judged by document.
        display: Shows how far it is, and warns of what is lost.

    Returns:
        How much was written, and in `lost` what the format cannot hold and is therefore not in the file.

    Raises:
        UserError: There is no such format, nothing to write, or something at `path` already.
    """
    display = display or Progress()
    layout = load(format)
    kept, lost = as_passages(content, passages)
    with display.stage(f"fitting the questions to {format}", len(ERASERS), "features") as bar:
        kept, more = reduce(kept, layout.holds, bar.advance)
    if not kept.questions:
        raise UserError(
            "There is no question to write.",
            f"Of {len(content.questions)}, the format {format!r} can hold none." if content.questions else "",
            "Choose another format, split or origin.",
        )
    save(Path(path).expanduser(), layout.files(kept), display)
    for loss in (*lost, *more):
        display.warn(f"{format} cannot hold {loss}.")
    return Written(len(kept.questions), len(kept.documents), (*lost, *more))


def save(path: Path, files: Mapping[str, Pieces], display: Progress) -> None:
    """Write a file, or a folder of files, whole or not at all.

    Raises:
        UserError: There is something at `path` already, or it cannot be written.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path.parent, "another place"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            total = sum(map(len, files.values()))
            with display.stage(f"writing {path.name}", total, "pieces") as bar:
                for name, pieces in files.items():
                    target = temporary / name if name else temporary
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("w", encoding="utf-8", newline="") as file:
                        for piece in pieces:
                            file.write(piece)
                            bar.advance()
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
            raise


def refuse_existing(path: Path) -> None:
    """Raise where writing to `path` would destroy something."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} is there already.", "Nothing is overwritten.", "Name another place, or remove it.")


def json_text(value: Any) -> str:
    """JSON on one line, in characters rather than escapes."""
    return json.dumps(value, ensure_ascii=False)
