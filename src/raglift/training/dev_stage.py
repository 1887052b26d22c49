"""What an embedding model finds of each development question, kept so that trainings can be compared question by
question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from raglift.artifacts import write_json
from raglift.corpus.stage import Corpus
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.find import FoundModel
from raglift.records import QAPair
from raglift.training.embedding_stage import METRIC, DevScore
from raglift.training.gains import DevValues

VERSION = 1
FILE = "dev.json"


def build(
    tuned: Path | None,
    dev: Sequence[Sequence[QAPair]],
    corpus: Corpus,
    base: FoundModel,
    runtime: Runtime,
    job: Job,
) -> None:
    """Write dev.json: `metric`, and `sets`, for each set of questions with evidence question id -> value.

    Args:
        tuned: The folder of the tuned model; None: the base.
    """
    score = DevScore(dev, corpus, runtime, job.display)
    found = score.values(load_encoder(base.path, runtime, tuned)) if len(score) else []
    write_json(job.out / FILE, {"metric": METRIC, "sets": found})


def load(folder: Path) -> DevValues:
    """The values that `build` wrote into `folder`."""
    sets: DevValues = json.loads((folder / FILE).read_text("utf-8"))["sets"]
    return sets
