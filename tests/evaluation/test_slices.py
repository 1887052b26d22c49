"""Every dimension parts a question set, and by what it says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.arms import arm_named
from raglift.evaluation.slices._base import NO_EVIDENCE, WHOLE_DOCUMENT, Facts, thirds
from raglift.evaluation.slices.difficulty import EASY, HARD, MIDDLE
from raglift.evaluation.slices.document import ENOUGH, MOST, REST
from raglift.evaluation.slicing import dimensions
from raglift.records import Chunk, Document, Evidence, QAPair

TEXT = "The ferry was built by Miller. It carries forty cars across the lake every morning."
DOCUMENTS = {f"d{i}": Document(f"d{i}", f"{i}.md", TEXT) for i in range(40)}
CHUNKS = {f"c{i}": Chunk(f"c{i}", f"d{i}", TEXT, 0, len(TEXT)) for i in range(40)}


def question(qa_id: str, text: str = "Who?", *evidence: Evidence, kind: str = "factoid") -> QAPair:
    return QAPair(qa_id, text, ("yes",), evidence, kind, "test", "human")


def by(name: str, *questions: QAPair, words_alone: dict[str, list[str]] | None = None) -> dict[str, str]:
    return dimensions()[name].slices(Facts(questions, DOCUMENTS, CHUNKS, words_alone))


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    number, start = draw(st.integers(0, 39)), draw(st.integers(0, len(TEXT) - 1))
    end = draw(st.integers(start, len(TEXT)))
    chunk = draw(st.sampled_from([f"c{number}", None]))
    return Evidence(f"d{number}", chunk, start, end, draw(st.integers(0, 2)))


@st.composite
def sets(draw: st.DrawFn) -> Facts:
    size = draw(st.integers(0, 30))
    texts = st.text("ab \n?", max_size=20)
    asked = [
        question(f"q{i}", draw(texts), *draw(st.lists(evidence(), max_size=3)), kind=draw(st.text("ab", max_size=1)))
        for i in range(size)
    ]
    found = st.lists(st.sampled_from(sorted(CHUNKS)), max_size=20)
    alone = draw(st.none() | st.just({each.id: draw(found) for each in asked}))
    return Facts(asked, DOCUMENTS, CHUNKS, alone)


@given(sets())
def test_the_slices_of_a_dimension_part_the_questions(facts: Facts) -> None:
    for name, dimension in dimensions().items():
        found = dimension.slices(facts)
        assert all(found.values()), f"{name} has a slice without a name"
        if found or name != "difficulty":
            assert set(found) == {each.id for each in facts.questions}, name


@given(st.dictionaries(st.text(), st.integers(0, 50), min_size=1))
def test_thirds_are_in_order_and_never_part_equal_values(values: dict[str, int]) -> None:
    found = thirds(values, "")
    groups = {name: {values[qa_id] for qa_id in values if found[qa_id] == name} for name in found.values()}
    assert len(groups) <= 3
    ordered = sorted(groups.values(), key=min)
    assert all(max(low) < min(high) for low, high in pairwise(ordered))


def test_thirds_are_thirds_and_named_by_their_ends() -> None:
    found = thirds({str(i): i for i in range(1, 10)}, " words")
    assert list(found.values()) == ["up to 3 words"] * 3 + ["4 to 6 words"] * 3 + ["7 words or more"] * 3
    assert set(thirds({"a": 5, "b": 5}, " words").values()) == {"5 words"}
    assert set(thirds({"a": 1, "b": 9}, "%").values()) == {"1%", "9%"}
    assert thirds({}, "%") == {}


def test_kind_and_length_of_the_question() -> None:
    asked = [question(f"q{i}", "word " * i, kind="claim" if i < 3 else "") for i in range(1, 7)]
    assert list(by("kind", *asked).values()) == ["claim"] * 2 + ["no kind"] * 4
    assert by("question_length", *asked)["q1"] == "up to 2 words"
    assert by("question_length", *asked)["q6"] == "5 words or more"


def test_evidence_is_measured_where_it_has_a_text() -> None:
    short = question("short", "Who?", Evidence("d0", "c0", 0, 9))  # "The ferry"
    twice = question("twice", "Who?", Evidence("d1", "c1", 0, 9), Evidence("d1", "c1", 4, 13))  # "The ferry was"
    passage = question("passage", "Who?", Evidence("d2", "c2"))  # no characters told: the whole passage
    whole, none = question("whole", "Who?", Evidence("d3")), question("none")
    irrelevant = question("irrelevant", "Who?", Evidence("d3", "c3", 0, 9, grade=0))
    found = by("evidence_length", short, twice, passage, whole, none, irrelevant)
    assert [found[name] for name in ("short", "twice", "passage")] == ["2 words", "3 words", "15 words"]
    assert [found[name] for name in ("whole", "none", "irrelevant")] == [WHOLE_DOCUMENT, NO_EVIDENCE, NO_EVIDENCE]


def test_wording_is_the_share_of_the_questions_words() -> None:
    own = question("own", "Which vessel?", Evidence("d0", "c0"))
    half = question("half", "Ferry MILLER, whose vessel?", Evidence("d0", "c0"))
    same = question("same", "The ferry, the lake", Evidence("d0", "c0"))
    found = by("wording", own, half, same, question("none"))
    assert [found[name] for name in ("own", "half", "same", "none")] == ["0%", "50%", "100%", NO_EVIDENCE]


def test_difficulty_is_where_words_alone_have_the_first_right_passage() -> None:
    asked = [question(f"q{i}", "Who?", Evidence("d0", "c0"), Evidence("d1", "c1")) for i in range(4)]
    document = question("document", "Who?", Evidence("d1"))
    wrong = [f"c{i}" for i in range(10, 30)]
    alone = {"q0": ["c1", *wrong], "q1": [*wrong[:9], "c0"], "q2": [*wrong[:10], "c0"], "q3": []}
    again = Chunk("again", "d11", TEXT, 0, 3)
    facts = Facts(
        [*asked, document, question("none")],
        DOCUMENTS,
        CHUNKS | {"again": again},
        alone | {"document": ["c11", *["again"] * 12, "c1"]},  # the second document, whatever its passages' places
    )
    found = dimensions()["difficulty"].slices(facts)
    assert [found[each.id] for each in asked] == [EASY, MIDDLE, HARD, HARD]
    assert found["document"] == MIDDLE
    assert found["none"] == NO_EVIDENCE


@pytest.mark.parametrize(("arm", "fits"), [("tuned_both", True), ("tuned_hybrid", False), ("bm25", False)])
def test_what_has_bm25_in_it_is_not_cut_by_bm25(arm: str, fits: bool) -> None:
    assert (dimensions()["difficulty"].not_for(arm_named(arm)) == "") == fits
    assert dimensions()["wording"].not_for(arm_named(arm)) == ""


def test_documents_with_enough_questions_stand_alone() -> None:
    def about(number: int, count: int) -> list[QAPair]:
        return [question(f"{number}/{i}", "Who?", Evidence(f"d{number}", f"c{number}")) for i in range(count)]

    asked = [*about(0, ENOUGH), *about(1, ENOUGH - 1), question("none")]
    found = by("document", *asked)
    assert (found["0/0"], found["1/0"], found["none"]) == ("0.md", REST, NO_EVIDENCE)
    many = [each for number in range(MOST + 3) for each in about(number, ENOUGH + number)]
    named = set(by("document", *many).values())
    assert named == {f"{number}.md" for number in range(3, MOST + 3)} | {REST}, "those with most questions are taken"


def test_two_documents_of_one_name_stay_apart() -> None:
    asked = [question(f"{i}", "Who?", Evidence(f"d{i % 2}", f"c{i % 2}")) for i in range(2 * ENOUGH)]
    same = {name: Document(name, "same.md", TEXT) for name in ("d0", "d1")}
    found = dimensions()["document"].slices(Facts(asked, same, CHUNKS))
    assert set(found.values()) == {"same.md (d0)", "same.md (d1)"}


@pytest.mark.parametrize("source", [REST, NO_EVIDENCE])
def test_a_document_that_is_called_as_a_slice_is_stays_apart(source: str) -> None:
    asked = [question(f"{i}", "Who?", Evidence("d0", "c0")) for i in range(ENOUGH)]
    facts = Facts([*asked, question("none")], {"d0": Document("d0", source, TEXT)}, CHUNKS)
    assert dimensions()["document"].slices(facts)["0"] == f"{source} (d0)"
