"""The closed-book filter, and the asking without a passage that it rests on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from raglift import plugins
from raglift.config import SynthesisConfig, WriterConfig
from raglift.evaluation.metrics.exact_match import normalize_answer
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.device import Runtime
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.synthesis.accepting import Rules, accept
from raglift.synthesis.budget import BudgetSpentError
from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.closed_book import PREFIX, guess_prompt, llm_guess_prompt
from raglift.synthesis.filters._load import load_filters
from raglift.synthesis.filters.closed_book import agrees, is_by_chance
from raglift.synthesis.guesses import asks_closed_book, with_guesses
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.llm_build import LLMWriter, llm_writer
from raglift.synthesis.llm_estimate import estimate_llm
from raglift.synthesis.llm_tasks import spent_so_far, unit_of
from raglift.synthesis.llm_writer import write_with_llm
from tests import tasks
from tests.synthesis.fake_server import FakeServer, serving
from tests.synthesis.llm_writing import PLAN, TEXTS

FACTOID, KEYWORD = (plugins.load("question kind", name) for name in ("factoid", "keyword"))
RULES = Rules(load_filters(["closed_book", "form", "near_duplicate"]), lambda word: True, HumanExamples())
ASKED = [f"When did ship number {n} leave the harbour of town {n}?" for n in range(20)]
CANDIDATES = [Candidate("c", "text", FACTOID, "train", question, "at six", 1) for question in ASKED]
WORDS = st.sampled_from(["the", "grey", "harbour", "opens", "at", "six", "pier", "1214"])
PHRASES = st.lists(WORDS, max_size=6).map(" ".join)


class Knowing:
    """A local writer that answers "At six." to every question, and keeps what it was asked."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.batches: list[list[str]] = []
        self._fail_at = fail_at

    def __call__(self) -> Generator:
        return cast("Generator", self)

    def generate(self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = "", **_: Any) -> list[str]:
        if len(self.batches) == self._fail_at:
            raise KeyboardInterrupt
        assert prefix == PREFIX
        assert (sampling.temperature, sampling.line) == (0.0, True)
        self.batches.append(list(prompts))
        return [" At six." for _ in prompts]


def never() -> Generator:
    raise AssertionError("the writer was loaded")


def job(folder: Path, out: io.StringIO | None = None) -> Job:
    return Job(folder, 0, Progress(stream=out or io.StringIO()))


def asked(
    folder: Path, generator: Callable[[], Generator], candidates: Sequence[Candidate] = CANDIDATES
) -> list[Candidate]:
    return with_guesses(candidates, RULES, 8, generator, None, job(folder))


def reason(**changes: Any) -> str | None:
    candidate = replace(CANDIDATES[0], **changes)
    found: str | None = plugins.load("question filter", "closed_book").reason(candidate, Accepted())
    return found


@pytest.mark.parametrize(
    ("guess", "answer", "expected"),
    [
        ("At six.", "at six", True),
        ("valve B", "the Valve B!", True),
        ("at six in the morning", "at six", False),  # F1 2/3
        ("Leonardo Vinci", "Leonardo da Vinci", True),  # F1 0.8
        ("Leonardo", "Leonardo da Vinci", False),  # F1 0.5
        ("one two three nine", "one two three four", True),  # F1 0.75
        ("every 4 years in the old town", "every 5 years in the old town", False),  # F1 0.8
        ("", "at six", False),
        ("<=", "<=", True),
        (">=", "<=", False),
        ("", "<=", False),
        ("\u6c34", "\u6c34", True),
    ],
)
def test_what_agrees(guess: str, answer: str, expected: bool) -> None:
    assert agrees(guess, answer) is expected
    assert reason(guess=guess, answer=answer) == ("answered without its passage" if expected else None)


def test_what_only_repeats_the_question_is_not_known() -> None:
    question, answer = "How does the new class class behave when it is created?", "a new class is created"
    assert agrees("it is created by the new class", answer)
    assert not agrees("it is created by the new class", answer, question)
    assert not agrees("a list", "a list", "Is it a list or a tuple?")
    assert not agrees("<=", "<=", "Is it <= or <?")
    assert agrees("Lisbon harbour", "the Lisbon harbour", "Which harbour was built first?")


