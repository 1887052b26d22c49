from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.abstention import ABSTAIN
from raglift.config import LLMConfig
from raglift.corpus.stage import Corpus
from raglift.index.ranking import Ranking
from raglift.prompting._base import Prompt
from raglift.records import Chunk, Document, Evidence, Origin, QAPair, Split, write_jsonl
from raglift.synthesis.training_sets import ExampleMaker, _answered, dev_questions, embedding_pairs
from raglift.synthesis.words import holds, words
from raglift.training.examples import Example
from raglift.training.pairs import Pair

COUNT, TOP_K = 20, 3
SECRET = "code word"
TEXTS = [f"Passage {n} tells a story of its own about thing {n}, place {n} and year {n}." for n in range(COUNT)]
TEXTS[4] = f"The vault is opened with the {SECRET} that the old keeper chose by lot."
TEXTS[5] = "Nothing but a Code-Word helps here, says chapter five of another book."  # tells it too
TEXTS[6] = "The vault is opened with the sign that the old keeper chose by lot."  # repeats much of 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    write_jsonl(folder / "chunks.jsonl", [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(TEXTS)])
    write_jsonl(folder / "documents.jsonl", [Document(f"d{n}", "", text) for n, text in enumerate(TEXTS)])
    human = [question(f"h{n}", n, "dev" if n % 2 else "test", "human") for n in range(10)]
    unanswerable = QAPair("u", "Unknown?", (), (), "human", "dev", "human", answerable=False)
    unreferenced = QAPair("r", "No reference?", (), (Evidence("d1"),), "human", "dev", "human")
    write_jsonl(folder / "human.jsonl", [*human, unanswerable, unreferenced])
    return Corpus(folder)


def question(
    name: str, chunk: int, split: Split = "train", origin: Origin = "synthetic", answer: str = SECRET
) -> QAPair:
    evidence = (Evidence(f"d{chunk}", f"c{chunk}", 0, 5),)
    return QAPair(name, f"{name}?", (answer,), evidence, "factoid", split, origin)


class Lines:
    """A reader whose prompt is a passage a line, then the question."""

    window = 1000
    prompt: Prompt = plugins.load("prompt", "grounded")

    def render(self, question: str, passages: Sequence[str]) -> str:
        return "\n".join([*passages, question])

    def token_count(self, text: str) -> int:
        return len(text.split())


def passages_of(prompt: str) -> list[str]:
    return prompt.split("\n")[:-1]


RANKINGS = st.lists(st.integers(0, COUNT - 1), unique=True, max_size=12)


def ranking(rows: Sequence[int]) -> Ranking:
    return tuple((f"c{row}", 1.0 - 0.01 * place) for place, row in enumerate(rows))


class Sure:
    """A maker whose examples are all quoted."""

    def __init__(self, made: ExampleMaker) -> None:
        self._made = made

    def example(self, question: QAPair, ranking: Ranking) -> tuple[Example, str]:
        example, how = self._made.example(question, ranking)
        assert example is not None
        return example, how


def maker(corpus: Corpus, absent: float, seed: int = 0, closed_book: float = 0.0) -> Sure:
    return Sure(ExampleMaker(corpus, Lines(), TOP_K, absent, seed, closed_book))


@given(rows=RANKINGS, seed=st.integers(0, 3))
def test_the_evidence_is_always_among_the_passages(corpus: Corpus, rows: list[int], seed: int) -> None:
    example, how = maker(corpus, 0.0, seed).example(question("q", 4), ranking(rows))
    passages = passages_of(example.prompt)
    assert TEXTS[4] in passages
    assert how == ("found" if 4 in rows[:TOP_K] else "put in")
    assert len(passages) == max(1, min(TOP_K, len(rows)))
    assert len(set(passages)) == len(passages)
    brought = [TEXTS[row] for row in rows[:TOP_K]]
    kept = [text for place, text in enumerate(brought) if passages[place] == text]
    assert len(kept) == len(brought) - (how == "put in" and bool(brought))  # the index's order, one replaced at most
    assert example.answer == SECRET


@given(rows=RANKINGS)
def test_a_withheld_example_never_shows_the_answer(corpus: Corpus, rows: list[int]) -> None:
    example, how = maker(corpus, 1.0).example(question("q", 4), ranking(rows))
    passages = passages_of(example.prompt)
    if not set(rows) - {4, 5, 6}:  # nothing would be left to show
        assert (how, example.answer) == ("found" if 4 in rows else "put in", SECRET)
        assert TEXTS[4] in passages
        return
    assert (how, example.answer) == ("withheld", ABSTAIN)
    assert not {TEXTS[4], TEXTS[5], TEXTS[6]} & set(passages)
    assert all(SECRET not in " ".join(words(text)) for text in passages)
    assert passages == [TEXTS[row] for row in rows if row not in (4, 5, 6)][:TOP_K]


