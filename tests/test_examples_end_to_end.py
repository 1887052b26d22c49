"""A whole run with people's examples, and one whose writer is tuned on them; tiny models."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import MockLLM

import raglift
from raglift.artifacts import MANIFEST
from raglift.errors import UserError
from raglift.records import QAPair, read_jsonl
from raglift.synthesis.stage import TAUGHT
from tests.test_end_to_end import STAGES, command, config, stages_with  # noqa: F401 (a fixture)
from tests.tiny import SENTENCES

pytestmark = pytest.mark.slow

TUNED = stages_with("synthesis", "writer")


def rows_of(run: raglift.RunResult, stage: str) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] == stage}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def examples() -> list[dict[str, Any]]:
    """65 examples: one of a train document, the others of no document."""
    rows = [
        {
            "text": f"Boat {n} was painted in colour {n + 3} by the ferryman.",
            "question": f"Who painted boat {n}?" if n % 3 else f"paint of boat {n}",
            "answer": "the ferryman" if n % 3 else None,
        }
        for n in range(64)
    ]
    return [*rows, {"text": SENTENCES[0], "question": "Who writes?", "answer": "The lighthouse keeper"}]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


def test_the_dev_questions_become_the_worked_examples(
    config: dict[str, Any],  # noqa: F811
    workspace: Path,
    tmp_path: Path,
) -> None:
    folder = Path(config["data"]["documents"])
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text("utf-8").splitlines()]
    for number in range(8):
        for year in range(6):
            quote = f"In year {year} of volume {number} this was written down again."
            more = {"topics": [f"{number}.md"], "quotes": [quote], "answer": f"volume {number}"}
            asked.append({"id": f"m{number}{year}", "question": f"Where was it written in year {year}?", **more})
    data = {**config["data"], "questions": write_rows(tmp_path / "asked.jsonl", asked), "dev_share": 0.5}
    values = {**config, "data": data, "workspace": str(workspace)}
    values["synthesis"] = {**config["synthesis"], "examples": "dev", "kinds": {"factoid": 1.0, "keyword": 1.0}}
    run = raglift.run(values, quiet=True)
    assert [stage["name"] for stage in run.report["stages"]] == STAGES
    rows = rows_of(run, "synthesis")
    dev = [pair for pair in run.corpus.human if pair.split == "dev" and pair.answerable]
    assert rows["human examples"] + rows.get("human examples left out: no short text that holds the answer", 0) == len(
        dev
    )
    assert rows["factoid: worked examples from people"] >= 3
    assert rows["keyword: human examples that fit, too few to replace the built-in ones"] == 0
    guess = {
        name: raglift.estimate({**values, "synthesis": synthesis}, writer=MockLLM())
        for name, synthesis in {"dev": values["synthesis"], "none": {**values["synthesis"], "examples": None}}.items()
    }
    assert guess["dev"]["calls"] <= guess["none"]["calls"]
    assert guess["dev"]["likely"]["tokens_in"] != guess["none"]["likely"]["tokens_in"]
    assert all(stage["cached"] for stage in raglift.run(values, quiet=True).report["stages"])
    few = {**config, "run": "few", "workspace": str(workspace)}
    few["synthesis"] = {**config["synthesis"], "examples": "dev"}
    with pytest.raises(UserError, match=r"synthesis\.examples: dev gives \d usable examples"):
        raglift.run(few, quiet=True)


def test_other_examples_are_other_questions(
    config: dict[str, Any],  # noqa: F811
    workspace: Path,
    tmp_path: Path,
) -> None:
    def cached(rows: list[dict[str, Any]]) -> dict[str, bool]:
        synthesis = {**config["synthesis"], "examples": write_rows(tmp_path / "examples.jsonl", rows)}
        run = raglift.run({**config, "workspace": str(workspace), "synthesis": synthesis}, quiet=True)
        return {stage["name"]: stage["cached"] for stage in run.report["stages"]}

    cached(examples())
    assert cached(examples())["synthesis"]
    other = [{**row, "question": row["question"].replace("boat", "ship")} for row in examples()]
    found = cached(other)
    assert found["corpus"]
    assert not found["synthesis"]


def test_a_tuned_writer_writes_about_other_documents_however_often_it_is_killed(
    config: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    name = write_rows(tmp_path / "examples.jsonl", examples())
    values = {**config, "synthesis": {**config["synthesis"], "examples": name, "tune_writer": True}}
    words = command(values, tmp_path)
    for _ in range(2):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            if list((tmp_path / "indexes").glob("writer/*.partial/work/checkpoints/*.safetensors")):
                break
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert not list((tmp_path / "indexes").glob(f"writer/*/{MANIFEST}")), "killed before the writer was done"
    values["workspace"] = str(tmp_path / "indexes")
    run = raglift.run(values, quiet=True)
    assert [stage["name"] for stage in run.report["stages"]] == TUNED
    training = json.loads((run.artifact("writer").path / "training.json").read_text("utf-8"))
    assert training["chosen"] != "base"
    taught = {document.id for document in run.corpus.documents if document.source == "0.md"}
    assert rows_of(run, "synthesis")[TAUGHT] == sum(chunk.document_id in taught for chunk in run.corpus.chunks) > 0
    questions = read_jsonl(run.artifact("synthesis").path / "questions.jsonl", QAPair)
    assert questions
    assert not taught & {item.document_id for pair in questions for item in pair.evidence[:1]}
    assert rows_of(run, "writer")["questions and answers to learn from"] > 60
    # The examples count by what they say, not by where they stand.
    values["synthesis"] = {**values["synthesis"], "examples": write_rows(tmp_path / "same.jsonl", examples())}
    assert all(stage["cached"] for stage in raglift.run(values, quiet=True).report["stages"])
    whole = {path.name: path.read_bytes() for path in (run.artifact("writer").path / "model").iterdir()}
    clean = raglift.run({**values, "workspace": str(tmp_path / "clean")}, quiet=True)
    assert {path.name: path.read_bytes() for path in (clean.artifact("writer").path / "model").iterdir()} == whole
    assert read_jsonl(clean.artifact("synthesis").path / "questions.jsonl", QAPair) == questions


def test_a_writer_that_would_have_nothing_left_to_write_about_is_not_tuned(
    config: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    rows = [{**row, "document": f"{place % 8}.md"} for place, row in enumerate(examples())]
    synthesis = {
        **config["synthesis"],
        "examples": write_rows(tmp_path / "examples.jsonl", rows),
        "tune_writer": True,
    }
    values = {**config, "synthesis": synthesis, "workspace": str(tmp_path / "indexes")}
    with pytest.raises(UserError, match="No document of the train split is left"):
        raglift.run(values, quiet=True)
    assert not (tmp_path / "indexes" / "writer").exists()


def test_a_passed_writer_cannot_be_tuned(
    config: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    name = write_rows(tmp_path / "examples.jsonl", examples())
    values = {**config, "synthesis": {**config["synthesis"], "examples": name, "tune_writer": True}}
    values["workspace"] = str(tmp_path / "indexes")
    with pytest.raises(UserError, match="a writer was passed"):
        raglift.run(values, writer=MockLLM(), quiet=True)
    assert not (tmp_path / "indexes").exists()