@given(answer=PHRASES, question=PHRASES, guess=PHRASES)
def test_laws_of_agreement(answer: str, question: str, guess: str) -> None:
    assume(normalize_answer(answer))
    more = set(normalize_answer(answer).split()) - set(normalize_answer(question).split())
    assert agrees(answer.upper() + ".", answer, question) == bool(more)
    assert not agrees(question, answer, question)
    assert agrees(guess, answer, question) <= agrees(guess, answer)  # the question only ever takes away
    assert agrees(guess, answer, question) <= (set(guess.split()) & more != set())


@pytest.mark.parametrize("answer", ["yes", "No.", "True", '"none"', "Three", "7", "a", "x"])
def test_an_answer_that_is_hit_by_chance_is_no_sign_of_knowledge(answer: str) -> None:
    assert is_by_chance(answer)
    assert reason(guess=answer, answer=answer) is None


@pytest.mark.parametrize("answer", ["in 1214", "1214", "Lisbon", "no later than May", "\u6c34", "<="])
def test_an_answer_that_is_not(answer: str) -> None:
    assert not is_by_chance(answer)


def test_what_was_not_asked_passes() -> None:
    assert reason(guess=None) is None
    assert reason(guess="at six", answer="", kind=KEYWORD) is None


def test_only_what_passes_the_other_filters_and_has_an_answer_is_asked_and_once(tmp_path: Path) -> None:
    short = replace(CANDIDATES[0], question="When so?")
    keyword = replace(CANDIDATES[0], kind=KEYWORD, question="ship harbour", answer="")
    again = replace(CANDIDATES[0], chunk_id="d")
    alike = replace(CANDIDATES[0], question=ASKED[0].replace("When did", "Then when did"))
    writer = Knowing()
    found = asked(tmp_path, writer, [short, keyword, again, *CANDIDATES, alike])
    assert [item.guess for item in found] == [None, None, *["At six."] * (len(CANDIDATES) + 2)]
    assert [replace(item, guess=None) for item in found] == [short, keyword, again, *CANDIDATES, alike]
    prompts = [prompt for batch in writer.batches for prompt in batch]
    assert sorted(prompts) == sorted(guess_prompt(question) for question in [*ASKED, alike.question])
    assert [len(batch) for batch in writer.batches] == [8, 8, 5]
    assert not any("text" in prompt for prompt in prompts)  # never the passage


def test_what_its_kind_refuses_is_not_asked(tmp_path: Path) -> None:
    picky = replace(FACTOID, check=lambda draft: None if "7" in draft.question else "no seven")
    candidates = [replace(candidate, kind=picky) for candidate in CANDIDATES]
    guesses = {item.question: item.guess for item in asked(tmp_path, Knowing(), candidates)}
    assert {question for question, guess in guesses.items() if guess} == {ASKED[7], ASKED[17]}


def test_what_repeats_an_example_is_not_asked(tmp_path: Path) -> None:
    rules = replace(RULES, examples=HumanExamples((HumanExample("A text.", ASKED[3]),)))
    found = with_guesses(CANDIDATES, rules, 8, Knowing(), None, job(tmp_path))
    assert [place for place, item in enumerate(found) if item.guess is None] == [3]


def test_nothing_is_asked_where_the_filter_is_not_in_use(tmp_path: Path) -> None:
    assert asks_closed_book(load_filters(None))
    assert (
        with_guesses(CANDIDATES, replace(RULES, filters=load_filters(["form"])), 8, never, None, job(tmp_path))
        == CANDIDATES
    )
    assert not list(tmp_path.iterdir())
    nobody = [replace(CANDIDATES[0], answer="")]
    assert asked(tmp_path, never, nobody) == nobody


