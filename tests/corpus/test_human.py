from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.documents import document
from raglift.corpus.human import human_pairs, warn_of_dropped
from raglift.corpus.judged import HumanQuestion
from raglift.records import Chunk, Document, Evidence

DOCUMENTS = [
    replace(document(f"d{n}", f"This is fact number {n}. It is said once."), group=f"g{n // 2}") for n in range(30)
]
CHUNKS = [Chunk(f"c{n}", doc.id, doc.text, 0, len(doc.text)) for n, doc in enumerate(DOCUMENTS)]


def quoting(name: str, *numbers: int) -> HumanQuestion:
    return HumanQuestion(name, f"{name}?", ("a",), {}, tuple(f"fact number {n}." for n in numbers))


@given(
    asked=st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=2), min_size=1, max_size=20),
    share=st.sampled_from([0.2, 1 / 3, 0.5]),
    seed=st.integers(0, 3),
)
def test_questions_that_share_a_document_or_group_share_a_split(
    asked: list[list[int]], share: float, seed: int
) -> None:
    questions = [quoting(f"q{i}", *numbers) for i, numbers in enumerate(asked)]
    pairs, dropped = human_pairs(questions, DOCUMENTS, CHUNKS, share, seed)
    assert not dropped
    assert [pair.id for pair in pairs] == [question.id for question in questions]
    group = {doc.id: doc.group for doc in DOCUMENTS}
    splits: dict[str, set[str]] = {}
    for pair in pairs:
        assert pair.evidence
        for item in pair.evidence:
            splits.setdefault(group[item.document_id], set()).add(pair.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {pair.split for pair in pairs} <= {"dev", "test"}
    assert human_pairs(questions, DOCUMENTS, CHUNKS, share, seed)[0] == pairs


def test_both_splits_are_used_in_proportion() -> None:
    questions = [quoting(f"q{n}", n) for n in range(30)]
    pairs, _ = human_pairs(questions, DOCUMENTS, CHUNKS, 1 / 3, 0)
    assert 8 <= sum(pair.split == "dev" for pair in pairs) <= 12


@given(
    asked=st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=2), min_size=1, max_size=20),
    held_out=st.sets(st.integers(0, 14)),
    share=st.sampled_from([0.2, 1 / 3, 0.5, 1.0]),
    seed=st.integers(0, 3),
)
def test_nothing_about_a_test_document_falls_into_dev(
    asked: list[list[int]], held_out: set[int], share: float, seed: int
) -> None:
    documents = _tested(held_out)
    pairs, _ = human_pairs([quoting(f"q{i}", *n) for i, n in enumerate(asked)], documents, CHUNKS, share, seed)
    assert len(pairs) == len(asked)
    tested = {doc.id for doc in documents if doc.split == "test"}
    for pair in pairs:
        assert pair.split == "test" or not tested & {item.document_id for item in pair.evidence}


