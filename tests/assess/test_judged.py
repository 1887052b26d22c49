"""Questions come from anywhere, and what an engine retrieves is told by ids, file names, texts or quotes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raglift
from raglift.assess.engines import read_questions
from raglift.assess.judged import from_records
from raglift.assess.matching import Matcher
from raglift.assess.ranking import UNMATCHED
from raglift.assess.replies import Passage
from raglift.corpus.documents import document
from raglift.errors import UserError
from raglift.records import Chunk, Evidence, QAPair
from tests.assess.conftest import SETTINGS, Rows, ScriptedRetriever, node

SENTENCE = "The lighthouse keeper trims the wick at dusk and again at midnight."
OTHER = "Nobody has counted the gulls of the northern harbour since the war."


def scored(questions: Any, script: dict[str, Any], metric: str = "R@5") -> dict[str, float | None]:
    found = raglift.evaluate(ScriptedRetriever(script), questions, settings=SETTINGS, quiet=True)
    return {score.qa_id: score.value for score in found.scores.values if score.metric == metric}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    write(folder / "corpus.jsonl", [{"_id": "d1", "text": SENTENCE}, {"_id": "d2", "text": OTHER}])
    write(folder / "queries.jsonl", [{"_id": "q1", "text": "When?"}, {"_id": "q2", "text": "Who?"}])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n")
    return folder


@pytest.mark.parametrize(
    "passage",
    [
        node("x", node_id="1.md"),
        node("x", document="1.md"),
        node("x", source="1.md"),
        node("x", file_name="1.md"),
        node("x", file_path="/home/me/docs/1.md"),
        node("x", file_path="C:\\docs\\1.md"),
    ],
)
def test_a_document_is_known_by_any_name_that_readers_give(rows: Rows, passage: Any) -> None:
    assert scored(rows(2)[1:], {"Where is 1?": [passage]}) == {"q1": 1.0}


def test_a_file_in_a_folder_is_known_by_the_end_of_its_path() -> None:
    asked = [{"id": "q", "question": "When?", "topics": ["guides/intro.md"]}]
    right, wrong = node("x", file_path="/srv/docs/guides/intro.md"), node("x", file_path="/srv/docs/api/intro.md")
    assert scored(asked, {"When?": [right]}) == {"q": 1.0}
    assert scored([*asked, {"id": "r", "question": "Who?", "topics": ["a"]}], {"When?": [wrong], "Who?": ["a"]}) == {
        "q": 0.0,
        "r": 1.0,
    }


def test_a_quote_is_found_whatever_the_splitter_did_to_white_space() -> None:
    asked = [{"id": "q", "question": "When?", "quotes": [SENTENCE]}]
    broken = SENTENCE.replace(" ", "\n   ")
    assert scored(asked, {"When?": [node(OTHER), node(f"Before. {broken} After.")]}, "nDCG@10") == {
        "q": pytest.approx(0.6309, abs=1e-3)
    }


def test_the_same_quote_again_takes_a_rank_and_brings_nothing() -> None:
    asked = [{"id": "q", "question": "When?", "quotes": [SENTENCE, OTHER]}]
    settings = {**SETTINGS, "retrieval": ["P@2", "R@2", "R@3"]}
    retriever = ScriptedRetriever({"When?": [node(SENTENCE), node(f"{SENTENCE} More."), node(OTHER)]})
    found = raglift.evaluate(retriever, asked, settings=settings, quiet=True)
    assert {score.metric: score.value for score in found.scores.values} == {"P@2": 0.5, "R@2": 0.5, "R@3": 1.0}


def test_a_passage_that_holds_two_quotes_brings_both() -> None:
    asked = [{"id": "q", "question": "When?", "quotes": [SENTENCE, OTHER]}]
    assert scored(asked, {"When?": [node(f"{OTHER} {SENTENCE}")]}) == {"q": 1.0}


def test_ids_that_do_not_fit_are_no_bad_ranking(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    script = {f"Where is {i}?": [node("some text", node_id=f"node-{i}")] for i in range(3)}
    found = raglift.evaluate(ScriptedRetriever(script), rows(3), settings=SETTINGS)
    assert {(score.value, score.reason) for score in found.scores.values} == {(None, UNMATCHED)}
    assert "ids of the set's documents" in capsys.readouterr().err
    script["Where is 2?"] = ["2.md"]  # one that fits shows that the others are wrong, not unknown
    assert scored(rows(3), script) == {"q0": 0.0, "q1": 0.0, "q2": 1.0}


def test_a_beir_folder_knows_its_documents_by_id_and_by_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = beir(tmp_path / "set")
    script = {"When?": [node("keeper trims the wick at\ndusk", node_id="mine")], "Who?": ["d1", node(OTHER)]}
    assert scored(str(folder), script, "nDCG@10") == {"q1": 1.0, "q2": pytest.approx(0.6309, abs=1e-3)}
    script["When?"] = [node("A text of another corpus altogether.", node_id="mine"), "d1"]
    found = raglift.evaluate(ScriptedRetriever(script), folder, settings=SETTINGS)
    assert "1 of 4 passages are of none of the set's documents" in capsys.readouterr().err
    assert found.scores.question_set == "set"


def test_a_short_text_names_no_document(tmp_path: Path) -> None:
    matcher = Matcher(read_questions(beir(tmp_path / "set")))
    question = read_questions(beir(tmp_path / "again")).questions[0]
    assert not matcher.match(Passage("the wick"), question).known
    assert matcher.match(Passage("trims the wick at dusk and"), question).units == ("d1",)


def test_a_chunk_of_another_splitter_counts_where_it_holds_the_sentence() -> None:
    page = document("a.md", f"First. {SENTENCE} {OTHER} Last.", {})
    start = page.text.index("trims")
    chunk = Chunk("c1", page.id, page.text[:90], 0, 90)
    asked = QAPair("q", "When?", ("dusk",), (Evidence(page.id, "c1", start, start + 14),), "k", "test", "synthetic")
    judged = from_records("set", [asked], [page], [chunk])
    match = Matcher(judged).match
    assert match(Passage("x", ("c1",)), asked).units == ("c1",)
    assert match(Passage(f"Last words. {SENTENCE}"), asked).units == ("c1",)
    assert match(Passage(OTHER), asked).units != ("c1",)
    assert match(Passage(OTHER), asked).known  # of a known document, and not relevant
    assert match(Passage("trims the wick"), asked).units != ("c1",)  # the answer's words alone are no evidence


@given(st.text(alphabet="ab \n", max_size=30), st.lists(st.text(alphabet="ab./", min_size=1, max_size=6), max_size=3))
def test_a_passage_always_has_a_rank(text: str, names: list[str]) -> None:
    judged = read_questions(
        [{"id": "q", "question": "?", "quotes": ["ab"]}, {"id": "r", "question": "!", "topics": ["a"]}]
    )
    matcher = Matcher(judged)
    for question in judged.questions:
        found = matcher.match(Passage(text, tuple(names)), question)
        assert len(found.units) >= 1
        assert found.units == matcher.match(Passage(text.replace(" ", "\n"), tuple(names)), question).units


def test_records_dictionaries_and_files_say_the_same(rows: Rows, tmp_path: Path) -> None:
    by_row = read_questions(rows(3))
    assert read_questions(write(tmp_path / "questions.jsonl", rows(3))) == by_row
    records = list(by_row.questions)
    assert read_questions(records).questions == by_row.questions
    assert read_questions([asdict(record) for record in records]).questions == by_row.questions
    assert read_questions(by_row) is by_row


def test_a_question_without_an_id_gets_one_from_its_text() -> None:
    one, two = ({"question": text, "answer": "a"} for text in ("Who?", "When?"))
    assert len({question.id for question in read_questions([one, two]).questions}) == 2
    assert read_questions([one]).questions[0].id == read_questions([one]).questions[0].id


def test_raglifts_exchange_lines_are_read(tmp_path: Path) -> None:
    line = {"id": "q", "question": "When?", "answers": ["dusk"], "contexts": [SENTENCE], "context_ids": ["p1"]}
    judged = read_questions(write(tmp_path / "set.jsonl", [line]))
    assert judged.questions[0].answers == ("dusk",)
    assert scored(judged, {"When?": [node(SENTENCE)]}) == {"q": 1.0}
    assert scored(judged, {"When?": [node("x", node_id="p1")]}) == {"q": 1.0}


def test_an_unanswerable_question_is_said_to_be_one() -> None:
    asked = [{"id": "q", "question": "When?", "answer": None}, {"id": "r", "question": "Who?", "answer": "me"}]
    assert [question.answerable for question in read_questions(asked).questions] == [False, True]


@pytest.mark.parametrize(
    ("rows_given", "message"),
    [
        ([], "no question"),
        ([{"question": "When?"}], "nothing to judge by"),
        ([{"question": "  ", "answer": "a"}], "is empty"),
        ([{"answer": "a"}], "question"),
        ([{"question": "When?", "answer": 3}], "answer"),
        ([{"question": "When?", "evidence": [{"file": "a"}]}], "no question"),
        ([{"id": "q", "question": "A?", "answer": "a"}, {"id": "q", "question": "B?", "answer": "b"}], "Two questions"),
        ([{"question": "A?", "evidence": []}, {"question": "B?", "topics": ["a"]}], "two ways"),
        (["When?"], "no question"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_its_place(rows_given: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_questions(rows_given)
    assert message in str(caught.value)
    if rows_given:
        with pytest.raises(UserError) as caught:
            read_questions(write(tmp_path / "bad.jsonl", rows_given))
        assert message in str(caught.value)


def test_what_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no questions"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(UserError, match="cannot be read"):
        read_questions(tmp_path / "latin.jsonl")
