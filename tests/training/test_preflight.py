"""An example that would not be learned to its end stops the run before it trains."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.abstention import ABSTAIN
from raglift.artifacts import WORK
from raglift.config import LLMConfig
from raglift.errors import UserError
from raglift.models.find import find_model
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm
from raglift.progress import Progress
from raglift.training import llm_stage
from raglift.training.examples import Example, encode
from raglift.training.llm_stage import DevScore
from raglift.training.objectives.answer_only import IGNORED
from raglift.training.preflight import LEARNED, check, check_room, check_tokenizer, preview
from tests import tasks
from tests.tiny import chat_tokenizer

TOKENIZER = chat_tokenizer()
EXAMPLES = [Example(f"Where is thing {n}?", f"in drawer {n}") for n in range(9)]
ROWS = [encode(example, TOKENIZER) for example in EXAMPLES]


def test_whole_examples_pass_up_to_the_window() -> None:
    longest = max(len(ids) for ids, _ in ROWS)
    check(EXAMPLES, ROWS, TOKENIZER, longest)
    with pytest.raises(UserError, match="of 9 training examples") as caught:
        check(EXAMPLES, ROWS, TOKENIZER, longest - 1)
    assert "would be cut" in caught.value.why


@given(st.integers(0, 8), st.integers(1, 30), st.booleans())
def test_a_cut_answer_is_refused_by_its_number(at: int, cut: int, ended: bool) -> None:
    ids, labels = ROWS[at]
    learned = sum(label != IGNORED for label in labels)
    cut = min(cut, learned - 1)
    end = ids[-1:] * ended
    broken = (ids[: -cut - 1] + end, labels[: -cut - 1] + end)
    rows = [*ROWS[:at], broken, *ROWS[at + 1 :]]
    with pytest.raises(UserError, match="1 of 9") as caught:
        check(EXAMPLES, rows, TOKENIZER, 1000)
    assert f"Example {at + 1}: " in caught.value.why
    assert ("are learned" if ended else "end-of-sequence") in caught.value.why


def test_an_end_without_loss_and_an_empty_answer_are_refused() -> None:
    ids, labels = ROWS[0]
    with pytest.raises(UserError) as caught:  # as where the padding token is the end token, and padding is masked
        check(EXAMPLES[:1], [(ids, [*labels[:-1], IGNORED])], TOKENIZER, 1000)
    assert "end-of-sequence token after its answer carries no loss" in caught.value.why
    blank = Example("Where?", "  ")
    with pytest.raises(UserError) as caught:
        check([blank], [encode(blank, TOKENIZER)], TOKENIZER, 1000)
    assert "no answer" in caught.value.why


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = chat_tokenizer()
    check_tokenizer(tokenizer, "tiny")
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="tiny has no end-of-sequence token"):
        check_tokenizer(tokenizer, "tiny")


@pytest.mark.parametrize("prompt", plugins.names("prompt"))
def test_what_may_be_written_leaves_room_for_the_prompt(prompt: str) -> None:
    quote = plugins.load("prompt", prompt).quote_tokens
    assert LLMConfig(prompt=prompt, max_new_tokens=20).new_tokens == 20 + quote
    check_room(20 + quote, 21 + quote, "tiny")
    with pytest.raises(UserError, match="tiny may write leaves no room") as caught:
        check_room(20 + quote, 20 + quote, "tiny")
    assert "llm.max_new_tokens" in caught.value.fix


@pytest.mark.parametrize("prompt", plugins.names("prompt"))
def test_the_development_score_reads_the_answer(prompt: str, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    approach = plugins.load("prompt", prompt)
    told = [approach.target("the north tower", "It stood in the north tower."), approach.target(ABSTAIN, "")]
    room: list[int] = []

    def write(self: Generator, prompts: list[str], sampling: Sampling, **_: object) -> list[str]:
        room.append(sampling.max_new_tokens)
        return told

    monkeypatch.setattr(Generator, "generate", write)
    dev = [
        {"prompt": "a", "answers": ["the north tower"], "answerable": True},
        {"prompt": "b", "answers": [], "answerable": False},
    ]
    score = DevScore(dev, TOKENIZER, 9, Progress(quiet=True), approach.read)
    assert score(load_causal_lm(tiny_llm, tasks.RUNTIME)) == 1.25  # all of both parts
    assert room == [9]


@pytest.mark.parametrize(("count", "chosen"), [(0, []), (1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 4, 8])])
def test_a_preview_marks_what_is_learned(count: int, chosen: list[int]) -> None:
    text = preview(ROWS[:count], TOKENIZER)
    assert text.count("Training example") == len(chosen)
    for at in chosen:
        assert f"{EXAMPLES[at].prompt}{LEARNED[0]}{EXAMPLES[at].answer}<|im_end|>{LEARNED[1]}" in text


def test_a_long_example_is_shown_by_its_ends() -> None:
    text = preview([encode(Example("begin " + "x " * 500, "the end"), TOKENIZER)], TOKENIZER, 40)
    assert "begin x x" in text
    assert text.endswith(f"{LEARNED[0]}the end<|im_end|>{LEARNED[1]}")
    assert len(text) < 300


def test_the_stage_shows_examples_and_keeps_them(tiny_llm: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / WORK).mkdir(parents=True)
    rows = tasks.examples(tasks.chat_renderer(tiny_llm))
    dev = [{"prompt": rows[0].prompt, "answers": [rows[0].answer], "answerable": True}]
    shown = io.StringIO()
    job = tasks.job(tmp_path / "out", display=Progress(stream=shown))
    settings = LLMConfig(epochs=0.5, max_new_tokens=2, evaluations=1)
    llm_stage.build(settings, rows, dev, find_model(str(tiny_llm)), tasks.RUNTIME, job)
    text = (tmp_path / "out" / "preview.txt").read_text("utf-8")
    for at in (0, 3, 7):
        assert f"{rows[at].prompt}{LEARNED[0]}{rows[at].answer}<|im_end|>{LEARNED[1]}" in text
    assert shown.getvalue().index("Training example 1 of 8") < shown.getvalue().index("scoring the development split")


def test_the_stage_refuses_what_is_longer_than_the_window(tiny_llm: Path, tmp_path: Path) -> None:
    rows = [Example("x " * 2000, "yes")]
    with pytest.raises(UserError, match="cannot learn from 1 of 1"):
        llm_stage.build(
            LLMConfig(), rows, [{"prompt": "x"}], find_model(str(tiny_llm)), tasks.RUNTIME, tasks.job(tmp_path)
        )
