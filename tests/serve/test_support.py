"""A run's answers are checked against their passages, by a checker that learned from the run's own documents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raglift import cli
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.grounding import stage
from raglift.grounding.stage import Reader
from raglift.records import Answered, Chunk, Document, Evidence, QAPair, write_jsonl
from raglift.serve.support import FILE, _claims, check_support
from tests.grounding.texts import TEXTS
from tests.tasks import QUIET, RUNTIME

SPLITS: Any = ("train", "dev", "test")


def finished(root: Path, model: Path, answers: dict[str, list[str | None]]) -> Any:
    """A run over short documents whose arms gave these answers to "Who built the pier?", each of its own passage."""
    for name in ("corpus", "synthesis", "evaluation", "run"):
        (root / name).mkdir(parents=True)
    documents = [Document(f"d{n}", f"d{n}", text, split=SPLITS[n % 3]) for n, text in enumerate(TEXTS)]
    write_jsonl(root / "corpus" / "documents.jsonl", documents)
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(TEXTS)]
    write_jsonl(root / "corpus" / "chunks.jsonl", chunks)
    write_jsonl(root / "corpus" / "human.jsonl", [])
    write_jsonl(root / "synthesis" / "questions.jsonl", [])
    count = len(next(iter(answers.values())))
    asked = [
        QAPair(f"q{n}", "Who built the pier?", ("Miller",), (Evidence(f"d{n}", f"c{n}"),), "who", "test", "human")
        for n in range(count)
    ]
    write_jsonl(root / "evaluation" / "human-questions.jsonl", asked)
    given = [
        Answered(f"q{n}", arm, ((f"c{n}", 1.0),), (TEXTS[n],), answer, 0.1)
        for arm, own in answers.items()
        for n, answer in enumerate(own)
    ]
    write_jsonl(root / "evaluation" / "human-answered.jsonl", given)
    return SimpleNamespace(
        artifact=lambda name: SimpleNamespace(path=root / name),
        corpus=Corpus(root / "corpus"),
        config=SimpleNamespace(
            seed=0, embedding=SimpleNamespace(model=str(model)), evaluation=SimpleNamespace(resamples=200)
        ),
        state={"run": "demo", "stages": [{"name": "corpus", "key": "a"}, {"name": "synthesis", "key": "b"}]},
        key=lambda stage: f"key of {stage}",
        workspace=root / "indexes",
        folder=root / "run",
        runtime=RUNTIME,
        arms=list(answers),
        questions_stage="synthesis",
    )


GOOD = "The pier was built by Miller and Sons before the harbour opened."
BAD = "The pier was built by Dirk Halloran in 1777 after a great storm."
ANSWERS: dict[str, list[str | None]] = {"base": [BAD] * 9 + [GOOD], "tuned_llm": [GOOD] * 9 + [None]}


def test_the_lexical_checker_tells_what_the_passages_say(tmp_path: Path, tiny_embedding: Path) -> None:
    run = finished(tmp_path, tiny_embedding, ANSWERS)
    found = check_support(run, "lexical", QUIET)
    cells = found.sets["human"]
    assert (cells["base"]["value"], cells["base"]["n"]) == (pytest.approx(0.1), 10)
    assert (cells["tuned_llm"]["value"], cells["tuned_llm"]["n"]) == (1.0, 9)
    (verdict,) = found.verdicts
    assert (verdict["arm"], verdict["against"], verdict["n"], verdict["decision"]) == ("tuned_llm", "base", 9, "better")
    assert found.health["specificity"]["value"] > 0.8
    kept = json.loads((run.folder / FILE).read_text("utf-8"))
    assert kept["sets"] == json.loads(json.dumps(found.sets))
    assert kept["evaluation"] == "key of evaluation"


@pytest.mark.parametrize("checker", ["trained", "cross_encoder"])
def test_a_trained_checker_is_trained_once_and_says_how_often_it_is_right(
    checker: str, tmp_path: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = stage.SETTINGS.model_copy(update={"epochs": 1.0, "evaluations": 1})
    monkeypatch.setattr(stage, "Reader", lambda base, runtime: Reader(base, runtime, short))
    run = finished(tmp_path, tiny_embedding, ANSWERS)
    found = check_support(run, checker, QUIET)
    assert found.checker == checker
    assert found.health["balanced_accuracy"] > 0.5
    assert set(found.health["by_kind"]) >= {"sentence", "negation", "number"}

    def again(*_: Any, **__: Any) -> Any:
        raise AssertionError("it is there already")

    monkeypatch.setattr(stage, "build", again)
    assert check_support(run, checker, QUIET) == found
    assert len(list((tmp_path / "indexes" / "support").iterdir())) == 1


def test_what_a_reviewer_left_out_teaches_nothing(tmp_path: Path, tiny_embedding: Path) -> None:
    run = finished(tmp_path, tiny_embedding, ANSWERS)
    (tmp_path / "review").mkdir()
    wrong = QAPair("w", "Who built it?", ("Dirk Halloran",), (Evidence("d0", "c0"),), "who", "train", "synthetic")
    write_jsonl(tmp_path / "synthesis" / "questions.jsonl", [wrong])
    write_jsonl(tmp_path / "review" / "questions.jsonl", [])
    assert "Dirk Halloran built it." in {claim.text for claim in _claims(run).train}
    run.questions_stage = "review"
    assert "Dirk Halloran built it." not in {claim.text for claim in _claims(run).train}


def test_what_cannot_be_checked_is_said(tmp_path: Path, tiny_embedding: Path) -> None:
    silent = finished(tmp_path / "silent", tiny_embedding, {"base": [None, None]})
    with pytest.raises(UserError, match="answered no question"):
        check_support(silent, "lexical", QUIET)
    run = finished(tmp_path / "some", tiny_embedding, ANSWERS)
    with pytest.raises(UserError, match="no support checker called 'lexicl'"):
        check_support(run, "lexicl", QUIET)
    shutil.copy(tmp_path / "some" / "corpus" / "human.jsonl", tmp_path / "some" / "corpus" / "chunks.jsonl")
    run.corpus = Corpus(tmp_path / "some" / "corpus")
    with pytest.raises(UserError, match="cannot be trained on 0 claims about train documents"):
        check_support(run, display=QUIET)
    assert not (run.folder / FILE).exists()


def test_the_command_prints_the_checkers_health_beside_every_figure(
    tmp_path: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path, tiny_embedding, ANSWERS)
    monkeypatch.setattr("raglift.serve.result.open_run", lambda name, workspace: run)
    assert cli.main(["support", "demo", "--checker", "lexical", "--quiet"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "claims not supported that it finds" in printed
    assert "both, as balanced accuracy" in printed
    assert "negation" in printed
    assert "tuned_llm" in printed
    assert "better" in printed
