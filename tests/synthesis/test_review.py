"""Questions out to a person, and the person's verdicts back in."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import cli
from raglift.errors import UserError
from raglift.job import Job
from raglift.progress import Progress
from raglift.records import QAPair, read_jsonl
from raglift.synthesis import review
from raglift.synthesis.review_file import COLUMNS, Row, read_rows, write_rows
from tests.exchange.conftest import CHUNKS, SYNTHETIC, make_run

TEXT_OF = {chunk.id: chunk.text for chunk in CHUNKS}
LOW, HIGH, KITE, VOLES = (question.id for question in SYNTHETIC)
endings = pytest.mark.parametrize("ending", [".csv", ".jsonl"])


def applied(rows: Sequence[Row], folder: Path) -> tuple[list[QAPair], dict[str, int]]:
    """What the stage writes: the questions, and the funnel as reason -> count."""
    folder.mkdir(exist_ok=True)
    review.build(rows, SYNTHETIC, TEXT_OF, Job(folder, 0, Progress(quiet=True)))
    funnel = json.loads((folder / "funnel.json").read_text())
    assert {row["stage"] for row in funnel} == {"review"}
    return read_jsonl(folder / "questions.jsonl", QAPair), {row["reason"]: row["count"] for row in funnel}


@endings
def test_out_and_back_through_the_command(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "ws")
    out = tmp_path / f"review{ending}"
    words = ["review", "small", "--workspace", str(tmp_path / "ws"), "--out", str(out)]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "questions": 4}
    rows = read_rows(out)
    assert [replace(row, line=0) for row in rows] == review.rows_for(SYNTHETIC, TEXT_OF)
    assert (rows[0].question, rows[0].answer, rows[0].kind, rows[0].split) == (
        "When is low water?",
        "six",
        "factoid",
        "train",
    )
    assert rows[0].evidence == "Low water is at six."
    found, funnel = applied(rows, tmp_path / "job")
    assert found == list(SYNTHETIC)
    assert funnel["questions not reviewed"] == 4
    assert cli.main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_rejected_corrected_accepted(tmp_path: Path) -> None:
    rows = [
        Row(LOW, verdict="reject", note="trivial"),
        Row(HIGH, verdict="accept", new_question="When is the water highest?"),
        Row(KITE, new_answer="in oaks | oak trees"),
        Row(VOLES, verdict="accept"),
    ]
    found, funnel = applied(rows, tmp_path)
    assert [(q.question, q.answers) for q in found] == [
        ("When is the water highest?", ("noon",)),
        ("Where does the kite nest?", ("in oaks", "oak trees")),
        ("What does the kite eat?", ("voles",)),
    ]
    assert funnel == {
        "factoid rejected: trivial": 1,
        "questions corrected": 2,
        "corrected answers that do not stand in their passage": 1,
        "questions accepted": 1,
        "questions kept, dev": 1,
        "questions kept, test": 2,
    }
    high, kite, voles = found
    assert voles == SYNTHETIC[3]
    assert {high.id, kite.id}.isdisjoint(question.id for question in SYNTHETIC)
    assert (high.evidence, high.split, high.origin) == (SYNTHETIC[1].evidence, "dev", "synthetic")
    assert (high.scores, kite.scores) == ({}, SYNTHETIC[2].scores)


def test_a_review_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    rows = [Row(LOW, verdict="reject"), Row(HIGH), Row(KITE, new_answer="oak")]
    write_rows(tmp_path / "a.csv", rows)
    write_rows(tmp_path / "b.jsonl", rows[::-1])
    one, two = read_rows(tmp_path / "a.csv"), read_rows(tmp_path / "b.jsonl")
    assert review.key_of(one) == review.key_of(two) == review.key_of(rows) == review.key_of([rows[0], rows[2]])
    for name, changed in (("one", one), ("two", two)):
        applied(changed, tmp_path / name)
    for file in ("questions.jsonl", "review.jsonl", "funnel.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    for other in (Row(LOW), Row(LOW, verdict="accept"), Row(LOW, verdict="reject", note="x"), Row(LOW, new_answer="7")):
        assert review.key_of([other, *rows[1:]]) != review.key_of(rows)


def test_a_second_review_begins_with_the_first(tmp_path: Path) -> None:
    before = [Row(LOW, verdict="reject", note="no"), Row(HIGH, new_question="When is the water highest?")]
    make_run(tmp_path / "ws", rows=before)
    assert cli.main(["review", "small", "--workspace", str(tmp_path / "ws"), "--out", str(tmp_path / "r.csv")]) == 0
    rows = {row.id: row for row in read_rows(tmp_path / "r.csv")}
    assert set(rows) == {question.id for question in SYNTHETIC}
    assert (rows[LOW].verdict, rows[LOW].note, rows[LOW].question) == ("reject", "no", "When is low water?")
    assert (rows[HIGH].new_question, rows[HIGH].question) == ("When is the water highest?", "When is high water?")


def test_what_does_not_fit_the_run_is_said() -> None:
    said: list[str] = []
    rows = [Row("gone", line=2), Row(LOW, question="When is low  water?", line=3), Row(HIGH, answer="12:00", line=4)]
    review.check(rows, SYNTHETIC, "r.csv", said.append)
    assert said[0] == "r.csv: 1 of 3 rows are about questions that this run does not have."
    assert "changed in place on line 4. That has no effect" in said[1]
    with pytest.raises(UserError, match="about none of this run's questions"):
        review.check(rows[:1], SYNTHETIC, "r.csv", said.append)
    with pytest.raises(UserError, match="rejects every question"):
        review.check([Row(q.id, verdict="reject") for q in SYNTHETIC], SYNTHETIC, "r.csv", said.append)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(str.strip)
risky = st.sampled_from(["=1+1", "'=1", "''@x", "+7", "-", "a\r\nb", 'say "hi"; or, not', "\u6f6e", "q-1", "3-4", "'"])


@st.composite
def some_rows(draw: st.DrawFn) -> list[Row]:
    cells = texts | risky
    ids = draw(st.lists(st.text("0123456789abcdef", min_size=1, max_size=16), unique=True, min_size=1, max_size=4))
    rows = []
    for identity in ids:
        verdict = draw(st.sampled_from(["accept", "reject", ""]))
        news = [draw(cells) if verdict != "reject" else "" for _ in range(2)]
        shown = [draw(cells) for _ in range(5)]
        rows.append(Row(identity, *shown, verdict, *news, draw(cells)))
    return rows


@endings
@given(rows=some_rows())
def test_every_text_survives_the_file(ending: str, rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("review") / f"r{ending}"
    write_rows(path, rows)
    assert [replace(row, line=0) for row in read_rows(path)] == rows


def test_a_spreadsheet_runs_no_formula_and_keeps_ids(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.csv", [Row("1234567890123456", '=HYPERLINK("x")', "@SUM(1)", note="-1")])
    assert (tmp_path / "r.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["id"] == "q-1234567890123456"
    assert (row["question"][0], row["answer"][0], row["note"]) == ("'", "'", "'-1")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_what_spreadsheets_do_to_a_file(tmp_path: Path, mark: str) -> None:
    """Another separator, capitals, columns in another order and of one's own, empty lines at the end."""
    lines = ["Reviewer|Verdict|ID|New_Answer", f"me|REJECT |q-{LOW}|", f'me||q-{KITE}|"in\n oaks"', "|||", ""]
    (tmp_path / "r.csv").write_bytes("\r\n".join(lines).replace("|", mark).encode("utf-8-sig"))
    rows = read_rows(tmp_path / "r.csv")
    assert [(row.id, row.verdict, row.new_answer, row.line) for row in rows] == [
        (LOW, "reject", "", 2),
        (KITE, "", "in\n oaks", 3),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_ends_of_lines_that_spreadsheets_write(tmp_path: Path, end: str) -> None:
    """Excel's "CSV (Macintosh)" ends lines with a carriage return alone."""
    lines = ["id,verdict,new_answer", f"q-{LOW},reject,", f"q-{KITE},accept,in oaks", ""]
    (tmp_path / "r.csv").write_bytes(end.join(lines).encode())
    rows = read_rows(tmp_path / "r.csv")
    assert [(row.id, row.verdict, row.new_answer, row.line) for row in rows] == [
        (LOW, "reject", "", 2),
        (KITE, "accept", "in oaks", 3),
    ]


def test_a_cell_may_be_longer_than_pythons_own_limit(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.csv", [Row(KITE, "Which bird?", evidence="word " * 40_000)])
    assert [len(row.evidence) for row in read_rows(tmp_path / "r.csv")] == [199_999]


HEAD = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("r.csv", f"{HEAD}\nq-1,,,,,,acept,,,\n", 2, "verdict is 'acept'"),
        ("r.csv", f'{HEAD}\nq-1,"two\nlines",,,,,,,,\nq-1,,,,,,,,,\n', 4, "id '1' stands on line 2 too"),
        ("r.csv", f"{HEAD}\n,a question,,,,,,,,\n", 2, "no id"),
        ("r.csv", f"{HEAD}\nq-1,,,,,,reject,better?,,\n", 2, "both rejected and corrected"),
        ("r.csv", f"{HEAD}\nq-1,,,,,,,,,,too much\n", 2, "11 cells under 10"),
        ("r.csv", f'{HEAD}\nq-1,"open\n', 2, "not CSV"),
        ("r.csv", "id,question\nq-1,x\n", 1, "no column 'verdict'"),
        ("r.csv", "", 1, "no column 'id'"),
        ("r.csv", HEAD.encode() + b"\nq-1,\xe9,,,,,,,,\n", 2, "Byte"),
        ("r.jsonl", '{"id": "1", "verdict": ""}\n{"id": 2}\n', 2, "id must be text"),
        ("r.jsonl", '\n["id"]\n', 2, "not a JSON object"),
        ("r.jsonl", '{"id": "1"\n', 1, "not JSON"),
        ("r.jsonl", '{"id": "1", "note": "\\ud800"}\n', 1, "not JSON"),
        ("r.jsonl", '{"id": "1", "new_answer": ["a"]}\n', 1, "new_answer must be text"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, name: str, text: Any, line: int, said: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / name)
    assert f"{tmp_path / name}:{line} " in caught.value.what
    assert said.lower() in caught.value.why.lower()
    assert caught.value.fix


def test_files_that_are_no_review(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"ends in \.csv or \.jsonl"):
        read_rows(tmp_path / "r.xlsx")
    with pytest.raises(UserError, match=r"ends in \.csv or \.jsonl"):
        write_rows(tmp_path / "r.xlsx", [])


def test_an_unanswerable_question_gets_no_answer(tmp_path: Path) -> None:
    asked = replace(SYNTHETIC[0], id="u", answers=(), evidence=(), kind="unanswerable", answerable=False)
    said: list[str] = []
    row = Row("u", new_answer="at nine", line=7)
    review.check([row], [asked], "r.csv", said.append)
    assert len(said) == 1
    assert "line 7" in said[0]
    assert review.corrected(asked, row) == asked
    other = review.corrected(asked, replace(row, new_question="Who runs the ferry?"))
    assert (other.question, other.answers, other.answerable) == ("Who runs the ferry?", (), False)
