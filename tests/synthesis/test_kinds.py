from __future__ import annotations

import pytest

from raglift import plugins
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.words import words

KINDS: list[QuestionKind] = [plugins.load("question kind", name) for name in plugins.names("question kind")]


def test_names_are_those_of_the_files() -> None:
    assert [kind.name for kind in KINDS] == plugins.names("question kind")
    assert {"factoid", "explanation", "keyword"} <= {kind.name for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_prompts_hold_together(kind: QuestionKind) -> None:
    for prefix in (kind.prefix, kind.answer_prefix) if kind.answer_words else (kind.prefix,):
        assert prefix == prefix.rstrip()
    assert kind.prefix.startswith(kind.task + "\n\nText: ")
    assert kind.prefix.count(f"\n{kind.label}: ") == len(kind.shots) >= 3
    prompt = kind.prompt("A text.")
    assert prompt == f"\n\nText: A text.\n{kind.label}:"
    # A continued prompt reads like one more worked example.
    shot = kind.shots[-1]
    assert kind.prefix.endswith(f"{kind.prompt(shot.text)} {shot.asked}")
    assert kind.answer_prompt("T.", "Q?") == "\n\nText: T.\nQuestion: Q?\nAnswer:"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_worked_examples_are_what_they_ask_for(kind: QuestionKind) -> None:
    for shot in kind.shots:
        assert shot.asked.endswith("?") == kind.question
        assert "\n" not in shot.text + shot.asked + shot.answer
        if kind.answer_words:
            assert shot.answer in shot.text
            assert 0 < len(shot.answer.split()) <= kind.answer_words
            assert f"Question: {shot.asked}\nAnswer: {shot.answer}" in kind.answer_prefix
            assert not set(words(shot.answer)) <= set(words(shot.asked))
        else:
            assert shot.answer == ""
