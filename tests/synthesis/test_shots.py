"""People's examples become the worked examples of the question kinds that they fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.errors import UserError
from raglift.synthesis.asking import asking_of
from raglift.synthesis.example_sources import given_examples
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.shots import FEWEST, fits, kinds_for, with_examples
from tests.synthesis.test_human_examples import BUILT_IN, row, sentence, write_rows

STYLES = [plugins.load("prompt style", name) for name in plugins.names("prompt style")]


@st.composite
def human_examples(draw: st.DrawFn) -> list[HumanExample]:
    made = []
    for number in range(draw(st.integers(0, 24))):
        words = [f"w{number}x{place}" for place in range(24)]
        count = draw(st.integers(0, 20))
        standing = draw(st.booleans())
        asked = draw(st.sampled_from(["Which part of it", "Why", "how is that done", "How many of them"]))
        mark = draw(st.sampled_from(["?", ""]))
        longer = " and so on" * draw(st.sampled_from([0, 0, 0, 9]))
        made.append(
            HumanExample(
                " ".join(words) + ".",
                f"{asked} {number}{longer}{mark}",
                " ".join(words[:count]) if standing else "",
                count,
                draw(st.sampled_from([(), ("d0",), ("d1",), ("d2", "d3")])),
            )
        )
    return made


@given(human_examples(), st.integers(0, 5))
def test_chosen_shots_come_from_the_examples_and_fit(items: list[HumanExample], seed: int) -> None:
    kinds, counts = kinds_for(BUILT_IN, HumanExamples(tuple(items)), seed)
    assert kinds_for(BUILT_IN, HumanExamples(tuple(items[::-1])), seed)[0] == kinds  # however they are ordered
    for name, kind in kinds.items():
        fitting = [item for item in items if fits(BUILT_IN[name], item)]
        if len(fitting) < FEWEST:
            assert kind == BUILT_IN[name]
            assert (
                not items
                or (f"{name}: human examples that fit, too few to replace the built-in ones", len(fitting)) in counts
            )
            continue
        assert (f"{name}: worked examples from people", len(kind.shots)) in counts
        assert len(kind.shots) == min(5, len(fitting))
        given_ones = {(item.text, item.question): item for item in fitting}
        for shot in kind.shots:
            example = given_ones[shot.text, shot.asked]
            assert shot.answer == (example.answer if kind.answer_words else "")
            assert shot.asked.endswith("?") == kind.question
            assert len(shot.answer.split()) <= kind.answer_words
        if kind.answer_words:
            assert all(shot.answer and shot.answer in shot.text for shot in kind.answered)
            standing = sum(bool(item.answer) for item in fitting)
            assert (kind.answered == BUILT_IN[name].shots) == (standing < FEWEST)
            assert len(kind.answered) >= FEWEST
            for style in STYLES:
                if style.shows_examples:
                    shown = style.answer_prefix(kind)
                    assert shown.count("\nAnswer: ") == len(kind.answered)
                    assert "Answer: \n" not in shown + "\n"
    assert (kinds == BUILT_IN) == all(sum(fits(kind, i) for i in items) < FEWEST for kind in BUILT_IN.values())


def test_a_style_without_examples_shows_none_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    name = write_rows(tmp_path / "rows.jsonl", [row(number) for number in range(64)])
    for style in ("descriptive", "few_shot"):
        settings = SynthesisConfig(examples=name, style=style, tune_writer=True)
        examples = given_examples(settings, elsewhere=False)
        asking, counts = with_examples(asking_of(settings), examples, 0)
        assert (asking.kinds == BUILT_IN) == (style == "descriptive")
        assert ("human examples", 64) in counts
        assert any("worked examples from people" in reason for reason, _ in counts) == (style == "few_shot")
    for source in (name, "dev"):
        with pytest.raises(UserError, match="shows the writer no examples") as caught:
            given_examples(SynthesisConfig(examples=source, style="descriptive"), elsewhere=False)
        assert "few_shot or walkthrough" in caught.value.fix


def test_shots_are_of_different_documents_and_ask_differently() -> None:
    items = [
        HumanExample(sentence(n), f"Which book is in tower {n}?", "book", 1, ("d1",) if n < 20 else (f"d{n}",))
        for n in range(23)
    ]
    items += [HumanExample(sentence(n), "Which Tower is it?", "tower", 1, (f"d{n}",)) for n in range(30, 40)]
    for seed in range(10):
        shots = kinds_for({"factoid": BUILT_IN["factoid"]}, HumanExamples(tuple(items)), seed)[0]["factoid"].shots
        texts = {shot.text for shot in shots}
        assert sum(shot.asked == "Which Tower is it?" for shot in shots) == 1
        assert sum(sentence(n) in texts for n in range(20)) <= 1


@pytest.mark.parametrize(
    ("asked", "answer", "wanted"),
    [
        ("Why is it shut?", "fog", {"factoid", "explanation"}),
        ("How many are there?", "nine", {"factoid"}),
        ("How is it done?", "", {"explanation"}),
        ("Wer war das?", "", {"factoid"}),
        ("Warum ist es zu?", "weil der Nebel dicht ist", {"factoid", "explanation"}),
        ("Was passiert?", "one two three four five six seven eight nine", {"explanation"}),
        ("What is it?", " ".join("abcdefghijklmnopq"), set()),
        ("tower fog", "", {"keyword"}),
        ("tower " * 21, "", set()),
    ],
)
def test_what_fits_a_kind(asked: str, answer: str, wanted: set[str]) -> None:
    example = HumanExample("A text.", asked, answer, len(answer.split()))
    assert {name for name, kind in BUILT_IN.items() if fits(kind, example)} == wanted