@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_asking_that_was_interrupted_goes_on_and_asks_nothing_twice(tmp_path: Path, fail_at: int) -> None:
    whole, first, second = Knowing(), Knowing(fail_at), Knowing()
    expected = asked(tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path / "cut", first)
    assert asked(tmp_path / "cut", second) == expected
    assert first.batches + second.batches == whole.batches
    files = [tmp_path / name / "work" / "written.jsonl" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert asked(tmp_path / "cut", never) == expected


def test_what_is_known_is_dropped_and_what_resembles_it_is_judged_by_itself(tmp_path: Path) -> None:
    known = CANDIDATES[0]
    alike = replace(known, question=ASKED[0].replace("When did", "Then when did"), answer="at the second bell")
    corpus = cast("Any", SimpleNamespace(documents=[], chunks=[]))
    candidates = asked(tmp_path, Knowing(), [known, alike])
    pairs, dropped = accept(candidates, RULES, corpus, lambda _: None)
    assert [pair.question for pair in pairs] == [alike.question]
    assert dict(dropped) == {"factoid dropped: answered without its passage": 1}


def test_a_model_of_this_machine_says_one_line_and_the_same_again(tmp_path: Path, tiny_llm: Path) -> None:
    runtime = Runtime(torch.device("cpu"), torch.float32, 1)
    generator = Generator(load_causal_lm(tiny_llm, runtime), load_tokenizer(tiny_llm))
    first, second = (asked(tmp_path / name, lambda: generator) for name in ("one", "two"))
    assert first == second
    assert all(item.guess is not None and "\n" not in item.guess for item in first)
    assert any(item.guess for item in first)


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "synthesis.md").read_text("utf-8")
    (block,) = (b for b in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "guess=" in b)
    exec(compile(block, "docs/synthesis.md", "exec"), {})
    (without,) = re.findall(r"run: without-closed-book\n.*?filters: \[(.*?)\]", page, re.DOTALL)
    assert sorted(without.replace("\n", " ").replace(" ", "").split(",")) == [
        name for name in plugins.names("question filter") if name != "closed_book"
    ]


def remote(fake: FakeServer, **settings: Any) -> LLMWriter:
    config = WriterConfig(kind="openai_like", url=fake.url, model="m", **settings)
    writer = llm_writer(SynthesisConfig(writer=config), 0)
    assert writer is not None
    return writer


def asked_there(folder: Path, writer: LLMWriter, out: io.StringIO | None = None) -> list[str | None]:
    found = with_guesses(CANDIDATES, RULES, 8, never, writer, job(folder, out))
    return [item.guess for item in found]


def test_a_server_is_asked_within_the_budget_of_all_calls(tmp_path: Path) -> None:
    with serving(FakeServer(delay=0.01)) as fake:
        (tmp_path / "work").mkdir()
        journal = Journal(tmp_path / "work" / "written.jsonl")
        write_with_llm(PLAN, remote(fake), tasks.asking(), journal, Progress(quiet=True))
        journal.close()
        written = fake.tokens
        with pytest.raises(BudgetSpentError, match="used up") as caught:
            asked_there(tmp_path, remote(fake, concurrency=3, max_tokens=written + 1_500))
        assert written < fake.tokens <= written + 1_500
        assert f"{fake.tokens:,} tokens are spent" in caught.value.why
        out = io.StringIO()
        guesses = asked_there(tmp_path, remote(fake, max_tokens=1_000_000), out)
        assert guesses == [f"At {len(llm_guess_prompt(question))}" for question in ASKED]
        assert set(fake.finished.values()) == {1}
        assert f"{fake.tokens:,} tokens" in out.getvalue()
        requests = fake.requests
        assert asked_there(tmp_path, remote(fake)) == guesses
        assert fake.requests == requests
    journal = Journal(tmp_path / "work" / "written.jsonl")
    assert spent_so_far(journal).total == fake.tokens
    assert all(unit_of(llm_guess_prompt(question)) in journal for question in ASKED)
    journal.close()


def test_a_question_that_the_server_refuses_is_not_judged(tmp_path: Path) -> None:
    with serving(FakeServer(refuse=ASKED[3])) as fake:
        guesses = asked_there(tmp_path, remote(fake))
    assert [place for place, guess in enumerate(guesses) if guess is None] == [3]


def test_the_estimate_counts_a_call_for_every_question_with_an_answer() -> None:
    with serving(FakeServer()) as fake:
        plain = estimate_llm(TEXTS, remote(fake), tasks.asking(), Progress(quiet=True))
        more = estimate_llm(TEXTS, remote(fake), tasks.asking(), Progress(quiet=True), closed_book=True)
    assert more.questions == plain.questions
    assert more.calls - plain.calls == sum(kind == "factoid" for kind, _ in TEXTS) > 0
    assert more.likely.total > plain.likely.total
    assert more.most.total > plain.most.total
