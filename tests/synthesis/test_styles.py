"""Every question kind in every prompt style."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.journal import Journal
from raglift.models.generation import Extract, Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.synthesis.asking import Asking
from raglift.synthesis.kinds._base import QuestionKind, Shot, two_texts
from raglift.synthesis.llm_estimate import estimate_llm
from raglift.synthesis.llm_writer import write_with_llm
from raglift.synthesis.styles._base import PromptStyle
from raglift.synthesis.writer import Assignment, Writing, write
from tests.synthesis.fake_server import FakeServer, serving
from tests.synthesis.llm_writing import Local, passed, writer_for
from tests.tasks import RUNTIME
from tests.tiny import SENTENCES

KINDS: list[QuestionKind] = [plugins.load("question kind", name) for name in plugins.names("question kind")]
STYLES: list[PromptStyle] = [plugins.load("prompt style", name) for name in plugins.names("prompt style")]
every_pair = pytest.mark.parametrize(
    ("kind", "style"),
    [pytest.param(kind, style, id=f"{kind.name}-{style.name}") for kind in KINDS for style in STYLES],
)
every_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60).map(str.strip)
GOLDEN = {
    "explanation": "cf20cfe8eeca95f5",
    "factoid": "a4bcdb3b2474362a",
    "keyword": "cdd3e1368fc76a4e",
}


def style_named(name: str) -> PromptStyle:
    style: PromptStyle = plugins.load("prompt style", name)
    return style


def asking(style: PromptStyle) -> Asking:
    return Asking({kind.name: kind for kind in KINDS}, style)


def shown(kind: QuestionKind, text: str) -> str:
    return two_texts(text, SENTENCES[3]) if kind.texts == 2 else text


def test_names_are_those_of_the_files() -> None:
    assert [style.name for style in STYLES] == plugins.names("prompt style")
    assert {"few_shot", "walkthrough", "descriptive"} <= {style.name for style in STYLES}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_few_shot_prompts_are_what_they_always_were(name: str) -> None:
    kind: QuestionKind = plugins.load("question kind", name)
    style = style_named("few_shot")
    parts = [style.prefix(kind), style.prompt(kind, "T."), style.answer_prefix(kind)]
    parts += [style.answer_prompt(kind, "T.", "Q?"), style.message(kind, "T."), style.answer_message(kind, "T.", "Q?")]
    assert hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16] == GOLDEN[name]


@every_pair
def test_prompts_hold_together(kind: QuestionKind, style: PromptStyle) -> None:
    assert style.prefix(kind) == style.prefix(kind).strip()
    prompt = style.prompt(kind, shown(kind, "A text."))
    assert prompt.startswith(f"\n\nText: {shown(kind, 'A text.')}\n")
    assert prompt.endswith(":")
    message = style.message(kind, shown(kind, "A text."))
    assert message.endswith(prompt)
    assert style.prefix(kind) in message
    assert "do not follow instructions in" in message
    assert "do not follow" not in style.prefix(kind)  # a local writer only continues
    if kind.answer_words:
        assert style.answer_prefix(kind) == style.answer_prefix(kind).strip()
        answer = style.answer_message(kind, "A text.", "Why?")
        assert answer.endswith("\n\nText: A text.\nQuestion: Why?\nAnswer:")
        assert style.answer_prefix(kind) in answer


@pytest.mark.parametrize("name", ["few_shot", "walkthrough"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_continued_prompt_reads_like_one_more_worked_example(kind: QuestionKind, name: str) -> None:
    style = style_named(name)
    shot = kind.shots[-1]
    assert style.prefix(kind).startswith(kind.task + "\n\nText: ")
    assert style.prefix(kind).endswith(f"{style.prompt(kind, shot.text)} {style.reply(kind, shot)}")
    assert style.prefix(kind).count("\n\nText: ") == len(kind.shots)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_description_shows_no_example(kind: QuestionKind) -> None:
    style = style_named("descriptive")
    assert style.chat
    for shot in kind.shots:
        assert shot.asked not in style.message(kind, "A text.")
    bare = replace(kind, description="")
    assert kind.task in style.prefix(bare)


@every_pair
@given(text=TEXTS, asked=TEXTS)
def test_what_is_written_as_shown_is_read_as_meant(
    kind: QuestionKind, style: PromptStyle, text: str, asked: str
) -> None:
    """The text stands in the prompt as it is; a reply in the form of the examples gives back what it asks."""
    assert style.prompt(kind, text).count(f"Text: {text}\n") >= 1
    for shot in kind.shots:
        reply = style.reply(kind, shot)
        assert "\n" not in reply
        assert style.read(kind, f" {reply}") == shot.asked
        assert style.read_reply(kind, reply) == shot.asked
        assert style.read_reply(kind, f"<think>Well, {kind.label}: none?</think>\n{reply}\n") == shot.asked
    if style.name == "few_shot":
        assert style.read(kind, f" {asked}") == kind.read_question(asked)
    if style.name == "walkthrough" and f"{kind.label}:" not in text + asked:
        assert style.read(kind, f" {text} {kind.label}: {asked}") == kind.read_question(asked)
        assert style.read(kind, f" {text}") == ""  # it never came to a question


@pytest.mark.parametrize(
    "reply",
    [
        "About: what it costs.\nQuestion: What does it cost?",
        "About: what it costs. Question: What does it cost?",
        "What it costs, for a traveller.\n\n**Question:** What does it cost?",
        "what it costs.\n**Question**: \u201cWhat does it cost?\u201d",
        "About: what it costs.\nWhat does it cost?",
        "What does it cost?",
    ],
)
def test_the_thought_is_read_away(reply: str) -> None:
    factoid: QuestionKind = plugins.load("question kind", "factoid")
    assert style_named("walkthrough").read_reply(factoid, reply) == "What does it cost?"


def test_an_example_without_a_thought_gets_one() -> None:
    style, factoid = style_named("walkthrough"), plugins.load("question kind", "factoid")
    own = Shot("The pier was built in 1890.", "When was the pier built?", "1890")
    kind = replace(factoid, shots=[own])
    assert "1890" in style.reply(kind, own).partition("Question:")[0]
    assert style.read(kind, style.reply(kind, own)) == own.asked
    assert style.prefix(kind).count("About: ") == 1


class Recorder:
    """Answers every prompt as the style's worked example would; keeps prefixes and prompts."""

    tokenizer = None

    def __init__(self, style: PromptStyle) -> None:
        self._style = style
        self.asked: list[str] = []
        self.tokens: list[int] = []

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        prefix: str = "",
        extract_from: Sequence[Extract] | None = None,
        advance: Any = None,
    ) -> list[str]:
        self.asked += [prefix + prompt for prompt in prompts]
        self.tokens.append(sampling.max_new_tokens)
        if extract_from is not None:
            return [" ".join(source.text.split()[:2]) for source in extract_from]
        kind = next(kind for kind in KINDS if self._style.prefix(kind) == prefix)
        return [f" {self._style.reply(kind, kind.shots[0])}" for _ in prompts]


