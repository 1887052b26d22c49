"""What a training stage leaves behind: the tuned model if it won, and how it was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raglift.artifacts import write_json
from raglift.config import PluginSpec
from raglift.models.find import FoundModel
from raglift.plugins import load
from raglift.records import Target, TrainedModel
from raglift.training.embedding_objective import EmbeddingObjective
from raglift.training.loop import Fitted
from raglift.training.objective import Objective
from raglift.training.schedule import Settings
from raglift.training.strategy import Strategy

MODEL = "model"
BASE = "base"
NOT_RERANKED = "not reranked"
"""What is chosen where no reranker, the base included, beat the first stage's own order."""
UNTUNED = (BASE, NOT_RERANKED)
"""What may be chosen without a training."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished training artifact: its record and the folder of the tuned model, None where the base won."""

    record: TrainedModel
    tuned: Path | None


def strategies_of(specs: Sequence[PluginSpec]) -> list[Strategy]:
    """The strategies that a config names, with their settings."""
    return [load("strategy", spec.name)(**spec.settings) for spec in specs]


def objective_of(spec: PluginSpec) -> Objective:
    """The objective that a config names, with its settings."""
    objective: Objective = load("objective", spec.name)(**spec.settings)
    return objective


def embedding_objective_of(spec: PluginSpec) -> EmbeddingObjective:
    """The objective that a config names for the embedding model."""
    objective = objective_of(spec)
    assert isinstance(objective, EmbeddingObjective)  # a config that is read has no other
    return objective


def strategy_key(specs: Sequence[PluginSpec]) -> list[list[Any]]:
    """What of the strategies decides the result: name, version and every hyper-parameter, defaults included."""
    return [
        [spec.name, strategy.version, strategy.model_dump(mode="json")]
        for spec, strategy in zip(specs, strategies_of(specs), strict=True)
    ]


def objective_key(spec: PluginSpec) -> list[Any]:
    """What of the objective decides the result, the weights of models that it reads included."""
    objective = objective_of(spec)
    depends = objective.depends()
    return [spec.name, objective.version, objective.model_dump(mode="json"), *([depends] if depends else [])]


def mixed_name(name: str, share: float) -> str:
    """What a candidate is called whose order is mixed with this share of the first stage's scores."""
    return f"{name}, {share:g} first stage" if share else name


def write_outcome(
    out: Path,
    target: Target,
    base: FoundModel,
    specs: Sequence[PluginSpec],
    fitted: Fitted | None,
    settings: Settings | None,
    first_stage_share: float = 0.0,
) -> None:
    """Write model.json (`TrainedModel`) and training.json (history, candidates, settings) into `out`."""
    chosen = fitted.chosen if fitted is not None else BASE
    record = TrainedModel(
        target,
        base.name,
        base.revision,
        tuple(spec.name for spec in specs),
        "" if chosen in UNTUNED else MODEL,
        "",
        chosen,
        {candidate.name: candidate.score for candidate in fitted.candidates} if fitted else {},
        target == "embedding" and any(strategy.keeps_passages for strategy in strategies_of(specs)),
        first_stage_share,
    )
    write_json(out / "model.json", asdict(record))
    used: Mapping[str, Any] = (
        {k: v for k, v in asdict(settings).items() if k != "checkpoint_seconds"} if settings else {}
    )
    training = {
        "strategies": list(record.strategies),
        "chosen": mixed_name(chosen, first_stage_share),  # one of the candidates, by whose score trainings are compared
        "history": list(fitted.history) if fitted else [],
        "candidates": [{"name": c.name, "dev": c.score} for c in fitted.candidates] if fitted else [],
        "settings": dict(used),
    }
    write_json(out / "training.json", training)


def read_outcome(folder: Path, key: str) -> Outcome:
    """The outcome that `write_outcome` wrote under an artifact's key."""
    value = json.loads((folder / "model.json").read_text("utf-8")) | {"key": key}
    record = TrainedModel(**(value | {"strategies": tuple(value["strategies"])}))
    return Outcome(record, None if record.chosen in UNTUNED else folder / MODEL)
