"""Which piece of a chunk a question is to be about."""

from __future__ import annotations

import re
from functools import cache

from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer

_ENDS = (".", "!", "?", ")", '"', ";", "\u3002", "\uff01", "\uff1f")
_LONGEST = 300
_SEAM = re.compile(r"(?<=;)\s|(?<=[a-z\d)][.!?;])(?=[A-Z(])")
_SPACE = re.compile(r"\s+")
_HEADING = 60
"""Characters that a heading has at most: lines of wrapped prose are longer."""


@cache
def _splitter() -> object:
    return split_by_sentence_tokenizer()


def evidence_texts(chunk: str) -> list[str]:
    """Readable sentences of a chunk, each with the one before it where there is one, on one line.

    A sentence is readable if it is 40 to 300 characters long, mostly letters, and ends like a sentence: tables, code
    and grammar rules make poor questions. Longer ones are cut at semicolons and where text that was taken out of a
    PDF has lost the space between two sentences. A chunk of prose without any such sentence (it may be the middle of a
    long one) gives the beginning of its longest piece. Headings are left out: without a full stop they would run into
    the sentence below.
    """
    split = _splitter()
    assert callable(split)
    found, pieces = [], []
    for section in _sections(chunk):
        own = [piece for sentence in split(section) for piece in _pieces(_SPACE.sub(" ", sentence).strip())]
        for before, piece in zip(["", *own], own, strict=False):
            if _readable(piece):
                found.append(f"{before} {piece}" if _readable(before) and len(before) < 200 else piece)
        pieces += own
    if not found:
        longest = max((piece for piece in pieces if _is_prose(piece)), key=len, default="")
        found = [longest if len(longest) <= _LONGEST else longest[:_LONGEST].rpartition(" ")[0]] if longest else []
    return [piece for piece in found if piece]


def sentences(text: str) -> list[str]:
    """Every sentence of a text as it stands there, line ends and all; headings are left out, long ones are cut."""
    split = _splitter()
    assert callable(split)
    found = [sentence.strip() for section in _sections(text) for sentence in split(section)]
    return [piece for sentence in found for piece in _pieces(sentence) if piece]


def _sections(chunk: str) -> list[str]:
    """What stands between the headings: short lines that open a paragraph, end like no sentence, and have no line below
    that goes on with them."""
    lines = chunk.splitlines()
    sections: list[list[str]] = [[]]
    opens = True
    for line, below in zip(lines, [*lines[1:], ""], strict=False):
        text, follows = line.strip(), below.strip()
        short = opens and 0 < len(text) < _HEADING and not text.endswith((*_ENDS, ":", ",", "-"))
        heading = short and not follows[:1].islower()
        if heading:
            sections.append([])
        else:
            sections[-1].append(line)
        opens = heading or not text or text.endswith(_ENDS)
    return ["\n".join(section) for section in sections]


def _pieces(sentence: str) -> list[str]:
    if len(sentence) <= _LONGEST:
        return [sentence]
    return [piece.strip() for piece in _SEAM.split(sentence)]


def _readable(sentence: str) -> bool:
    return len(sentence) <= _LONGEST and sentence.endswith(_ENDS) and _is_prose(sentence)


def _is_prose(text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return len(text) >= 40 and letters >= 0.75 * len(text)
