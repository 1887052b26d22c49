"""A run's questions and answers as items."""

from __future__ import annotations

from raglift.judging.known import arm_items, beside, known_items
from raglift.records import Answered, Chunk, Evidence, QAPair

CHUNKS = [
    Chunk("c0", "d0", "The keeper has a blue book. He writes into it.", 0, 46),
    Chunk("c1", "d0", "A red kite flies.", 47, 64),
    Chunk("c2", "d1", "A blue book lies here too.", 0, 26),
]


def asked(name: str, *answers: str, chunk: str | None = "c0", answerable: bool = True) -> QAPair:
    return QAPair(name, "What?", answers, (Evidence("d0", chunk),), "factoid", "test", "human", answerable)


def test_a_known_item_is_a_right_answer_with_its_evidence() -> None:
    (item,) = known_items([asked("q", "a blue book")], CHUNKS, 0)
    assert item.answer == "The keeper has a blue book."
    assert (item.references, item.contexts, item.document) == (("a blue book",), (CHUNKS[0].text,), "d0")


def test_of_a_whole_document_the_chunks_with_the_answer_are_the_evidence() -> None:
    (item,) = known_items([asked("q", "red kite", chunk=None)], CHUNKS, 0)
    assert item.contexts == ("A red kite flies.",)
    (item,) = known_items([asked("q", "green", chunk=None)], CHUNKS, 0)
    assert (item.contexts, item.answer) == ((), "The answer is green")


def test_without_a_right_answer_nothing_is_known() -> None:
    assert known_items([asked("q"), asked("r", " "), asked("s", "x", answerable=False)], CHUNKS, 0) == []


def test_other_words_are_drawn_by_the_seed_and_the_question_alone() -> None:
    questions = [asked(f"q{n}", "book", "a blue book", "it") for n in range(30)]
    made = known_items(questions, CHUNKS, 0)
    assert known_items(questions[5:], CHUNKS, 0) == made[5:]
    assert len({item.answer for item in made}) == 3
    assert known_items(questions, CHUNKS, 1) != made


def test_arms_are_judged_on_the_same_questions() -> None:
    questions = [asked(f"q{n}", "x") for n in range(6)]
    answered = [
        Answered(f"q{n}", arm, (), ("p",), f"{arm} {n}", 0.0) for arm in ("base", "tuned_both") for n in range(5)
    ]
    answered[7] = Answered("q2", "tuned_both", (), (), None, 0.0)
    answered += [Answered(f"q{n}", "bm25", (("c0", 1.0),), (), None, 0.0) for n in range(6)]
    found = arm_items(questions, answered, None, 0)
    assert set(found) == {"base", "tuned_both"}
    assert (
        [item.id for item in found["base"]]
        == [item.id for item in found["tuned_both"]]
        == ["q0", "q1", "q2", "q3", "q4"]
    )
    assert found["tuned_both"][2].answer is None
    few = arm_items(questions, answered, 2, 0)
    assert [item.id for item in few["base"]] == [item.id for item in few["tuned_both"]]
    assert few == arm_items(questions, answered, 2, 0)
    assert len(few["base"]) == 2
    both = beside(found["tuned_both"], found["base"])
    assert [item.other for item in both] == [f"base {n}" for n in range(5)]


def test_a_question_that_cannot_be_answered_has_no_reference() -> None:
    questions = [asked("q", "x", answerable=False)]
    found = arm_items(questions, [Answered("q", "base", (), (), "x", 0.0)], None, 0)
    assert found["base"][0].references == ()
