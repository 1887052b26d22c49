"""Answers made elsewhere are scored as if their engine had been here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift import cli
from raglift.errors import UserError
from tests.assess.conftest import SETTINGS, Rows, ScriptedEngine, node


def evaluate(answers: Any, questions: Any) -> Any:
    return raglift.evaluate_answers(answers, questions, SETTINGS)


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_file_scores_as_the_engine_that_wrote_it(rows: Rows, tmp_path: Path) -> None:
    retrieved = {f"Where is {i}?": [node(f"text {i}", f"{i}.md"), node("more", "0.md")] for i in range(6)}
    engine = ScriptedEngine(script={q: (f"at {i % 4}", found) for i, (q, found) in enumerate(retrieved.items())})
    there = raglift.evaluate({"mine": engine}, rows(6), settings=SETTINGS, quiet=True)
    written = [
        {
            "id": f"q{i}",
            "arm": "mine",
            "answer": f"at {i % 4}",
            "passages": [{"text": each.text, "id": each.node_id} for each in found],
        }
        for i, found in enumerate(retrieved.values())
    ]
    here = evaluate(lines(tmp_path / "answers.jsonl", written), rows(6))
    assert here.scores == there.scores
    assert [item.contexts for item in here.answered] == [item.contexts for item in there.answered]


def test_documents_by_id_errors_and_missing_lines(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        {"id": "q0", "documents": ["0.md"], "answer": "at 0", "seconds": 1.5},
        {"id": "q1", "error": "timed out"},
        {"id": "elsewhere", "answer": "x"},
    ]
    found = evaluate(given, rows(3))
    reasons = {s.qa_id: s.reason for s in found.scores.values if s.metric == "exact_match"}
    assert reasons == {"q0": "", "q1": "timed out", "q2": "no answer"}
    assert {s.qa_id: s.value for s in found.scores.values if s.metric == "R@5"} == {"q0": 1.0, "q1": None, "q2": None}
    assert found.as_dict()["response"]["questions"]["answers"]["seconds"]["value"] == 1.5
    shown = capsys.readouterr().err
    assert "1 answers are to none of the questions ('elsewhere')" in shown
    assert "no line for 1 of 3" in shown


def test_passages_as_texts_are_told_by_quotes() -> None:
    asked = [{"id": "q", "question": "When?", "answer": "dusk", "quotes": ["The keeper trims the wick at dusk."]}]
    found = evaluate([{"id": "q", "passages": ["Gulls.", "Later: The keeper trims the wick at dusk. Then"]}], asked)
    assert {s.metric: s.value for s in found.scores.values} == {"nDCG@10": pytest.approx(0.6309, abs=1e-3), "R@5": 1.0}


def test_arms_of_one_file_are_compared_with_its_first(rows: Rows) -> None:
    given = [{"id": f"q{i}", "arm": arm, "answer": f"at {i}" if arm == "b" else "?"} for arm in "ab" for i in range(9)]
    verdict = next(row for row in evaluate(given, rows(9)).as_dict()["verdicts"] if row["metric"] == "exact_match")
    assert (verdict["arm"], verdict["against"], verdict["decision"]) == ("b", "a", "better")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "a"}, "id: Field required"),
        ({"id": "q0", "anwser": "a"}, "anwser"),
        ({"id": "q0", "answer": ["a"]}, "answer"),
        ({"id": "q0", "passages": [3]}, "passages.0"),
        (["q0"], "no answer"),
        ({"id": "other", "answer": "a"}, "None of the answers"),
    ],
)
def test_a_line_that_is_no_answer_is_named(row: Any, message: str, rows: Rows, tmp_path: Path) -> None:
    path = lines(tmp_path / "answers.jsonl", [row])
    with pytest.raises(UserError) as caught:
        evaluate(path, rows(1))
    assert message in str(caught.value)
    assert "answers.jsonl:1" in str(caught.value) or "None of" in message


def test_one_question_is_answered_once_an_arm(rows: Rows, tmp_path: Path) -> None:
    twice = [{"id": "q0", "answer": "a"}, {"id": "q0", "answer": "b"}]
    with pytest.raises(UserError, match=r"answers.jsonl:2 answers 'q0' a second time"):
        evaluate(lines(tmp_path / "answers.jsonl", twice), rows(1))
    with pytest.raises(UserError, match="cannot be read"):
        evaluate(tmp_path / "none.jsonl", rows(1))


def test_from_the_command_line(rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = lines(tmp_path / "questions.jsonl", rows(3))
    answers = lines(tmp_path / "mine.jsonl", [{"id": f"q{i}", "documents": [f"{i}.md", "2.md"]} for i in range(3)])
    command = ["evaluate", "--answers", str(answers), "--questions", str(asked), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["retrieval"]["questions"]["mine"]["Success@5"]["value"] == 1.0
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == found
    assert cli.main(command) == 0
    assert "retrieval, questions questions [95% interval]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--answers", "a.jsonl"], "--questions is missing"),
        (["run", "--answers", "a.jsonl", "--questions", "q"], "'run' has no place here"),
        (["--answers", "a.jsonl", "--questions", "q", "--model", "m"], "--model does not go with --answers"),
        (["--data", "set"], "RUN is missing"),
        (["run", "--data", "set", "--questions", "q"], "--questions does not go with --data"),
        (["--endpoint", "http://x", "--questions", "q"], "--model is missing"),
        (["--endpoint", "http://x", "--questions", "q", "--model", "m", "--workers", "0"], "make no progress"),
        (["--endpoint", "ftp://x", "--questions", "q", "--model", "m"], "is no address"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_command_says_whether_it_goes_on(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raglift.assess.engines.evaluate_engines", interrupt)
    more = ["--out", str(tmp_path)] if kept else []
    assert cli.main(["evaluate", "--endpoint", "http://x/v1", "--model", "m", "--questions", "q", *more]) == 130
    assert ("goes on from where it stopped" in capsys.readouterr().err) == kept
