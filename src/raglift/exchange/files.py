"""Reads and writes question sets by the name of a format."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from raglift import plugins
from raglift.artifacts import disk_errors
from raglift.errors import UserError
from raglift.exchange.features import Feature, reduce
from raglift.exchange.sets import Passages, QuestionSet, as_passages, counted, numbered
from raglift.exchange.source import Source
from raglift.progress import Progress

KIND = "exchange format"


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

    def files(self, content: QuestionSet) -> Mapping[str, Iterable[str]]:
        """File name within the folder ("" where the format is one file) -> its text in pieces, one a question or
        passage where that is possible."""


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
    with display.stage(f"reading {Path(path).name}", unit="lines") as bar:
        source = Source(Path(path).expanduser(), format, bar.advance)
        content = layout.read(source)
    content = QuestionSet(content.documents, (), numbered(content.questions))
    if not content.questions:
        raise UserError(f"{path} holds no question.", f"It was read in the format {format!r}.")
    if source.unheld:
        said = ", ".join(f"{name} ({count:,} times)" for name, count in sorted(source.unheld.items()))
        display.warn(f"{Path(path).name} says what raglift has no place for, and it is left out: {said}.")
    # Also says where two questions or passages have one id.
    return as_passages(content)[0]


def write(
    content: QuestionSet,
    path: str | Path,
    format: str,
    passages: Passages = "auto",
    display: Progress | None = None,
) -> list[str]:
    """Write a question set for another project.

    Args:
        content: From `read`, from a run (`raglift.exchange.run.question_set`), or your own.
        path: A new file, or a new folder where the format is one.
        format: Its name.
        passages: Whether the passages of a run are its chunks or its documents; "auto" takes chunks unless a question
            is judged by document.
        display: Shows how far it is, and warns of what is lost.

    Returns:
        What the format cannot hold and is therefore not in the file, in words.

    Raises:
        UserError: There is no such format, nothing to write, or something at `path` already.
    """
    display = display or Progress()
    layout = load(format)
    kept, lost = as_passages(content, passages)
    kept, more = reduce(kept, layout.holds)
    if not kept.questions:
        raise UserError(
            "There is no question to write.",
            f"Of {len(content.questions)}, the format {format!r} can hold none." if content.questions else "",
            "Choose another format, split or origin.",
        )
    save(Path(path).expanduser(), layout.files(kept), len(kept.questions), display)
    for loss in (*lost, *more):
        display.warn(f"{format} cannot hold {loss}.")
    return [*lost, *more]


def save(path: Path, files: Mapping[str, Iterable[str]], questions: int, display: Progress) -> None:
    """Write a file, or a folder of files, whole or not at all.

    Raises:
        UserError: There is something at `path` already, or it cannot be written.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path.parent, "another place"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with display.stage(f"writing {counted(questions, 'question')} to {path.name}", unit="lines") as bar:
                for name, pieces in files.items():
                    target = temporary / name if name else temporary
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("w", encoding="utf-8", newline="") as file:
                        for piece in pieces:
                            file.write(piece)
                            bar.advance(piece.count("\n"))
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
            raise


def refuse_existing(path: Path) -> None:
    """Raise where writing to `path` would destroy something."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} is there already.", "Nothing is overwritten.", "Name another place, or remove it.")


def json_line(value: Any) -> str:
    """One line of a JSON Lines file."""
    return json.dumps(value, ensure_ascii=False) + "\n"
