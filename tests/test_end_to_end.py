"""The whole run with tiny models: cached, killed and gone on, damaged and mended, asked and evaluated."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import raglift
from raglift.artifacts import MANIFEST
from raglift.errors import UserError
from raglift.exchange.run import question_set, synthetic_questions, write_review
from raglift.release import card as release
from raglift.serve.result import read_status
from raglift.synthesis.hard_negatives import load_pairs
from raglift.synthesis.review_file import read_rows, write_rows
from raglift.training import embedding_stage
from raglift.workspace import hold
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS, SENTENCES

pytestmark = pytest.mark.slow

STAGES = [
    "corpus",
    "index_base",
    "bm25",
    "synthesis",
    "audit",
    "training_sets",
    "embedding",
    "index_tuned",
    "fusion_base",
    "fusion_tuned",
    "llm",
    "evaluation",
]


def stages_with(stage: str, *more: str) -> list[str]:
    """The stages of a run that has more of them right before one."""
    place = STAGES.index(stage)
    return [*STAGES[:place], *more, *STAGES[place:]]


ANSWERED = [*QUESTIONS, ("Who painted the harbour wall?", None)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    """Eight documents, nine human questions, everything small."""
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, ANSWERED)
    small = small_config(folder, tiny_llm, tiny_embedding)
    return {
        **small,
        "run": "tiny",
        "embedding": {**small["embedding"], "epochs": 2, "learning_rate": 1e-3},
        "llm": {**small["llm"], "epochs": 2, "batch_size": 2, "learning_rate": 5e-3},
        "runtime": {**small["runtime"], "checkpoint_seconds": 0.01},
    }


def command(config: dict[str, Any], folder: Path) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**config, "workspace": str(folder / "indexes")}), encoding="utf-8")
    return [sys.executable, "-m", "raglift", "run", str(path), "--quiet"]


@pytest.fixture(scope="module")
def finished(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a finished run."""
    folder = tmp_path_factory.mktemp("workspace")
    done = subprocess.run(command(config, folder), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return folder


def contents(workspace: Path) -> dict[str, Any]:
    """Every artifact's files by their checksum; what holds measured seconds by its content without them."""
    found: dict[str, Any] = {}
    for manifest in sorted(workspace.glob(f"*/*/{MANIFEST}")):
        for name, digest in json.loads(manifest.read_text("utf-8"))["files"].items():
            key = f"{manifest.parent.parent.name}/{manifest.parent.name}/{name}"
            if name.endswith("-answered.jsonl"):
                rows = [json.loads(line) for line in (manifest.parent / name).read_text("utf-8").splitlines()]
                found[key] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
            elif name == "summary.json":
                found[key] = json.loads((manifest.parent / name).read_text("utf-8"))["verdicts"]
            else:
                found[key] = digest
    return found


def test_everything_is_there_and_a_second_run_does_nothing(config: dict[str, Any], finished: Path) -> None:
    workspace = finished / "indexes"
    before = {path: path.stat().st_mtime_ns for path in workspace.glob(f"*/*/{MANIFEST}")}
    run = raglift.run({**config, "workspace": str(workspace)}, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in workspace.glob(f"*/*/{MANIFEST}")} == before
    assert [stage["name"] for stage in run.report["stages"]] == STAGES
    assert all(stage["cached"] for stage in run.report["stages"])
    assert set(run.report["question_sets"]) == {"human", "synthetic"}
    assert set(run.report["response"]["human"]) == {arm for arm in run.arms if "hybrid" not in arm and arm != "bm25"}
    assert set(run.report["retrieval"]["human"]) == {arm for arm in run.arms if "closed_book" not in arm}
    assert (run.folder / "report.html").read_text("utf-8").lower().startswith("<!doctype html>")
    assert "Where tuning hurt" in (run.folder / "report.html").read_text("utf-8")
    assert run.slices(quiet=True) == run.report["slices"]
    assert {row["question_set"] for row in run.slices(arm="bm25", quiet=True)["rows"]} == {"human", "synthetic"}


def test_a_tuned_model_has_a_card_that_gives_nothing_of_the_documents_away(
    config: dict[str, Any], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "indexes", tmp_path / "indexes")
    better = iter(range(100))
    monkeypatch.setattr(embedding_stage.DevScore, "__call__", lambda *_: float(next(better)))
    embedding = {**config["embedding"], "learning_rate": 2e-3}
    run = raglift.run({**config, "workspace": str(tmp_path / "indexes"), "embedding": embedding}, quiet=True)
    artifact, untuned = run.artifact("embedding"), run.artifact("llm")
    assert json.loads((artifact.path / "model.json").read_text("utf-8"))["chosen"] != "base"
    release.write_card(tmp_path, artifact, run.report, "embedding")
    texts = [
        path.read_text("utf-8")
        for path in (artifact.path / "card.json", artifact.path / "model" / "README.md", tmp_path / "README.md")
    ]
    assert '"documents": 8,' in texts[0]
    assert "| documents | 8 |" in texts[1]
    assert "The run's report has the" in texts[1]
    assert run.report["verdict"] in texts[2]
    assert "| human | nDCG@10 | " in texts[2]
    private = (*SENTENCES[:8], *(question for question, _ in QUESTIONS), config["data"]["documents"], "Page 1", "1.md")
    assert not [each for each in private for text in texts if each in text]
    kept = json.loads((untuned.path / "model.json").read_text("utf-8"))["chosen"]
    assert (untuned.path / "card.json").exists() == (kept != "base")


@pytest.mark.parametrize(
    ("stage", "corpus"),
    [("corpus", {"audit_ngrams": 0.0}), ("audit", {"audit_questions": 0.0, "audit_similarity": 0.0})],
)
def test_splits_that_overlap_stop_the_run_until_more_is_allowed(
    config: dict[str, Any], tmp_path: Path, stage: str, corpus: dict[str, float]
) -> None:
    changed = {**config, "workspace": str(tmp_path), "corpus": {**config["corpus"], "chunker": "semantic", **corpus}}
    for _ in range(2):  # what was measured is kept, and stops the second run too
        with pytest.raises(UserError, match="The splits overlap") as caught:
            raglift.run(changed, quiet=True)
        assert "Such as: " in caught.value.why
        status = json.loads((tmp_path / "runs" / "tiny" / "run.json").read_text("utf-8"))
        assert (status["state"], status["stages"][-1]["name"]) == ("failed", stage)
    assert status["stages"][-1]["cached"]


def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(
    config: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    words = command(config, tmp_path)
    rng = random.Random(7)
    for _ in range(5):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        partial = tmp_path / "indexes"
        while time.monotonic() < deadline and process.poll() is None and not list(partial.glob("*/*.partial")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 4))
        process.kill()
        process.wait()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert contents(tmp_path / "indexes") == contents(finished / "indexes")


def test_a_flipped_byte_is_named_and_mended(config: dict[str, Any], finished: Path) -> None:
    workspace = finished / "indexes"
    before = contents(workspace)
    damaged = next(workspace.glob("index_tuned/*/v000001/vectors.faiss"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(bytes(data))
    run = raglift.open_run("tiny", workspace)
    with pytest.raises(UserError, match=r"vectors\.faiss is damaged"):
        run.retriever("tuned_both")
    words = [word for word in command(config, finished) if word != "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "vectors.faiss is damaged. Building it again." in done.stderr
    assert contents(workspace) == before


def test_arms_are_llama_index_objects_that_answer_as_they_were_scored(finished: Path) -> None:
    run = raglift.open_run(finished / "indexes" / "runs" / "tiny")
    rows = [
        json.loads(line)
        for line in (run.artifact("evaluation").path / "human-answered.jsonl").read_text("utf-8").splitlines()
    ]
    questions = {f"q{i}": asked for i, (asked, _) in enumerate(ANSWERED)}
    for row in rows:
        if row["answer"] is None:
            continue
        response = run.query_engine(row["arm"]).query(questions[row["qa_id"]])
        assert [hit.node.get_content() for hit in response.source_nodes] == row["contexts"]
        assert str(response).strip() == row["answer"]
    assert len(run.embedding("tuned_both").get_query_embedding("a ship")) == run.store("tuned").dimension
    with pytest.raises(UserError, match="only ranks"):
        run.llm("bm25")
    with pytest.raises(UserError, match="tuned_both"):
        run.query_engine("tuned_bth")


def test_another_set_over_the_same_documents_is_scored(finished: Path, tmp_path: Path) -> None:
    run = raglift.open_run("tiny", finished / "indexes")
    documents = run.corpus.documents
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": f"other-{i}", "title": "", "text": d.text} for i, d in enumerate(documents)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (tmp_path / "queries.jsonl").write_text(
        json.dumps({"_id": "1", "text": "ships?", "answers": ["a blue book"]}) + "\n"
    )
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\tother-0\t1\n")
    scores = raglift.evaluate(run, tmp_path)
    assert scores["question_sets"][tmp_path.name]["questions"] == 1
    assert 0 <= scores["retrieval"][tmp_path.name]["base"]["nDCG@10"]["value"] <= 1
    assert scores["response"][tmp_path.name]["tuned_both"]["token_f1"]["n"] == 1
    # A document is known by its text alone, whatever its id; a set of which less than half is known is refused.
    other = [row | {"_id": d.source, "text": "something else"} for row, d in zip(corpus, documents, strict=True)]
    half = len(corpus) // 2
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus[:half] + other[half:]))
    assert raglift.evaluate(run, tmp_path) == scores
    for kept in (half - 1, 0):
        rows = corpus[:kept] + other[kept:]
        (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(UserError, match=f"(?s)not the run's.*Of its {len(rows)} documents, {kept} have"):
            raglift.evaluate(run, tmp_path)


def test_a_review_is_fed_back_without_a_question_written_anew(
    config: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    workspace = finished / "indexes"
    write_review("tiny", tmp_path / "all.csv", workspace)
    first, second, *others = read_rows(tmp_path / "all.csv")
    decided = [
        replace(first, verdict="reject", note="no words"),
        replace(second, new_question="What is it?", new_answer="it"),
        *others,
    ]
    for name, rows in (("one.csv", decided), ("two.jsonl", decided[::-1])):
        write_rows(tmp_path / name, rows)
        synthesis = {**config["synthesis"], "review": str(tmp_path / name)}
        run = raglift.run(
            {**config, "run": "reviewed", "workspace": str(workspace), "synthesis": synthesis}, quiet=True
        )
        stages = {stage["name"]: stage["cached"] for stage in run.report["stages"]}
        assert list(stages) == stages_with("audit", "review")
        again = name == "two.jsonl"  # the same decisions, written otherwise
        assert stages["synthesis"]
        assert [stages[stage] for stage in ("review", "training_sets", "embedding", "evaluation")] == [again] * 4
    rows = [row for row in run.report["funnel"] if row["stage"] == "review"]
    assert {row["count"] for row in rows if row["reason"].endswith("rejected: no words")} == {1}
    before, after = synthetic_questions(run, "synthesis"), synthetic_questions(run)
    assert after[1:] == before[2:]
    assert (after[0].question, after[0].answers, after[0].split) == ("What is it?", ("it",), before[1].split)
    assert {q.id for q in question_set(run).questions} == {q.id for q in (*run.corpus.human, *after)}


def test_hard_negatives_retrain_the_embedding_model_and_nothing_else(config: dict[str, Any], finished: Path) -> None:
    unused = {**config["embedding"], "hard_negative_ceiling": 0.5}
    run = raglift.run({**config, "workspace": str(finished / "indexes"), "embedding": unused}, quiet=True)
    assert all(stage["cached"] for stage in run.report["stages"])
    embedding = {**config["embedding"], "hard_negatives": 2, "hard_negative_ceiling": 1.0}
    changed = {**config, "run": "negatives", "workspace": str(finished / "indexes"), "embedding": embedding}
    for again in (False, True):
        run = raglift.run(changed, quiet=True)
        stages = {stage["name"]: stage["cached"] for stage in run.report["stages"]}
        assert list(stages) == stages_with("embedding", "hard_negatives")
        assert (stages["hard_negatives"], stages["embedding"]) == (again, again)
        assert stages["training_sets"]
        assert stages["llm"]
    rows = {row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] == "hard negatives"}
    assert set(rows) == {"hard negatives", "pairs without a hard negative"}


def test_a_teacher_is_asked_once_for_many_trainings(config: dict[str, Any], finished: Path) -> None:
    embedding = {
        **config["embedding"],
        "hard_negatives": 2,
        "hard_negative_ceiling": 1.0,
        "objective": {"matryoshka": {"objective": "listwise", "dims": [32, 16]}},
    }
    changed = {**config, "run": "taught", "workspace": str(finished / "indexes"), "embedding": embedding}
    for again, rate in ((False, 1e-3), (True, 2e-3)):
        embedding["learning_rate"] = rate
        run = raglift.run(changed, quiet=True)
        stages = {stage["name"]: stage["cached"] for stage in run.report["stages"]}
        assert list(stages) == stages_with("embedding", "hard_negatives", "teacher_scores")
        assert (stages["teacher_scores"], stages["embedding"], stages["llm"]) == (again, False, True)
    rows = {
        row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] in ("teacher", "hard negatives")
    }
    assert rows["questions scored by the teacher"] > 0
    (folder,) = (finished / "indexes" / "teacher_scores").iterdir()
    pairs = load_pairs(folder)
    assert sum(bool(pair.scores) for pair in pairs) == rows["questions scored by the teacher"]
    assert all(len(pair.scores) == (1 + len(pair.negatives) if pair.negatives else 0) for pair in pairs)
    embedding["objective"] = {"listwise": {"teacher": {"hybrid": {"share": 0.5}}}}
    run = raglift.run(changed, quiet=True)
    assert not next(stage["cached"] for stage in run.report["stages"] if stage["name"] == "teacher_scores")


def test_two_runs_in_one_workspace(config: dict[str, Any], finished: Path) -> None:
    with hold(finished / "indexes", "the test"), pytest.raises(UserError, match="Another run") as caught:
        raglift.run({**config, "workspace": str(finished / "indexes")}, quiet=True)
    assert "the test" in str(caught.value)
    assert read_status("tiny", finished / "indexes")["state"] == "done"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": {"model": "all-MiniLM"}}, "There is no model called 'all-MiniLM'"),
        ({"data": {"documents": "nowhere"}}, "There is no folder 'nowhere'"),
        ({"llm": {"strategies": ["lora", "full"]}}, "parameters"),
        ({"synthesis": {"review": "nowhere.csv"}}, "review file nowhere.csv cannot be read"),
        ({"embedding": {"objective": "answer_only"}}, "'answer_only' cannot train the embedding model"),
        ({"llm": {"objective": "multiple_negatives"}}, "'multiple_negatives' cannot train the llm model"),
        ({"embedding": {"objective": "margin_mse"}}, "set embedding.hard_negatives to 1 or more"),
        ({"embedding": {"objective": "matryoshka"}}, "do not fit the embedding model"),
        ({"embedding": {"objective": {"gist": {"guide": "nowhere"}}}}, "There is no model called 'nowhere'"),
        ({"llm": {"objective": {"distillation": {"teacher": "nowhere"}}}}, "There is no model called 'nowhere'"),
        ({"evaluation": {"retrieval": ["RR@10", "nDCG@0"]}}, "nDCG@0"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    config: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    wrong = {**config, **{key: {**config[key], **value} for key, value in change.items()}, "workspace": str(tmp_path)}
    if "data" in change:
        wrong["data"] = change["data"]
    with pytest.raises(UserError, match=message):
        raglift.run(wrong, quiet=True)
    assert not list(tmp_path.iterdir())
