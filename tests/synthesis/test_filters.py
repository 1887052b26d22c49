from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.records import Split
from raglift.synthesis.candidate import Accepted, Candidate, QuestionFilter
from raglift.synthesis.words import longest_common_run, words

FACTOID, KEYWORD = (plugins.load("question kind", name) for name in ("factoid", "keyword"))
TEXT = "Goods were carried ashore in flat boats called lighters until the pier of 1214 was built, as stated above."
GOOD = Candidate("c", TEXT, FACTOID, "train", "How did cargo get to land before?", "in flat boats", 1)
NAMES = plugins.names("question filter")


def reason(name: str, candidate: Candidate, *asked: str) -> str | None:
    accepted = Accepted()
    for question in asked:
        accepted.remember(question)
    found: QuestionFilter = plugins.load("question filter", name)
    return found.reason(candidate, accepted)


@pytest.mark.parametrize("name", NAMES)
def test_a_good_question_passes_every_filter(name: str) -> None:
    assert plugins.load("question filter", name).name == name
    assert reason(name, GOOD, "Who built the pier?") is None
    assert reason(name, replace(GOOD, kind=KEYWORD, question="old harbour unloading", answer="")) is None


QUESTIONS = [
    ("form", "How so?", "too short"),
    ("form", "How did it go?", None),
    ("form", " ".join(f"w{n}" for n in range(20)) + "?", None),
    ("form", " ".join(f"w{n}" for n in range(21)) + "?", "too long"),
    ("form", "How did cargo get to land", "not a question"),
    ("form", "Is it in the sea or in the lake?", None),
    ("form", "Is it in the sea or in the sea?", "repeats itself"),
    ("copied_wording", "Were goods carried ashore in flat boats called lighters?", "copies its passage"),
    ("copied_wording", "What was carried ashore in flat boats then?", None),
    ("copied_wording", "the pier of 1214?", "copies its passage"),
    ("copied_wording", "Flat boats?", None),
    ("refers_to_passage", "What does the text say about cargo?", "points at its passage"),
    ("refers_to_passage", "What does THIS passage say about cargo?", "points at its passage"),
    ("refers_to_passage", "According to whom was cargo carried?", "points at its passage"),
    ("refers_to_passage", "Which boats are mentioned?", "points at its passage"),
    ("refers_to_passage", "What was stated above?", None),  # the passage itself says "above"
    ("refers_to_passage", "How do I add text to a document?", None),
    ("refers_to_passage", "What does the author think of boats?", "points at its passage"),
    ("refers_to_passage", "Which of the following is true?", "points at its passage"),
    ("refers_to_passage", "How can I make the compiler optimize the code?", None),
    ("refers_to_passage", "What does it return?", "unclear without its passage"),
    ("refers_to_passage", "How do you do that?", "unclear without its passage"),
    ("refers_to_passage", "How can I avoid this error?", "unclear without its passage"),
    ("refers_to_passage", "Where did he live?", "unclear without its passage"),
    ("refers_to_passage", "What is its default value?", "unclear without its passage"),
    ("refers_to_passage", "What is the return value of the function?", None),  # "return" may say which
    ("refers_to_passage", "What is the default value of the function?", "unclear without its passage"),
    ("refers_to_passage", "What is the default value of the timeout argument?", None),
    ("refers_to_passage", "What is a function?", None),
    ("refers_to_passage", "What does a generator return when it is exhausted?", None),
    ("refers_to_passage", "Is it possible to compare sets?", None),
    ("refers_to_passage", 'What does the keyword "this" mean in Java?', None),
    ("refers_to_passage", "Which boats sail this year?", None),
]


@pytest.mark.parametrize(("name", "question", "expected"), QUESTIONS)
def test_questions(name: str, question: str, expected: str | None) -> None:
    assert reason(name, replace(GOOD, question=question)) == expected


def test_form_is_looser_with_words_for_a_search_box() -> None:
    keyword = replace(GOOD, kind=KEYWORD)
    assert reason("form", replace(keyword, question="cargo lighters")) is None
    assert reason("form", replace(keyword, question="cargo")) == "too short"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("in flat boats", None),
        ("In Flat-Boats!", None),
        ("1214", None),
        ("", "no answer"),
        ("...", "no answer"),
        ("in round boats", "answer not in the evidence"),
        ("12", "answer not in the evidence"),  # a part of a word
        ("at boats", "answer not in the evidence"),
        ("cargo", "answer not in the evidence"),
    ],
)
def test_answers_stand_in_the_evidence(answer: str, expected: str | None) -> None:
    assert reason("answer_in_evidence", replace(GOOD, answer=answer)) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Were they called lighters?", "answer in the question"),
        ("Was it lighter?", None),
        ("What were the boats called?", None),
    ],
)
def test_answers_do_not_stand_in_the_question(question: str, expected: str | None) -> None:
    assert reason("answer_in_evidence", replace(GOOD, question=question, answer="lighters")) == expected


@pytest.mark.parametrize(
    ("split", "rank", "passes"),
    [
        ("train", 1, True),
        ("train", 5, True),
        ("train", 6, False),
        ("dev", 11, True),
        ("dev", 50, True),
        ("dev", 51, False),
        ("test", 50, True),
        ("test", 51, False),
    ],
)
def test_round_trip(split: Split, rank: int, passes: bool) -> None:
    found = reason("round_trip", replace(GOOD, split=split, rank=rank))
    assert found == (None if passes else "does not find its passage")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("How did cargo get to land before?", "asked before"),
        ("how did CARGO get to land, before", "asked before"),
        ("Before, how did cargo get to dry land?", "asked before"),  # 7 of 8 words
        ("How did cargo get to the far shore?", None),  # 5 of 10 words
    ],
)
def test_near_duplicates_are_asked_once(asked: str, expected: str | None) -> None:
    assert reason("near_duplicate", GOOD, "Something else?", asked) == expected


RUNS = st.lists(st.sampled_from("abc"), max_size=8)


@given(left=RUNS, right=RUNS)
def test_longest_common_run_is_that_of_a_brute_force_search(left: list[str], right: list[str]) -> None:
    def runs(items: list[str]) -> set[tuple[str, ...]]:
        return {tuple(items[i:j]) for i in range(len(items)) for j in range(i + 1, len(items) + 1)}

    assert longest_common_run(left, right) == max(map(len, runs(left) & runs(right)), default=0)


def test_words_are_lower_case_without_punctuation() -> None:
    assert words("D\u00e9j\u00e0-vu: isn't IT 3.5?") == ["d\u00e9j\u00e0", "vu", "isn", "t", "it", "3", "5"]
