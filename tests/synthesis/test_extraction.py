from __future__ import annotations

import re
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from raglift.models.extraction import SpanConstraint

LINE_END = 0
TEXTS = st.lists(
    st.sampled_from(["the", "cat", "Cats", "sat", "don't", "on-top", "3.5", "the cat", "mat."]), min_size=1, max_size=12
).map(" ".join)


class FakeTokenizer:
    """Words with the space before them are cut into pieces of at most two characters; token 0 is the line end."""

    def __init__(self) -> None:
        self._pieces = ["\n"]
        self._ids = {"\n": LINE_END}

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        pieces = [run[i : i + 2] for run in re.findall(r" ?[^ ]+", text) for i in range(0, len(run), 2)]
        for piece in pieces:
            if piece not in self._ids:
                self._ids[piece] = len(self._pieces)
                self._pieces.append(piece)
        return {"input_ids": [self._ids[piece] for piece in pieces]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self._pieces[token] for token in ids]

    def decode(self, ids: list[int]) -> str:
        return "".join(self._pieces[token] for token in ids)


def constraint(tokenizer: FakeTokenizer, texts: list[str], avoid: list[set[str]], longest: int = 8) -> SpanConstraint:
    return SpanConstraint(cast("PreTrainedTokenizerBase", tokenizer), texts, avoid, LINE_END, longest)


@given(text=TEXTS, other=TEXTS, avoid=st.sets(st.sampled_from(["the", "cat", "sat", "don", "3"])), data=st.data())
def test_every_completion_is_a_run_of_the_text(text: str, other: str, avoid: set[str], data: st.DataObject) -> None:
    tokenizer = FakeTokenizer()
    longest = data.draw(st.integers(1, 10))
    spans = constraint(tokenizer, [other, text], [set(), avoid], longest)
    written: list[int] = []
    while not written or written[-1] != LINE_END:
        allowed = spans.allowed(1, written)
        assert allowed == sorted(set(allowed))
        assert allowed
        written.append(data.draw(st.sampled_from(allowed)))
        assert len(written) <= longest + 1
    assert spans.allowed(1, written) == [LINE_END]  # and nothing else after the end

    answer = tokenizer.decode(written[:-1])
    assert answer.startswith(" ")
    assert answer in f" {text}"
    if len(written) <= longest:
        assert f"{answer} " in f" {text} "  # whole words, unless the length ended it
    first = answer.split()[0]
    openings = {word for word in text.split() if not set(re.findall(r"\w+", word.lower())) & avoid}
    if openings:
        assert any(word.startswith(first) for word in openings)


def test_an_answer_begins_with_no_word_of_the_question() -> None:
    tokenizer = FakeTokenizer()
    spans = constraint(tokenizer, ["The cat sat", "the cat"], [{"the", "sat"}, {"the", "cat"}])
    assert [tokenizer.decode([token]) for token in spans.allowed(0, [])] == [" c"]
    assert sorted(tokenizer.decode([token]) for token in spans.allowed(1, [])) == [" c", " t"]  # nothing else is left


def test_words_are_not_cut() -> None:
    tokenizer = FakeTokenizer()
    spans = constraint(tokenizer, ["cats sat"], [set()])
    tokens = tokenizer(" cats sat")["input_ids"]
    assert [tokenizer.decode([token]) for token in tokens] == [" c", "at", "s", " s", "at"]
    assert spans.allowed(0, tokens[:1]) == [tokens[1]]
    assert spans.allowed(0, tokens[:2]) == [tokens[2]]
    assert spans.allowed(0, tokens[:3]) == sorted([LINE_END, tokens[3]])
    assert spans.allowed(0, tokens[:4]) == [tokens[4]]
    assert spans.allowed(0, tokens) == [LINE_END]
