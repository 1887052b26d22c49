"""Which sample of a question is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.journal import Journal
from raglift.models.generation import Generator, Likelihood, Sample
from raglift.synthesis.selection import informative
from raglift.synthesis.writer import Assignment, Writing, write
from tests import tasks
from tests.synthesis.test_writer import FakeGenerator

GENERAL = Sample(" What is the name of it?", -4.0)
SPECIAL = Sample(" Which gate of the lock opens first?", -9.0)
ALONE = {GENERAL.text: -5.0, SPECIAL.text: -30.0}


class Scorer:
    """Knows how likely texts are by themselves."""

    def __init__(self, alone: dict[str, float]) -> None:
        self.alone = alone
        self.asked: list[tuple[str, str]] = []

    def score(self, prompts: Sequence[str], continuations: Sequence[str], *, prefix: str = "") -> list[Likelihood]:
        self.asked += [(prompt, prefix) for prompt in prompts]
        return [Likelihood(self.alone[text] / 4, 4) for text in continuations]


def chosen(samples: Sequence[Sequence[Sample]], alone: dict[str, float], unfit: Sequence[str] = ()) -> list[str]:
    scorer = cast("Generator", Scorer(alone))
    return informative(scorer, samples, "empty", "prefix", lambda row, text: text not in unfit)


def test_what_the_text_makes_likelier_wins_over_what_is_always_likely() -> None:
    assert chosen([[GENERAL, SPECIAL]], ALONE) == [SPECIAL.text]


def test_what_is_not_fit_is_not_kept_unless_nothing_is() -> None:
    assert chosen([[GENERAL, SPECIAL]], ALONE, [SPECIAL.text]) == [GENERAL.text]
    assert chosen([[SPECIAL, GENERAL]], ALONE, [SPECIAL.text, GENERAL.text]) == [GENERAL.text]


def test_each_text_is_scored_once_without_any_text() -> None:
    scorer = Scorer(ALONE)
    informative(cast("Generator", scorer), [[GENERAL, GENERAL], [GENERAL, SPECIAL]], "empty", "prefix", lambda *_: True)
    assert scorer.asked == [("empty", "prefix")] * 2


@given(st.lists(st.tuples(st.floats(-50, -1), st.floats(-50, -1)), min_size=1, max_size=6), st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_the_samples(scores: list[tuple[float, float]], rng: object) -> None:
    samples = [Sample(f"question {number}", with_text) for number, (with_text, _) in enumerate(scores)]
    alone = {sample.text: without for sample, (_, without) in zip(samples, scores, strict=True)}
    (best,) = chosen([samples], alone)
    assert chosen([samples[::-1]], alone) == [best]
    gain = {sample.text: sample.log_probability - alone[sample.text] for sample in samples}
    assert gain[best] >= max(gain.values()) - 1e-9


class Sampler(FakeGenerator, Scorer):
    """Draws a general question and one about the text, whose own likelihood gives it away."""

    def __init__(self) -> None:
        FakeGenerator.__init__(self)
        self.asked = []

    def generate_samples(
        self, prompts: Sequence[str], sampling: object, samples: int, *, prefix: str = ""
    ) -> list[list[Sample]]:
        assert samples == 2
        return [[GENERAL, Sample(f" Which keeper writes book {len(prompt)}?", -20.0)] for prompt in prompts]

    def score(self, prompts: Sequence[str], continuations: Sequence[str], *, prefix: str = "") -> list[Likelihood]:
        assert all("..." in prompt for prompt in prompts)
        return [Likelihood(-5.0 if text == GENERAL.text else -40.0, 1) for text in continuations]


def test_the_writer_keeps_the_sample_that_its_text_makes_likelier(tmp_path: Path) -> None:
    plan = [Assignment("c", "The keeper of the tower writes each passing ship into a book.", "factoid")]
    journal = Journal(tmp_path / "written.jsonl")
    writing = Writing(8, 0.7, 0, samples=2)
    load = lambda: cast("Generator", Sampler())  # noqa: E731
    (written,) = write(plan, tasks.asking(), writing, load, journal, lambda _: None)
    assert written.question.startswith("Which keeper writes book")
    seen = []

    def fits(kind: object, parts: Sequence[tuple[str, str]], question: str) -> bool:
        seen.append((parts, question))
        return "keeper" not in question

    other = Journal(tmp_path / "other.jsonl")
    (written,) = write(plan, tasks.asking(), replace(writing, fits=fits), load, other, lambda _: None)
    assert written.question == "What is the name of it?"
    assert seen[0] == (plan[0].parts, "What is the name of it?")


def test_samples_need_a_temperature() -> None:
    data = {"documents": "python-reference"}
    found = {
        (samples, temperature): config_from_dict({"data": data, "synthesis": given}).synthesis
        for samples in (None, 1, 3)
        for temperature in (None, 0.0, 0.5)
        if (samples, temperature) != (3, 0.0)
        for given in [{"samples": samples, "temperature": temperature}]
    }
    assert {how: (made.samples_or_default, made.temperature_or_default) for how, made in found.items()} == {
        (None, None): (4, 0.7),
        (None, 0.0): (1, 0.0),  # as every configuration said before there were samples
        (None, 0.5): (4, 0.5),
        (1, None): (1, 0.0),
        (1, 0.0): (1, 0.0),
        (1, 0.5): (1, 0.5),
        (3, None): (3, 0.7),
        (3, 0.5): (3, 0.5),
    }
    with pytest.raises(UserError, match="temperature above 0"):
        config_from_dict({"data": data, "synthesis": {"samples": 3, "temperature": 0.0}})
