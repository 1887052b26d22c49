"""Which piece of a chunk a question is to be about."""

from __future__ import annotations

import re
from functools import cache

from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer

_ENDS = '.!?)"\u3002\uff01\uff1f'
_SPACE = re.compile(r"\s+")


@cache
def _splitter() -> object:
    return split_by_sentence_tokenizer()


def evidence_texts(chunk: str) -> list[str]:
    """Readable sentences of a chunk, each with the one before it where there is one, on one line.

    A sentence is readable if it is 40 to 300 characters long, mostly letters, and ends like a sentence: tables, code
    and grammar rules make poor questions.
    """
    split = _splitter()
    assert callable(split)
    sentences = [_SPACE.sub(" ", sentence).strip() for sentence in split(chunk)]
    found = []
    for before, sentence in zip(["", *sentences], sentences, strict=False):
        if _readable(sentence):
            found.append(f"{before} {sentence}" if _readable(before) and len(before) < 200 else sentence)
    return found


def _readable(sentence: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return 40 <= len(sentence) <= 300 and letters >= 0.75 * len(sentence) and sentence[-1] in _ENDS
