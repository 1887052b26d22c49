"""What every prompt approach keeps to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.abstention import ABSTAIN, abstains
from raglift.prompting._base import Prompt

every_approach = pytest.mark.parametrize("name", plugins.names("prompt"))
LABELLED = st.lists(st.sampled_from(["Answer:", '"', '" Answer:', " ", "\n", "noon", "at"]), max_size=8).map("".join)
ANSWERS = (st.text() | LABELLED).map(str.strip)
QUOTES = (st.text() | LABELLED).map(str.strip).filter(lambda text: not re.search(r'"\s+Answer:', text))


def load(name: str) -> Prompt:
    prompt: Prompt = plugins.load("prompt", name)
    return prompt


@every_approach
@given(answer=ANSWERS, quote=QUOTES.filter(bool))
def test_what_was_to_be_written_is_read(name: str, answer: str, quote: str) -> None:
    prompt = load(name)
    target = prompt.target(answer, quote)
    assert prompt.read(target) == answer
    assert prompt.read(target.strip()) == answer  # as it is generated
    assert (quote in target) or not prompt.quote_tokens


@every_approach
@given(answer=st.text().map(str.strip).filter(lambda text: "Answer:" not in text))
def test_without_a_quote_the_answer_stands_alone(name: str, answer: str) -> None:
    prompt = load(name)
    assert prompt.target(answer, "") == answer
    assert prompt.read(answer) == answer


@every_approach
def test_abstaining_is_read_as_abstaining(name: str) -> None:
    prompt = load(name)
    assert prompt.name == name
    assert prompt.target(ABSTAIN, "") == ABSTAIN
    assert abstains(prompt.read(ABSTAIN))
    for passages in ([], ["A passage."]):
        assert ABSTAIN in prompt.messages("Who?", passages)[0]["content"]


@every_approach
@given(written=st.text() | LABELLED)
def test_reading_makes_nothing_up(name: str, written: str) -> None:
    assert load(name).read(written) in written
