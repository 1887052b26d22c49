"""Finished runs of which only what was scored is on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from raglift.artifacts import Store, write_json
from raglift.config import Config, config_from_dict
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import table, verdicts
from raglift.records import Evidence, QAPair, Score, write_jsonl
from raglift.serve.result import RunResult
from raglift.workspace import RUNS, STATE

METRICS = {"retrieval": ["nDCG@10", "R@5"], "response": ["token_f1"]}
ARMS = ("base", "tuned_both")


def questions(count: int, first: int = 0, chunk: str = "c") -> list[QAPair]:
    """Three questions a document."""
    return [
        QAPair(f"q{i}", f"Question {i}?", ("yes",), (Evidence(f"d{i // 3}", f"{chunk}{i}"),), "human", "test", "human")
        for i in range(first, first + count)
    ]


def scores(asked: Sequence[QAPair], lift: Mapping[str, float], seed: int = 0) -> list[Score]:
    """Values near 0.4, those of an arm higher by its lift; all arms share the luck of a question."""
    rng = np.random.default_rng(seed)
    names = [name for metrics in METRICS.values() for name in metrics]
    luck = rng.uniform(0.3, 0.5, (len(asked), len(names)))
    return [
        Score(metric, question.id, arm, float(np.clip(luck[i, j] + gain + rng.normal(0, 0.02), 0, 1)))
        for arm, gain in lift.items()
        for j, metric in enumerate(names)
        for i, question in enumerate(asked)
    ]


def scored_run(
    root: Path, name: str, sets: Mapping[str, tuple[Sequence[QAPair], Sequence[Score]]], chosen: str = "tuned_both"
) -> RunResult:
    """A finished run in the workspace `root` with these questions and scores, summed up as the stage does it."""
    config: Config = config_from_dict(
        {"run": name, "data": {"documents": "d"}, "seed": 7, "evaluation": {**METRICS, "resamples": 300}}
    )
    summary: dict[str, object] = {"question_sets": {}, "retrieval": {}, "response": {}, "verdicts": []}

    def write(out: Path) -> None:
        for set_name, (asked, found) in sets.items():
            resampling = Resampling(clusters(asked), 7, 300)
            arms = dict.fromkeys(score.arm for score in found)
            summary["question_sets"][set_name] = {"origin": asked[0].origin}  # type: ignore[index]
            for family, metrics in METRICS.items():
                rows = table(found, metrics, resampling)
                summary[family][set_name] = {arm: cells for arm, cells in rows.items() if cells}  # type: ignore[index]
            judged = verdicts(found, set_name, "base", dict.fromkeys(arms, METRICS), resampling)
            summary["verdicts"] += [{k: getattr(v, k) for k in v.__dataclass_fields__} for v in judged]  # type: ignore[operator]
            write_jsonl(out / f"{set_name}-questions.jsonl", asked)
            write_jsonl(out / f"{set_name}-scores.jsonl", found)
        write_json(out / "summary.json", summary)

    Store(root).build("evaluation", name, write)
    state = {"run": name, "state": "done", "stages": [{"name": "evaluation", "key": name}]}
    write_json(root / RUNS / name / STATE, state | {"config": config.model_dump(mode="json")})
    report = {"chosen": {"arm": chosen, "beat_base": True}, "verdicts": summary["verdicts"]}
    write_json(root / RUNS / name / "report.json", report)
    return RunResult(root / RUNS / name)