@pytest.mark.parametrize("rows", [[], [4], [5], [6, 5, 4]])
def test_without_another_passage_nothing_is_withheld(corpus: Corpus, rows: list[int]) -> None:
    example, how = maker(corpus, 1.0).example(question("q", 4), ranking(rows))
    assert (how, example.answer) == ("found" if 4 in rows else "put in", SECRET)
    assert TEXTS[4] in passages_of(example.prompt)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("ace", [1, 2, 3]),  # every passage has a "place"
        ("Place 2", [1, 3, 12]),  # not in "place 12"
        ("thing 1!", [2, 3, 12]),  # nor in "thing 12"
        ("PASSAGE 1 tells", [2, 3, 12]),
        ("year 12.", [1, 2, 3]),  # at the end
    ],
)
def test_only_whole_words_tell_the_answer(corpus: Corpus, answer: str, shown: list[int]) -> None:
    example, how = maker(corpus, 1.0).example(question("q", 4, answer=answer), ranking([1, 2, 3, 12, 4]))
    assert how == "withheld"
    assert passages_of(example.prompt) == [TEXTS[row] for row in shown]


@pytest.mark.parametrize("absent", [0.0, 0.2, 0.5, 1.0])
def test_the_share_that_is_withheld(corpus: Corpus, absent: float) -> None:
    made = maker(corpus, absent)
    counts = Counter(made.example(question(f"q{n}", 4), ranking([1, 2, 3, 4]))[1] for n in range(1000))
    assert counts["withheld"] == pytest.approx(1000 * absent, abs=60)
    assert counts["found"] == 0
    assert counts["put in"] == 1000 - counts["withheld"]


@pytest.mark.parametrize(("absent", "closed_book"), [(0.0, 0.3), (0.2, 0.3), (0.5, 0.4)])
def test_the_share_that_is_without_passages(corpus: Corpus, absent: float, closed_book: float) -> None:
    made = maker(corpus, absent, 0, closed_book)
    counts: Counter[str] = Counter()
    for n in range(1000):
        example, how = made.example(question(f"q{n}", 4), ranking([1, 2, 3, 4]))
        counts[how] += 1
        assert (passages_of(example.prompt) == []) == (how == "closed book")
        assert example.answer == (ABSTAIN if how == "withheld" else SECRET)
    assert counts["withheld"] == pytest.approx(1000 * absent, abs=60)
    assert counts["closed book"] == pytest.approx(1000 * closed_book, abs=60)


ANSWERS = st.sampled_from(["the old keeper", "THE VAULT", "vaul", "lot", "<=", "another book", "year 9", " "])


@given(rows=RANKINGS, answer=ANSWERS)
@pytest.mark.parametrize("closed_book", [0.0, 1.0])
def test_an_answer_stands_in_a_passage_or_is_dropped(
    corpus: Corpus, rows: list[int], answer: str, closed_book: float
) -> None:
    asked = question("q", 4, answer=answer)
    example, how = ExampleMaker(corpus, Lines(), TOP_K, 0.0, 0, closed_book).example(asked, ranking(rows))
    if example is None:
        assert how == "unquoted"
        assert not holds(TEXTS[4], answer)  # which is always shown
    else:
        assert any(holds(text, answer) for text in ([TEXTS[4]] if closed_book else passages_of(example.prompt)))


@pytest.mark.parametrize(
    ("text", "quote", "held"),
    [
        ("It takes the old boat.", "The old BOAT", True),
        ("A party.", "art", False),
        ("Use <= here.", "<=", True),
        ("Use < here.", "<=", False),
        ("Anything.", " ", False),
    ],
)
def test_what_a_text_holds(text: str, quote: str, held: bool) -> None:
    assert holds(text, quote) == held


def test_the_place_of_evidence_that_was_put_in_says_nothing(corpus: Corpus) -> None:
    made = maker(corpus, 0.0)
    places = Counter(
        passages_of(made.example(question(f"q{n}", 4), ranking([1, 2, 3]))[0].prompt).index(TEXTS[4])
        for n in range(300)
    )
    assert set(places) == {0, 1, 2}
    assert min(places.values()) > 60