def _tested(groups: set[int]) -> list[Document]:
    return [replace(doc, split="test") if n // 2 in groups else doc for n, doc in enumerate(DOCUMENTS)]


def test_a_question_that_another_joins_to_a_test_document_is_a_test_question() -> None:
    joined = [quoting("train", 2), quoting("both", 2, 4), quoting("test", 4)]
    for seed in range(5):
        alone, _ = human_pairs(joined[:1], _tested({2}), CHUNKS, 1.0, seed)
        assert [pair.split for pair in alone] == ["dev"]
        pairs, _ = human_pairs(joined, _tested({2}), CHUNKS, 1.0, seed)
        assert [pair.split for pair in pairs] == ["test"] * 3


def test_the_development_share_is_of_all_questions_as_far_as_the_others_go() -> None:
    questions = [quoting(f"q{n}", n) for n in range(30)]
    for tested, expected in ((set(range(5)), range(8, 13)), (set(range(12)), [6]), (set(range(15)), [0])):
        pairs, _ = human_pairs(questions, _tested(tested), CHUNKS, 1 / 3, 0)
        assert sum(pair.split == "dev" for pair in pairs) in expected


def test_without_a_development_share_all_are_test() -> None:
    pairs, _ = human_pairs([quoting("q", 1), quoting("r", 2)], DOCUMENTS, CHUNKS, 0.0, 0)
    assert [pair.split for pair in pairs] == ["test", "test"]


def test_a_question_that_the_documents_do_not_answer_stands_alone() -> None:
    questions = [HumanQuestion(f"u{n}", "?", (), {}, answerable=False) for n in range(12)]
    pairs, dropped = human_pairs(questions, DOCUMENTS, CHUNKS, 0.5, 0)
    assert not dropped
    assert all(not pair.answerable and pair.evidence == () for pair in pairs)
    assert {pair.split for pair in pairs} == {"dev", "test"}


@pytest.mark.parametrize(
    "question",
    [
        HumanQuestion("q", "?", ("a",), {}, ("not there",)),
        HumanQuestion("q", "?", ("a",), {"no such source": 1}),
        HumanQuestion("q", "?", ("a",), {}),
        HumanQuestion("q", "?", ("a",), {"d1": 1}, ("not there",)),  # the quotes decide
    ],
)
def test_a_question_whose_evidence_is_not_there_is_counted(question: HumanQuestion) -> None:
    pairs, dropped = human_pairs([question, quoting("good", 1)], DOCUMENTS, CHUNKS, 0.5, 0)
    assert [pair.id for pair in pairs] == ["good"]
    assert dropped == {"its evidence is not in these documents": 1}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["x"], "1 of 2 (x)"),
        (list("abcde"), "5 of 6 (a, b, c, d, e)"),
        (list("abcdefg"), "7 of 8 (a, b, c, d, e and 2 more)"),
    ],
)
def test_questions_that_are_left_out_are_said_by_name(bad: list[str], said: str) -> None:
    asked = [quoting("good", 1), *(HumanQuestion(name, "?", ("a",), {"no such source": 1}) for name in bad)]
    pairs, _ = human_pairs(asked, DOCUMENTS, CHUNKS, 0.5, 0)
    told: list[str] = []
    warn_of_dropped(asked, pairs, told.append)
    (text,) = told
    assert said in text
    assert "their evidence is not in these documents" in text


def test_nothing_is_said_where_no_question_is_left_out() -> None:
    asked = [quoting("good", 1), HumanQuestion("unanswerable", "?", (), {}, answerable=False)]
    pairs, _ = human_pairs(asked, DOCUMENTS, CHUNKS, 0.5, 0)
    told: list[str] = []
    warn_of_dropped(asked, pairs, told.append)
    assert told == []


def test_sources_judge_whole_documents_with_their_grades() -> None:
    question = HumanQuestion("q", "?", (), {"d3": 2, "no such source": 1, "d4": 1})
    (pair,), _ = human_pairs([question], DOCUMENTS, CHUNKS, 0.0, 0)
    three, four = DOCUMENTS[3], DOCUMENTS[4]
    assert pair.evidence == (
        Evidence(three.id, None, 0, len(three.text), 2),
        Evidence(four.id, None, 0, len(four.text), 1),
    )


def test_quotes_judge_passages_and_are_not_repeated() -> None:
    (pair,), _ = human_pairs([quoting("q", 3, 3)], DOCUMENTS, CHUNKS, 0.0, 0)
    (item,) = pair.evidence
    assert (item.document_id, item.chunk_id) == (DOCUMENTS[3].id, "c3")
    assert DOCUMENTS[3].text[item.start : item.end] == "fact number 3."
    assert (pair.kind, pair.origin, pair.answers) == ("human", "human", ("a",))


def test_documents_may_have_no_group_field_of_their_own() -> None:
    plain = [Document("x", "x", "fact number 1."), Document("y", "y", "fact number 2.")]
    chunks = [Chunk(doc.id, doc.id, doc.text, 0, len(doc.text)) for doc in plain]
    pairs, _ = human_pairs([quoting("a", 1), quoting("b", 2)], plain, chunks, 0.5, 0)
    assert len({pair.split for pair in pairs}) == 1  # one group: better together than a leak