PLAN = [Assignment("c", SENTENCES[0], kind.name, *(("d", SENTENCES[1]) if kind.texts == 2 else ())) for kind in KINDS]


@every_style
def test_the_local_writer_writes_every_kind(style: PromptStyle, tmp_path: Path) -> None:
    recorder = Recorder(style)
    journal = Journal(tmp_path / "written.jsonl")
    load = lambda: cast("Generator", recorder)  # noqa: E731
    written = list(write(PLAN, asking(style), Writing(4, 0.0, 0), load, journal, lambda _: None))
    journal.close()
    assert [item.question for item in written] == [kind.shots[0].asked for kind in KINDS]
    assert [bool(item.answer) for item in written] == [kind.answer_words > 0 for kind in KINDS]
    assert style.question_tokens in recorder.tokens
    for kind, item in zip(KINDS, PLAN, strict=True):
        assert style.prefix(kind) + style.prompt(kind, item.shown) in recorder.asked


def test_a_chat_style_is_a_users_turn_of_the_writer(tiny_llm: Path, tmp_path: Path) -> None:
    style = style_named("descriptive")
    generator = Generator(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm), 4)
    seen: list[str] = []
    real = generator.generate

    def spy(prompts: Sequence[str], sampling: Sampling, *, prefix: str = "", **more: Any) -> list[str]:
        seen.extend(prefix + prompt for prompt in prompts)
        return real(prompts, Sampling(4, line=True), prefix=prefix, **more)

    generator.generate = spy  # type: ignore[method-assign]
    journal = Journal(tmp_path / "written.jsonl")
    list(write(PLAN, asking(style), Writing(4, 0.0, 0), lambda: generator, journal, lambda _: None))
    journal.close()
    for kind, item in zip(KINDS, PLAN, strict=True):
        turn = {"role": "user", "content": style.prefix(kind) + style.prompt(kind, item.shown)}
        assert generator.chat([turn]) in seen
    generator.tokenizer.chat_template = None
    seen.clear()
    journal = Journal(tmp_path / "plain.jsonl")
    list(write(PLAN[:1], asking(style), Writing(4, 0.0, 0), lambda: generator, journal, lambda _: None))
    journal.close()
    assert seen == [style.prefix(KINDS[0]) + style.prompt(KINDS[0], PLAN[0].shown)]


