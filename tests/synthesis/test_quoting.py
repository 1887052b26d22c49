"""The quotes of the language model's examples: word for word, from what is shown, with the answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.abstention import ABSTAIN
from raglift.corpus.stage import Corpus
from raglift.prompting._base import Prompt
from raglift.records import Chunk, Document, Evidence, QAPair, write_jsonl
from raglift.synthesis.evidence import sentences
from raglift.synthesis.quoting import evidence_quote
from raglift.synthesis.training_sets import ExampleMaker
from raglift.synthesis.words import holds

BEFORE = "A line that stands before the passage. "
LINES = [
    "The vault lies under the old mill.",
    "It is opened with a code word,\nwhich the keeper chose by lot.",
    "Nobody else knows the code word.",
]
TEXT = "\n".join(LINES)
START = len(BEFORE)
CHUNKS = [Chunk("c0", "d0", TEXT, START, START + len(TEXT)), Chunk("c1", "d1", "Rain fell on the hills.", 0, 23)]
BY_ID = {chunk.id: chunk for chunk in CHUNKS}


def asked(question: str, answer: str, start: int = 0, end: int = len(TEXT), chunk: str | None = "c0") -> QAPair:
    evidence = (Evidence("d0", chunk, START + start, START + end),)
    return QAPair("q", question, (answer,), evidence, "factoid", "train", "synthetic")


def quote(pair: QAPair, shown: Sequence[str] = ("c0", "c1"), longest: int = 1000) -> str | None:
    return evidence_quote(pair, shown, BY_ID, lambda text: len(text) <= longest)


def test_the_sentence_that_shares_most_with_the_question() -> None:
    assert quote(asked("What does the keeper choose to have it opened?", "code word")) == LINES[1]
    assert quote(asked("What does nobody else know?", "Code word")) == LINES[2]
    assert quote(asked("Where does the vault lie?", "the old mill")) == LINES[0]


def test_only_the_evidence_is_quoted() -> None:
    last = len(TEXT) - len(LINES[2])
    assert quote(asked("What was opened by lot?", "code word", last)) == LINES[2]
    assert quote(asked("Where does the vault lie?", "the old mill", last)) is None
    assert quote(asked("What does the keeper choose?", "code word", chunk=None)) is None


def test_only_what_is_shown_is_quoted() -> None:
    assert quote(asked("Where?", "the old mill"), ["c1"]) is None


def test_an_answer_over_the_end_of_a_sentence_has_all_of_the_evidence() -> None:
    assert quote(asked("Where?", "old mill. It is opened")) == TEXT


@pytest.mark.parametrize(("longest", "found"), [(1000, 1), (len(LINES[1]), 1), (len(LINES[1]) - 1, 2), (9, None)])
def test_what_does_not_fit_is_not_quoted(longest: int, found: int | None) -> None:
    pair = asked("What does the keeper choose to have it opened?", "code word")
    assert quote(pair, longest=longest) == (None if found is None else LINES[found])


def test_sentences_are_without_headings_and_cut_where_evidence_is() -> None:
    """As from a PDF whose spaces between sentences are gone, or a list after semicolons."""
    run = [*(f"The {n}th of the rooms of the mill is kept locked by the keeper himself;" for n in range(5)), LINES[2]]
    assert sentences(" ".join(run)) == run
    assert sentences("# Rooms\n\n" + TEXT) == LINES


SPANS = st.integers(0, len(TEXT))


@given(start=SPANS, end=SPANS, answer=st.sampled_from(["code word", "the keeper", "mill", "It", "lot", "rain"]))
def test_a_quote_is_a_part_of_the_span_that_holds_the_answer(start: int, end: int, answer: str) -> None:
    found = quote(asked("What is it?", answer, start, end))
    if found is None:
        assert not holds(TEXT[start:end], answer)
    else:
        assert found in TEXT[start:end]
        assert holds(found, answer)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    write_jsonl(folder / "chunks.jsonl", CHUNKS)
    write_jsonl(folder / "documents.jsonl", [Document("d0", "", BEFORE + TEXT), Document("d1", "", CHUNKS[1].text)])
    write_jsonl(folder / "human.jsonl", [])
    return Corpus(folder)


class Words:
    """A reader with a token a word."""

    window = 1000

    def __init__(self, name: str) -> None:
        self.prompt: Prompt = plugins.load("prompt", name)

    def render(self, question: str, passages: Sequence[str]) -> str:
        return "\n".join([*passages, question])

    def token_count(self, text: str) -> int:
        return len(text.split())


def made(corpus: Corpus, name: str, pair: QAPair, absent: float = 0.0, closed_book: float = 0.0) -> tuple[str, str]:
    """What is to be written, empty where there is no example, and how it came about."""
    maker = ExampleMaker(corpus, Words(name), 2, absent, 0, closed_book)
    example, how = maker.example(pair, (("c1", 0.9), ("c0", 0.8)))
    return (example.answer if example else "", how)


def test_the_examples_of_the_approaches_differ_in_the_quote_alone(corpus: Corpus) -> None:
    pair = asked("Where does the vault lie?", "the old mill")
    written = f'"{LINES[0]}" Answer: the old mill'
    assert made(corpus, "quoted", pair) == (written, "found")
    assert made(corpus, "grounded", pair) == ("the old mill", "found")
    for name in plugins.names("prompt"):
        assert made(corpus, name, pair, absent=1.0) == (ABSTAIN, "withheld")
        assert made(corpus, name, pair, closed_book=1.0) == ("the old mill", "closed book")


@pytest.mark.parametrize(
    ("pair", "how", "plain"),
    [
        (asked("Where?", "the new mill"), "unquoted", "unquoted"),
        (asked("Where?", "the old mill", 60), "no quote", "found"),  # in the passage, but not in the evidence
        (asked("Where?", "Rain", chunk="c1"), "no quote", "found"),  # the span lies outside of the passage
    ],
)
def test_an_example_without_a_quote_is_left_out(corpus: Corpus, pair: QAPair, how: str, plain: str) -> None:
    assert made(corpus, "quoted", pair) == ("", how)
    assert made(corpus, "grounded", pair)[1] == plain


def test_a_quote_that_is_longer_than_its_room_is_left_out(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = asked("Where does the vault lie?", "the old mill")
    needed = len(LINES[0].split()) + len(["Answer:"])
    prompt = plugins.load("prompt", "quoted")
    monkeypatch.setattr(prompt, "quote_tokens", needed)
    assert made(corpus, "quoted", pair)[1] == "found"
    monkeypatch.setattr(prompt, "quote_tokens", needed - 1)
    assert made(corpus, "quoted", pair) == ("", "no quote")


def test_an_answer_that_would_be_read_as_another_is_left_out(corpus: Corpus) -> None:
    maker = ExampleMaker(corpus, Words("quoted"), 2, 0.0, 0, 1.0)
    text = 'He wrote "the old mill" Answer: lot'
    pair = asked("What?", text)
    assert maker.example(pair, ())[1] == "unquoted"  # not in the evidence at all
    assert maker._given(pair, (), "") is None
    assert maker._given(pair, (), "A sentence.") is not None
    assert maker._given(asked("What?", "lot"), (), 'The "mill" Answer: is named.') is None
