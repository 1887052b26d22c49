"""From bytes to text that holds nothing that a person could not see."""

from __future__ import annotations

import re

from raglift.corpus.readers._reader import UnreadableError

_SAMPLE = 1 << 16
"""Bytes from which an encoding is guessed: more change nothing but the time it takes."""
_SHORT = 64
_BINARY = 0.02
"""Share of control characters above which a file is no text."""
_STREAM_SAFE = 30
"""Combining marks on one character; more have no use in any language (UAX #15, Stream-Safe Text Format)."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

_CONTROL = "\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f"
_CONTROLS = re.compile(f"[{_CONTROL}]")
_FLAG = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)")
"""The flags of England, Scotland and the like are spelt with tag characters, which are invisible elsewhere."""
_INVISIBLE = re.compile(
    f"[{_CONTROL}"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
"""Controls, soft hyphens, bidirectional controls, zero-width characters, fillers, tags, what is no character."""
_JOINERS = re.compile("(?<![\u0590-\u1dff\u2190-\u2bff\u2e80-\ufffd\U00010000-\U0010ffff])[\u200c\u200d]+")
"""Joiners shape Arabic, Indic scripts and emoji. After a letter of Latin, Greek or Cyrillic they only hide."""
_MORE_JOINERS = re.compile("(?<=[\u200c\u200d])[\u200c\u200d]+")
_SELECTORS = re.compile("(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
"""One variation selector picks a glyph; a row of them is a hidden message."""
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MORE_MARKS = re.compile(f"(?<=[{_MARKS}]{{{_STREAM_SAFE}}})[{_MARKS}]+")


guessed: str | None = None
"""The encoding that `decode` last guessed; who wants to tell people of guesses sets it to None before."""


def clean(text: str) -> str:
    """The text with plain line ends, and without what hides in it: none of it is visible, all of it is read by models.

    Text in any script keeps what its spelling needs: joiners, one variation selector, up to 30 combining marks.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.isprintable():
        return text
    if "\U0001f3f4" in text:
        parts = _FLAG.split(text)
        text = "".join(part if number % 2 else _INVISIBLE.sub("", part) for number, part in enumerate(parts))
    else:
        text = _INVISIBLE.sub("", text)
    before = None
    while before != text and not text.isascii():  # what one leaves may bring the next together
        before = text
        for pattern in (_JOINERS, _MORE_JOINERS, _SELECTORS, _MORE_MARKS):
            text = pattern.sub("", text)
    return text


def decode(data: bytes, declared: str | None = None) -> str:
    """The text of the bytes: by byte order mark, by what is declared, as UTF-8, else by what it looks like.

    Raises:
        UnreadableError: It is in no encoding, or it is no text at all.
    """
    text = _decoded(data, declared)
    head = text[:_SAMPLE]
    if len(_CONTROLS.findall(head)) > _BINARY * len(head):
        raise UnreadableError("not text", "It is full of control characters.")
    return text


def _decoded(data: bytes, declared: str | None) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strictly(data, encoding)
    unmarked = _without_mark(data)  # before UTF-8, which takes the zeros for characters
    for name in filter(None, (unmarked, declared, "utf-8")):
        try:
            return data.decode(name)
        except (UnicodeError, LookupError):
            continue  # a wrong declaration, or an older encoding
    if b"\x00" in data[:_SAMPLE]:
        raise UnreadableError("not text", "It holds zero bytes.")
    return _strictly(data, _guess(data))


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        where = f" Byte {error.start} cannot be read." if isinstance(error, UnicodeDecodeError) else ""
        raise UnreadableError("unknown encoding", f"It begins like {encoding}.{where}") from error


def _without_mark(data: bytes) -> str | None:
    """UTF-16 without its byte order mark: zeros at every other place, as no other encoding has."""
    head = data[:_SAMPLE]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.2 * len(head) and min(even, odd) < 0.02 * len(head):
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def _guess(data: bytes) -> str:
    global guessed
    from charset_normalizer import from_bytes

    # Windows-1252 and the other single-byte encodings decode almost anything: only what reads like a language counts.
    first = next(place for place, byte in enumerate(data) if byte > 127)
    begin = max(0, first - _SAMPLE // 2)
    sample = data[begin : begin + _SAMPLE]
    best = from_bytes(sample).best()
    if len(sample) < _SHORT and sum(byte > 127 for byte in sample) <= 0.3 * len(sample):
        # Too short for statistics: an accent or two between plain letters, not Chinese.
        encoding = "cp1252"
    elif best is None:
        raise UnreadableError("unknown encoding", "It is not UTF-8, and no other encoding makes words of it.")
    else:
        encoding = best.encoding
    guessed = encoding
    return encoding
