"""Finished runs whose documents are indexed for two embedding models, without questions or trainings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raglift.artifacts import Artifact, write_json
from raglift.config import config_from_dict
from raglift.job import Job
from raglift.pipeline_retrieval import RetrievalStages
from raglift.records import Target, TrainedModel, write_jsonl
from raglift.runner import Runner
from raglift.serve.result import RunResult
from raglift.training.outcome import MODEL, read_outcome, write_outcome
from tests.small_runs import small_config
from tests.tasks import QUIET


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """A text file each, and no other in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def index_config(folder: Path, workspace: Path, models: Mapping[Target, Path], **sections: Any) -> dict[str, Any]:
    """A config over the folder's documents, with short chunks."""
    config = small_config(folder, models["llm"], models["embedding"])
    config["data"] = {"documents": str(folder)}
    config["corpus"] |= {"chunk_tokens": 16, "chunk_overlap": 0}
    return config | {"run": "demo", "workspace": str(workspace)} | sections


def indexed_run(config: Mapping[str, Any], tuned: Path | None = None) -> RunResult:
    """A run of the pipeline's own stages, but for those that need questions.

    Args:
        tuned: The embedding model that a training would have left; None: the base won.
    """
    pipeline = _Indexed(config_from_dict(config), QUIET, None)
    with Runner(pipeline._config, QUIET) as runner:
        return pipeline.run(runner, tuned)


class _Indexed(RetrievalStages):
    def run(self, runner: Runner, tuned: Path | None) -> RunResult:
        self._runner = runner
        corpus = self._corpus()
        base = self._index("base", corpus)
        self._words(corpus)
        questions = runner.stage("synthesis", 1, {}, {}, lambda job: write_jsonl(job.out / "questions.jsonl", []))
        self._outcome("embedding", tuned)
        self._outcome("llm", None)
        self._fused("base", corpus, questions, base)
        self._fused("tuned", corpus, questions, self._index("tuned", corpus))
        chosen = {"arm": "tuned_both", "beat_base": True}
        write_json(runner.folder / "report.json", {"verdict": "better", "chosen": chosen})
        runner.finish()
        return RunResult(runner.folder)

    def _outcome(self, target: Target, tuned: Path | None) -> Artifact:
        base = self._models.base(target)

        def write(job: Job) -> None:
            write_outcome(job.out, target, base, [], None, None)
            if tuned is not None:
                shutil.copytree(tuned, job.out / MODEL)
                record = TrainedModel(target, base.name, base.revision, ("full",), MODEL, "", "last")
                write_json(job.out / "model.json", json.loads(json.dumps(asdict(record))))

        artifact = self._runner.stage(target, 1, {}, {"base": base.revision, "tuned": str(tuned)}, write)
        self._models.add(read_outcome(artifact.path, artifact.key))
        return artifact
