"""How long an arm of a finished run takes to find passages, stage by stage."""

from __future__ import annotations

import random

from raglift.errors import UserError
from raglift.index.latency import Latency
from raglift.records import QAPair, read_jsonl
from raglift.serve.result import RunResult

QUESTIONS = 100


def run_latencies(run: RunResult, arm: str | None = None, count: int = QUESTIONS) -> list[Latency]:
    """The milliseconds of each stage over questions that the run was scored on, asked one by one.

    Args:
        arm: The chosen arm, if None.
        count: Questions at most, drawn with the run's seed.

    Raises:
        UserError: There is no such arm, it does not retrieve, or no question is to be asked.
    """
    folder = run.artifact("evaluation").path
    asked = [pair.question for file in sorted(folder.glob("*-questions.jsonl")) for pair in read_jsonl(file, QAPair)]
    different = list(dict.fromkeys(asked))
    if count < 1 or not different:
        raise UserError(
            "There is no question to ask.",
            f"The run was scored on {len(different)}, and {count} are wanted.",
            "Give a number from 1 on.",
        )
    drawn = random.Random(run.config.seed).sample(different, min(count, len(different)))
    return run.retriever(arm).latencies(drawn)
