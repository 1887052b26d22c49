"""The values of development questions that are kept are those that a training is chosen by."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.find import find_model
from raglift.progress import Progress
from raglift.records import Chunk, Evidence, QAPair
from raglift.training import dev_stage
from raglift.training.embedding_stage import DevScore
from raglift.training.gains import mean
from tests.tiny import QUESTIONS, SENTENCES

RUNTIME = Runtime(torch.device("cpu"), torch.float32, 1)
CHUNKS = [Chunk(f"c{n}", f"d{n}", text, 0, len(text), {}) for n, text in enumerate(SENTENCES)]


def asked(number: int, split: Any = "dev", chunk: str | None = None) -> QAPair:
    evidence = (Evidence(f"d{number}", chunk or f"c{number}", 0, 1),)
    return QAPair(f"q{number}", QUESTIONS[number][0], ("x",), evidence, "factoid", split, "human")


def test_the_values_are_what_the_score_is_the_mean_of(tiny_embedding: Path, tmp_path: Path) -> None:
    base, corpus = find_model(str(tiny_embedding)), SimpleNamespace(chunks=CHUNKS)
    unanswerable = QAPair("none", "Who knows?", (), (), "factoid", "dev", "human", answerable=False)
    sets = [[asked(n) for n in range(6)] + [unanswerable], [], [asked(n) for n in (6, 7)]]
    job = Job(tmp_path, 0, Progress(quiet=True))
    dev_stage.build(None, sets, corpus, base, RUNTIME, job)  # type: ignore[arg-type]
    found = dev_stage.load(tmp_path)
    assert [list(each) for each in found] == [[f"q{n}" for n in range(6)], ["q6", "q7"]]
    score = DevScore(sets, corpus, RUNTIME, job.display)  # type: ignore[arg-type]
    assert mean(found) == pytest.approx(score(load_encoder(base.path, RUNTIME)))
    assert all(0 <= value <= 1 for each in found for value in each.values())
    assert len({value for each in found for value in each.values()}) > 1
    assert json.loads((tmp_path / dev_stage.FILE).read_text("utf-8"))["metric"] == "nDCG@10"


def test_a_tuned_model_has_values_of_its_own(tiny_embedding: Path, tmp_path: Path) -> None:
    base, corpus = find_model(str(tiny_embedding)), SimpleNamespace(chunks=CHUNKS)
    tuned = load_encoder(base.path, RUNTIME)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(torch.from_numpy(np.random.default_rng(1).normal(0, 1, parameter.shape)).float())
    tuned.save_pretrained(str(tmp_path / "tuned"), create_model_card=False)
    sets = [[asked(n) for n in range(8)]]
    found = []
    for name, folder in (("base", None), ("tuned", tmp_path / "tuned")):
        (tmp_path / f"{name}-out").mkdir()
        job = Job(tmp_path / f"{name}-out", 0, Progress(quiet=True))
        dev_stage.build(folder, sets, corpus, base, RUNTIME, job)  # type: ignore[arg-type]
        found.append(dev_stage.load(job.out))
    assert found[0] != found[1]


def test_without_questions_there_is_nothing(tiny_embedding: Path, tmp_path: Path) -> None:
    base, job = find_model(str(tiny_embedding)), Job(tmp_path, 0, Progress(quiet=True))
    dev_stage.build(None, [[], []], SimpleNamespace(chunks=CHUNKS), base, RUNTIME, job)  # type: ignore[arg-type]
    assert dev_stage.load(tmp_path) == []
