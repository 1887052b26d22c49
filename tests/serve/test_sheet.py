"""From a run to a sheet, and from a reader's labels to agreement."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raglift import cli
from raglift.artifacts import Store, write_json
from raglift.errors import UserError
from raglift.serve.result import RunResult
from raglift.serve.sheet import take_labels, write_sheet
from raglift.workspace import STATE
from tests.judging.judges import ScriptedLLM, part
from tests.judging.runs import judged_run

ARMS = ("tuned_both", "base")


@pytest.fixture
def run(tmp_path: Path, tiny_llm: Path, tiny_embedding: Path) -> RunResult:
    return judged_run(tmp_path / "indexes", {"embedding": tiny_embedding, "llm": tiny_llm}, 40)


def right(answer: str, references: list[str]) -> bool:
    return references[0] in answer


def read(sheet: Path, out: Path, careless: int = 0) -> Path:
    """What a reader saves who knows the answers; every `careless`-th pair is taken for a tie."""
    lines = []
    for number, line in enumerate(sheet.with_suffix(".jsonl").read_text("utf-8").splitlines(), 1):
        pair = json.loads(line)
        first, second = (right(pair[side], pair["references"]) for side in "AB")
        label = "tie" if first == second or (careless and number % careless == 0) else "A" if first else "B"
        lines.append(json.dumps({"id": pair["id"], "label": label}))
    out.write_text("\n".join(lines), encoding="utf-8")
    return out


def prefers_right(prompt: str) -> str:
    year = part(prompt, "reference").split("\n")[0]
    first, second = (year in (text := part(prompt, f"answer_{side}")) and " not " not in text for side in "AB")
    return "B" if second and not first else "A"


def test_a_reader_prefers_the_arm_that_is_right_and_agrees_with_a_good_judge(run: RunResult, tmp_path: Path) -> None:
    run.judge(ScriptedLLM(prefers_right), questions=["pairwise"], quiet=True)
    made = write_sheet(run, ARMS, tmp_path / "sheet.html")
    assert (tmp_path / "sheet.html").read_text("utf-8").count("<article>") == len(made.pairs)
    found = take_labels(run, read(tmp_path / "sheet.html", tmp_path / "l.jsonl"), "ann")
    (row,) = found["preferred"]
    assert (row["arm"], row["against"], row["n"]) == (*ARMS, len(made.pairs))
    assert row["wins"] > 2 * row["losses"]
    assert 0.5 < row["ci_low"] < row["value"] < row["ci_high"]
    assert found["agreement"] == [{"with": "judge scripted", "alpha": 1.0, "n": len(made.pairs)}]

    other = take_labels(run, read(tmp_path / "sheet.html", tmp_path / "m.jsonl", careless=6), "bob")
    alphas = {each["with"]: each["alpha"] for each in other["agreement"]}
    assert set(alphas) == {"judge scripted", "reader ann"}
    assert 0.2 < alphas["reader ann"] == alphas["judge scripted"] < 1


def test_sheets_of_the_same_arms_the_other_way_round_agree(run: RunResult, tmp_path: Path) -> None:
    write_sheet(run, ARMS, tmp_path / "a.html")
    write_sheet(run, ARMS[::-1], tmp_path / "b.html")
    one = take_labels(run, read(tmp_path / "a.html", tmp_path / "a.txt"), "ann")
    two = take_labels(run, read(tmp_path / "b.html", tmp_path / "b.txt"), "bob")
    assert two["agreement"][0]["alpha"] == 1.0
    assert two["preferred"][0]["wins"] == one["preferred"][0]["losses"]


def test_labels_of_two_sittings_are_kept_together(run: RunResult, tmp_path: Path) -> None:
    made = write_sheet(run, ARMS, tmp_path / "s.html")
    lines = read(tmp_path / "s.html", tmp_path / "all.txt").read_text("utf-8").splitlines()
    (tmp_path / "1.txt").write_text("\n".join(lines[:10]), encoding="utf-8")
    (tmp_path / "2.txt").write_text("\n".join(lines[8:]), encoding="utf-8")
    assert take_labels(run, tmp_path / "1.txt")["labels"] == 10
    assert take_labels(run, tmp_path / "2.txt")["labels"] == len(made.pairs)


def test_answers_that_were_made_anew_are_not_mixed_with_the_old_ones(run: RunResult, tmp_path: Path) -> None:
    run.judge(ScriptedLLM(prefers_right), questions=["pairwise"], quiet=True)
    write_sheet(run, ARMS, tmp_path / "s.html")
    old = read(tmp_path / "s.html", tmp_path / "old.txt")
    assert take_labels(run, old)["agreement"]
    evaluation = Store(run.workspace).open("evaluation", "evaluation")
    assert evaluation is not None
    Store(run.workspace).build(
        "evaluation", "anew", lambda out: shutil.copytree(evaluation.path, out, dirs_exist_ok=True) and None
    )
    state = json.loads((run.folder / STATE).read_text("utf-8"))
    for stage in state["stages"]:
        stage["key"] = "anew" if stage["name"] == "evaluation" else stage["key"]
    write_json(run.folder / STATE, state)
    anew = RunResult(run.folder)
    with pytest.raises(UserError, match="no sheet of this run's answers"):
        take_labels(anew, old)
    made = write_sheet(anew, ARMS, tmp_path / "t.html", most=5)
    found = take_labels(anew, read(tmp_path / "t.html", tmp_path / "new.txt"))
    assert (found["labels"], found["agreement"]) == (len(made.pairs), [])


def test_what_cannot_be_compared_is_explained(run: RunResult, tmp_path: Path) -> None:
    for arms, told in ((("base", "bm25"), "no answers of an arm called 'bm25'"), (("base", "base"), "two arms")):
        with pytest.raises(UserError, match=told):
            write_sheet(run, arms, tmp_path / "s.html")
    with pytest.raises(UserError, match=r"ends in \.html"):
        write_sheet(run, ARMS, tmp_path / "s.txt")
    write_sheet(run, ARMS, tmp_path / "s.html")
    (tmp_path / "s.html").unlink()
    with pytest.raises(UserError, match="may hold labels"):
        write_sheet(run, ARMS, tmp_path / "s.html")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="Cannot write"):
        write_sheet(run, ARMS, tmp_path / "file" / "t.html")
    with pytest.raises(UserError, match="reader's name"):
        take_labels(run, tmp_path / "s.jsonl", "../ann")


def test_the_command_writes_and_reads_back(run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["sheet", "demo", "--workspace", str(run.workspace)]
    sheet = tmp_path / "sheet.html"
    assert cli.main([*base, "--arms", *ARMS, "--out", str(sheet), "--most", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 12
    assert cli.main([*base, "--labels", str(read(sheet, tmp_path / "l.txt")), "--reader", "ann"]) == 0
    assert "12 labels of ann" in capsys.readouterr().out
    assert cli.main([*base, "--labels", str(tmp_path / "l.txt"), "--reader", "bob"]) == 0
    assert "Krippendorff's alpha" in capsys.readouterr().out
    for wrong in ([], ["--arms", *ARMS], ["--out", "x.html"], ["--arms", *ARMS, "--out", "x.html", "--most", "0"]):
        assert cli.main([*base, *wrong]) == 2
        assert "either written or read back" in capsys.readouterr().err
