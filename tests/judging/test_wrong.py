"""What is made wrong is wrong, and what is put in other words is right."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.judging.items import Item
from raglift.judging.wrong import corrupt, phrased
from tests.judging.judges import known_items

KNOWN = known_items(30)


def item(answer: str, *references: str, context: str = "") -> Item:
    return Item("q", "?", answer, references, (context,), document="d")


@pytest.mark.parametrize("kind", ["wrong_answer", "number", "entity", "negation"])
@given(place=st.integers(0, 29), seed=st.integers(0, 1000))
def test_a_corruption_is_of_its_kind_and_says_no_reference(kind: str, place: int, seed: int) -> None:
    known = KNOWN[place]
    if kind == "entity":  # a change beside the reference would leave it right
        known = replace(known, references=(str(known.answer).split()[4],))
    made = corrupt(known, KNOWN, [kind], random.Random(seed))
    assert made is not None
    assert made.how == kind
    assert made.text != known.answer
    old, new = str(known.answer).split(), made.text.split()
    if kind == "wrong_answer":
        assert made.text in {other.answer for other in KNOWN}
    elif kind == "negation":
        assert new == [*old[:5], "was", "not", *old[6:]]
    else:
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(changed) == 1
        shown = " ".join([*known.contexts, *known.references]).replace(".", "").split()
        assert changed[0][1].strip(".") not in shown


def test_a_number_keeps_its_form() -> None:
    made = corrupt(item("It cost 1,250.75 dollars.", "1,250.75"), [], ["number"], random.Random(0))
    assert made is not None
    assert [c for c in made.text if not c.isdigit()] == [c for c in "It cost 1,250.75 dollars." if not c.isdigit()]


def test_what_is_changed_is_the_answer_wherever_it_stands() -> None:
    known = item("In 1990 the Hall of Ayr was built by Ann Lee.", "Ann Lee")
    others = [Item("o", "?", "Mia Moss did.", ("Mia Moss",), document="e")]
    made = {corrupt(known, others, ["entity"], random.Random(seed)) for seed in range(20)}
    assert {each.text for each in made if each} == {"In 1990 the Hall of Ayr was built by Mia Moss."}
    known = item("In 1990 it had 34 rooms.", "34")
    for seed in range(20):
        one = corrupt(known, others, ["number"], random.Random(seed))
        assert one is not None
        assert one.text.startswith("In 1990 it had ")


def test_another_answer_is_the_last_resort() -> None:
    kinds = ["wrong_answer", "number", "negation"]
    made = [corrupt(known, KNOWN, kinds, random.Random(n)) for n, known in enumerate(KNOWN)]
    drawn = [each.how for each in made if each is not None]
    assert len(drawn) == len(KNOWN)
    assert 0.1 < drawn.count("wrong_answer") / len(drawn) < 0.6
    unchangeable = item("blue", "blue")
    one = corrupt(unchangeable, KNOWN, kinds, random.Random(0))
    assert one is not None
    assert one.how == "wrong_answer"


def test_a_number_that_stands_in_the_passage_is_not_put_in() -> None:
    known = item("It took 5 days.", "5", context="Days 1, 2, 3, 4, 6, 8 and 9 were dry.")
    made = [corrupt(known, [], ["number"], random.Random(seed)) for seed in range(20)]
    assert {each.text for each in made if each is not None} == {"It took 7 days."}


def test_a_denial_is_denied() -> None:
    made = corrupt(item("It is not red.", "not red"), [], ["negation"], random.Random(0))
    assert made is not None
    assert made.text == "It is red."


def test_what_cannot_be_made_wrong_is_left_out() -> None:
    plain = item("blue", "blue")
    assert corrupt(plain, [plain], ["number", "entity", "negation", "wrong_answer"], random.Random(0)) is None


def test_another_answer_is_of_another_document_and_not_right() -> None:
    known = item("blue", "blue")
    same = Item("r", "?", "green", ("green",), document="d")
    right = Item("s", "?", "It was blue.", ("blue",), document="e")
    assert corrupt(known, [same, right], ["wrong_answer"], random.Random(0)) is None
    wrong = Item("t", "?", "a red one", ("red",), document="e")
    made = corrupt(known, [same, wrong], ["wrong_answer"], random.Random(0))
    assert made is not None
    assert made.text == "a red one"


def test_a_change_beside_the_answer_leaves_it_right() -> None:
    sentence = item("In 1990 the Hall was built by Ann Lee.", "Ann Lee")
    for seed in range(20):
        assert corrupt(sentence, KNOWN, ["number"], random.Random(seed)) is None


def test_right_answers_come_in_other_words() -> None:
    passage = "The keeper has a blue book. He writes the names into it."
    rng = random.Random(0)
    assert {phrased(["a blue book"], passage, rng) for _ in range(5)} == {"The keeper has a blue book."}
    assert {phrased(["a blue book", "A blue book.", "the book"], "", rng) for _ in range(5)} == {"the book"}
    assert phrased(["a blue book"], "Nothing of it.", rng) == "The answer is a blue book"