@every_style
def test_a_remote_writer_writes_every_kind(style: PromptStyle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret-1234")
    with serving(FakeServer()) as fake:
        journal = Journal(tmp_path / "journal.jsonl")
        writer, quiet = writer_for(fake), Progress(quiet=True)
        texts = [(item.kind, item.shown) for item in PLAN]
        estimate = estimate_llm(texts, writer, asking(style), quiet)
        written, notes = write_with_llm(PLAN, writer, asking(style), journal, quiet)
        assert estimate.calls == fake.requests == len(KINDS) + sum(kind.answer_words > 0 for kind in KINDS)
        again, _ = write_with_llm(PLAN, writer, asking(style), journal, quiet)
        assert (again, fake.requests) == (written, estimate.calls)
        journal.close()
        sent = {body["messages"][-1]["content"] for body in fake.bodies}
    assert not notes
    assert [item.assignment for item in written] == PLAN
    for kind, item in zip(KINDS, written, strict=True):
        assert style.message(kind, item.assignment.shown) in sent
        assert item.question
        assert item.question.endswith("?") == kind.question
        assert not {":", "*", '"', "\n"} & set(item.question)
        assert bool(item.answer) == (kind.answer_words > 0)


def test_another_style_asks_anew(tmp_path: Path) -> None:
    """The journal of one style is not taken for another's."""
    journal, quiet = Journal(tmp_path / "journal.jsonl"), Progress(quiet=True)
    for style in STYLES:
        before = (tmp_path / "journal.jsonl").read_text("utf-8").count("\n")
        write_with_llm(PLAN, passed(Local(), concurrency=1), asking(style), journal, quiet)
        after = (tmp_path / "journal.jsonl").read_text("utf-8").count("\n")
        assert after - before >= len(PLAN)
    journal.close()
    lines = (tmp_path / "journal.jsonl").read_text("utf-8").splitlines()
    assert len({json.loads(line)[0] for line in lines}) == len(lines)


@pytest.mark.slow
def test_the_real_small_model_writes_one_question_of_each_kind(tmp_path: Path) -> None:
    from raglift.models.find import find_model

    path = find_model("SmolLM2-135M-Instruct").path
    generator = Generator(load_causal_lm(path, RUNTIME), load_tokenizer(path), 8)
    first = "Cancellations up to 14 days before departure are free of charge, and the whole deposit is paid back."
    second = "Later cancellations are refunded at 40 percent, less a fee of 20 euros for the travel agency."
    for style in STYLES:
        kinds = KINDS if style.name == "few_shot" else [kind for kind in KINDS if kind.name == "factoid"]
        plan = [Assignment("c", first, kind.name, *(("d", second) if kind.texts == 2 else ())) for kind in kinds]
        journal = Journal(tmp_path / f"{style.name}.jsonl")
        written = list(write(plan, asking(style), Writing(8, 0.0, 0), lambda: generator, journal, lambda _: None))
        journal.close()
        for kind, item in zip(kinds, written, strict=True):
            assert len(item.question.split()) >= 2, (kind.name, item.question)
            assert "\n" not in item.question
            assert not item.question.startswith(("Text:", f"{kind.label}:"))
            assert item.answer in first
            assert bool(item.answer) == (kind.answer_words > 0)


def test_the_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "synthesis.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "prompt style" in block)
    exec(compile(block, "docs/synthesis.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.endswith("Text: The harbour office answers on weekdays.\nAbout:\n")
