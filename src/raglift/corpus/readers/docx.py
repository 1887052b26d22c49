"""Word documents (.docx): the text of the main part, its headings, lists and tables written as in Markdown.

Read from the zip archive as a stream: python-docx unpacks every part, pictures too, and passes over content controls.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from raglift.corpus.readers._reader import DAMAGED, TOO_DEEP, TOO_LARGE, Limits, Piece, Reader, UnreadableError

_WORD = (
    "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}",
    "{http://purl.oclc.org/ooxml/wordprocessingml/main}",  # the strict variant
)
_MAIN = "word/document.xml"
_DEPTH = 200
_MEMBERS = 10_000
_SKIPPED = frozenset({"del", "moveFrom", "instrText", "delText", "pPrChange", "rPrChange", "Fallback"})
"""What was deleted or moved away, field codes, former formatting, and the older copy of a drawing's text."""


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """Paragraphs and table rows, in order.

    Raises:
        UnreadableError: It is no such archive, a bomb, or its XML declares entities.
    """
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, _main(archive, limits) as file:
            bounded: Any = _Bounded(file, limits.file_bytes)
            events = ElementTree.iterparse(bounded, events=("start", "end"), forbid_dtd=True)
            yield from _Body().pieces(events)
    except DefusedXmlException as error:
        raise UnreadableError("XML with entities", "Word writes none: it may be an XML bomb.") from error
    except (zipfile.BadZipFile, ElementTree.ParseError, NotImplementedError, EOFError) as error:
        raise UnreadableError(DAMAGED, str(error)) from error


def _main(archive: zipfile.ZipFile, limits: Limits) -> Any:
    members = archive.infolist()
    if len(members) > _MEMBERS:
        raise UnreadableError(TOO_LARGE, f"The archive has more than {_MEMBERS} members.")
    for member in members:
        if member.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.filename):
            raise UnreadableError("archive with a path out of it", "A member's name leads out of the archive.")
    main = next((member for member in members if member.filename == _MAIN), None)
    if main is None:
        raise UnreadableError(DAMAGED, f"The archive has no {_MAIN}.")
    if main.flag_bits & 1:
        raise UnreadableError("encrypted", "Save it without a password.")
    if main.file_size > limits.file_bytes:
        raise UnreadableError(TOO_LARGE, f"{_MAIN} unpacks to more.")
    return archive.open(main)


class _Bounded:
    """A file that is not believed when it says how large it is."""

    def __init__(self, file: Any, left: int) -> None:
        self._file = file
        self._left = left

    def read(self, size: int = 65536) -> bytes:
        data: bytes = self._file.read(min(size, 65536) if size > 0 else 65536)
        self._left -= len(data)
        if self._left < 0:
            raise UnreadableError(TOO_LARGE, f"{_MAIN} unpacks to more.")
        return data

    def close(self) -> None:
        self._file.close()


class _Body:
    """The text of a stream of XML events. Elements are emptied as they end, so memory stays flat."""

    def __init__(self) -> None:
        self._depth = 0
        self._skipped = 0
        self._text: list[str] = []
        self._prefix = ""
        self._cells: list[list[str]] = []
        """Finished cells of the rows that are open, innermost last."""

    def pieces(self, events: Any) -> Iterator[Piece]:
        for event, element in events:
            name = element.tag.rpartition("}")[2]
            known = element.tag.startswith(_WORD) or name == "Fallback"
            if event == "start":
                self._depth += 1
                if self._depth > _DEPTH:
                    raise UnreadableError(TOO_DEEP, f"More than {_DEPTH} elements stand in each other.")
                if known and name in _SKIPPED:
                    self._skipped += 1
                elif known and name == "tr" and not self._skipped:
                    self._cells.append([])
                continue
            self._depth -= 1
            if known:
                if name in _SKIPPED:
                    self._skipped -= 1
                elif not self._skipped:
                    yield from self._end(name, element)
            if name not in ("pStyle", "numPr", "pPr"):
                element.clear()

    def _end(self, name: str, element: Any) -> Iterator[Piece]:
        if name == "t":
            self._text.append(element.text or "")
        elif name in ("tab", "br", "cr"):
            self._text.append("\t" if name == "tab" else "\n")
        elif name == "noBreakHyphen":
            self._text.append("-")
        elif name == "pPr":
            self._prefix = _prefix(element)
        elif name == "p":
            text, prefix = "".join(self._text).strip(), self._prefix
            self._text, self._prefix = [], ""
            if text and self._cells:
                self._cells[-1].append(" ".join(text.split()))
            elif text:
                yield Piece(prefix + text)
        elif name == "tc" and self._cells:
            self._cells[-1].append("\n")
        elif name == "tr" and self._cells:
            cells = [" ".join(cell.split("\0")).strip() for cell in "\0".join(self._cells.pop()).split("\n")[:-1]]
            row = " | ".join(cells)
            if row.strip(" |") and self._cells:
                self._cells[-1].append(row)
            elif row.strip(" |"):
                yield Piece(row)


def _prefix(properties: Any) -> str:
    """Markdown's mark for the paragraph's style. Style ids are English in every language's Word."""
    for space in _WORD:
        style = properties.find(f"{space}pStyle")
        if style is not None and (match := re.fullmatch(r"[Hh]eading([1-6])", style.get(f"{space}val", ""))):
            return "#" * int(match[1]) + " "
        if properties.find(f"{space}numPr") is not None:
            return "- "
    return ""


PLUGIN = Reader((".docx",), read, ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",))
