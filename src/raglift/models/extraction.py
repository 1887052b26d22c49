"""Answers that are copied from the evidence: generation that can only continue a run of its tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from transformers import PreTrainedTokenizerBase

_SHORTEST_END = 4
"""Letters of the shortest plain word that an answer may end with."""


class SpanConstraint:
    """Allows only runs of the text's own tokens, ended by a line end.

    A small model that may write freely invents; held to the text it only has to say where the answer begins and
    ends, which it does far better.

    Args:
        tokenizer: The writer's tokenizer.
        texts: The evidence of each row of the batch.
        avoid: Words (lower case) of each row with which an answer does not begin: those of its question.
        line_end: Token id of the line end that closes an answer.
        longest: Longest answer in tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        texts: Sequence[str],
        avoid: Sequence[Set[str]],
        line_end: int,
        longest: int,
    ) -> None:
        self._rows = [tokenizer(" " + text, add_special_tokens=False)["input_ids"] for text in texts]
        self._opens_word = [_openings(tokenizer, row) for row in self._rows]
        self._begin = [
            _beginnings(tokenizer, row, opens, words)
            for row, opens, words in zip(self._rows, self._opens_word, avoid, strict=True)
        ]
        self._tokenizer = tokenizer
        self._line_end = line_end
        self._longest = longest

    def allowed(self, row: int, written: list[int]) -> list[int]:
        """The tokens that may follow `written` in a row's answer."""
        tokens, opens = self._rows[row], self._opens_word[row]
        if not written:
            return self._begin[row]
        if written[-1] == self._line_end or len(written) >= self._longest:
            return [self._line_end]
        size = len(written)
        ends = [at + size for at in range(len(tokens) - size + 1) if tokens[at : at + size] == written]
        following = {tokens[end] for end in ends if end < len(tokens)}
        if any(end == len(tokens) or opens[end] for end in ends) and self._says_something(written):
            following.add(self._line_end)
        return sorted(following) or [self._line_end]

    def _says_something(self, written: list[int]) -> bool:
        """Whether an answer may end here: not on a short plain word, so that it is no bare article or preposition."""
        last = (str(self._tokenizer.decode(written)).split() or [""])[-1]
        return len(last) >= _SHORTEST_END or not last.isalpha() or not last.isascii()


def _openings(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> list[bool]:
    """Whether each token opens a word.

    Tokenizers mark that by a leading space in the token itself, written as such, as U+0120 (byte-level BPE) or as
    U+2581 (SentencePiece); decoding one token alone loses it in some.
    """
    pieces = tokenizer.convert_ids_to_tokens(tokens)
    opens = [str(piece)[:1] in (" ", "\u0120", "\u2581") for piece in pieces]
    return opens if any(opens) else [True] * len(tokens)


def _beginnings(
    tokenizer: PreTrainedTokenizerBase, tokens: list[int], opens: Sequence[bool], avoid: Set[str]
) -> list[int]:
    """Tokens that open a word which is not to be avoided; all word openings where nothing else is left."""
    starts = [at for at, word in enumerate(opens) if word]
    words = [str(tokenizer.decode(tokens[at:end])) for at, end in zip(starts, [*starts[1:], len(tokens)], strict=True)]
    fresh = [at for at, word in zip(starts, words, strict=True) if not set(re.findall(r"\w+", word.lower())) & avoid]
    return sorted({tokens[at] for at in fresh or starts})
