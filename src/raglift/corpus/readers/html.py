"""Web pages: their visible text, with headings, lists and table rows written as in Markdown."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from raglift.corpus.readers._reader import EMPTY, TOO_DEEP, Limits, Piece, Reader, UnreadableError
from raglift.corpus.readers._text import decode

_CHARSET = re.compile(rb"<(?:meta|\?xml)\b[^>]{0,300}?(?:charset|encoding)\s*=\s*[\x22\x27]?\s*([\w.:-]{1,40})", re.I)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*>")
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0(?:\.0+)?(?![.\d])"
)
_SKIPPED_NAMES = (
    "script style template noscript head nav svg math iframe object canvas audio video select button textarea "
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS_NAMES = (
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure "
    "footer form header hgroup hr html legend li main menu ol p pre section summary table tbody tfoot thead tr ul "
)

_SKIPPED = frozenset(_SKIPPED_NAMES.split())
_BLOCKS = frozenset(_BLOCKS_NAMES.split())


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """The page's text, a piece a block. Scripts, navigation and what is hidden from people are left out.

    Raises:
        UnreadableError: It nests too deeply for the parser, or holds no element.
    """
    from lxml import etree

    declared = _CHARSET.search(data[:4096])
    text = decode(data, encoding or (declared[1].decode("ascii") if declared else None))
    # lxml is given UTF-8 and told so: what the page declares has been looked at.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    root = None
    with contextlib.suppress(etree.XMLSyntaxError):  # the log says what there is to say
        root = etree.fromstring(_DECLARATION.sub("", text).encode("utf-8", "replace"), parser)
    if any("depth" in entry.message for entry in parser.error_log):
        raise UnreadableError(TOO_DEEP, "More than 250 elements stand in each other.")  # libxml2 leaves out the rest
    if root is None:
        raise UnreadableError(EMPTY, "There is no element in it.")
    root = _main(root)
    yield from _Page().pieces(etree.iterwalk(root, events=("start", "end")))


def _main(root: Any) -> Any:
    """The page's `main` element, what it is about by definition; the page itself if it shows none or several."""
    mains = root.findall(".//main")
    if len(mains) != 1 or not "".join(mains[0].itertext()).strip():
        return root
    if any(map(_is_hidden, (mains[0], *mains[0].iterancestors()))):
        return root
    mains[0].tail = None  # stands behind it
    return mains[0]


class _Page:
    """The text of a stream of elements, block by block."""

    def __init__(self) -> None:
        self._skipped = 0
        self._pre = 0
        self._text: list[str] = []
        self._prefix = ""

    def pieces(self, events: Any) -> Iterator[Piece]:
        for event, element in events:
            name = element.tag
            if event == "start":
                if self._skipped or name in _SKIPPED or _is_hidden(element):
                    self._skipped += 1
                    continue
                yield from self._start(name)
                self._text.append(element.text or "")
            else:
                if self._skipped:
                    self._skipped -= 1
                else:
                    yield from self._end(name)
                if not self._skipped:
                    self._text.append(element.tail or "")
        yield from self._block()

    def _start(self, name: str) -> Iterator[Piece]:
        if name in _BLOCKS or name in _HEADINGS:
            yield from self._block()
            self._prefix = _HEADINGS.get(name) or ("- " if name == "li" else self._prefix if name == "p" else "")
            self._pre += name == "pre"
        elif name == "br":
            self._text.append("\n" if self._pre else "\r")

    def _end(self, name: str) -> Iterator[Piece]:
        if name in ("td", "th"):
            self._text.append(" | ")
        elif name in _BLOCKS or name in _HEADINGS:
            yield from self._block()
            self._pre -= name == "pre"

    def _block(self) -> Iterator[Piece]:
        text = "".join(self._text)
        self._text = []
        if not self._pre:  # white space runs together, except for the line breaks that the page asks for
            text = "\n".join(" ".join(line.split()) for line in text.split("\r"))
        text = text.strip("\r\n") if self._pre else text.strip(" |\n")
        if text.strip():
            yield Piece(self._prefix + text)
            self._prefix = ""


def _is_hidden(element: Any) -> bool:
    """Text that no visitor sees but that a model would read: a place for planted instructions."""
    attributes = element.attrib
    return bool(attributes) and (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or _HIDDEN_STYLE.search(attributes.get("style", "").lower()) is not None
    )


PLUGIN = Reader((".html", ".htm", ".xhtml"), read, ("text/html", "application/xhtml+xml"))