def test_examples_are_the_same_for_the_same_seed(corpus: Corpus) -> None:
    rows = [random.Random(n).sample(range(COUNT), 8) for n in range(50)]

    def make(seed: int) -> list[object]:
        made = maker(corpus, 0.3, seed, 0.2)
        return [made.example(question(f"q{n}", 4), ranking(row)) for n, row in enumerate(rows)]

    assert make(0) == make(0)
    assert make(0) != make(1)


def test_any_of_several_evidence_passages_counts_as_found(corpus: Corpus) -> None:
    both = QAPair("q", "q?", (SECRET,), (Evidence("d4", "c4"), Evidence("d5", "c5")), "factoid", "train", "synthetic")
    example, how = maker(corpus, 0.0).example(both, ranking([1, 5, 2]))
    assert how == "found"
    assert passages_of(example.prompt) == [TEXTS[1], TEXTS[5], TEXTS[2]]


def test_pairs_are_the_training_questions_with_their_own_passage(corpus: Corpus) -> None:
    questions = [
        question("a", 1),
        question("b", 2, "dev"),
        question("c", 3, "test"),
        question("d", 4, "train", "human"),
        QAPair("e", "e?", (), (), "human", "test", "human", answerable=False),
        QAPair("f", "f", (), (Evidence("d7", "c7"), Evidence("d1", "c1")), "keyword", "train", "synthetic"),
    ]
    assert embedding_pairs(questions, corpus) == [Pair("a?", TEXTS[1], "c1"), Pair("f", TEXTS[7], "c7")]


def test_development_questions_of_people_come_first(corpus: Corpus) -> None:
    synthetic = [question(f"s{n}", n % COUNT, "dev" if n < 90 else "train") for n in range(120)]
    found = dev_questions(synthetic, corpus, 0)
    assert len(found) == 48
    assert {pair.id for pair in found[:6]} == {"h1", "h3", "h5", "h7", "h9", "u"}  # not "r": nothing to hold it against
    assert all(pair.origin == "synthetic" for pair in found[6:])
    assert all(pair.split == "dev" for pair in found)
    assert dev_questions(synthetic, corpus, 0) == found
    assert dev_questions(synthetic, corpus, 1) != found


UNANSWERABLE = QAPair("n", "Who owns the vault?", (), (), "unanswerable", "train", "synthetic", answerable=False)


@given(rows=RANKINGS)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_the_corpus_does_not_answer_is_to_be_refused(corpus: Corpus, rows: list[int], share: float) -> None:
    example, how = maker(corpus, share, 0, share / 2).example(UNANSWERABLE, ranking(rows))
    assert (how, example.answer) == ("unanswerable", ABSTAIN)
    assert passages_of(example.prompt) == [TEXTS[row] for row in rows[:TOP_K]]
    assert embedding_pairs([UNANSWERABLE], corpus) == []


def test_unanswerable_questions_change_no_other_example(corpus: Corpus) -> None:
    """They draw no lots: adding the kind to the mixture leaves the examples of the others as they were."""
    plain, mixed = maker(corpus, 0.3, 0, 0.2), maker(corpus, 0.3, 0, 0.2)
    for n in range(50):
        asked = question(f"q{n}", 4)
        mixed.example(UNANSWERABLE, ranking([1, 2]))
        assert mixed.example(asked, ranking([1, 2, 4])) == plain.example(asked, ranking([1, 2, 4]))


def test_a_comparison_makes_a_pair_for_each_passage(corpus: Corpus) -> None:
    evidence = (Evidence("d1", "c1"), Evidence("d2", "c2"), Evidence("d9", "c9"))  # the third repeats one of them
    both = QAPair("b", "How do they differ?", (), evidence, "comparison", "train", "synthetic")
    assert embedding_pairs([both], corpus) == [
        Pair("How do they differ?", TEXTS[1], "c1", also=("c2",)),
        Pair("How do they differ?", TEXTS[2], "c2", also=("c1",)),
    ]


def test_what_the_language_model_learns_from(corpus: Corpus) -> None:
    asked = [
        question("a", 1),
        UNANSWERABLE,
        replace(UNANSWERABLE, id="d", split="dev"),
        QAPair("k", "vault sign", (), (Evidence("d6", "c6"),), "keyword", "train", "synthetic"),
    ]
    assert [pair.id for pair in _answered(LLMConfig(), corpus, asked, 0)] == ["a", "n"]
    assert [pair.id for pair in _answered(LLMConfig(max_examples=1), corpus, asked, 0)] in (["a"], ["n"])
    assert "d" in {pair.id for pair in dev_questions(asked, corpus, 0)}
