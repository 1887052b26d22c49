"""What decides the outcome of a run's models."""

from __future__ import annotations

from typing import Any

from raglift.config import config_from_dict
from raglift.records import TrainedModel
from raglift.serve.models import Models
from raglift.training.outcome import Outcome
from tests.tasks import RUNTIME


def rerank_key(chosen: str, share: float) -> str:
    models = Models(config_from_dict({"data": {"documents": "d"}, "rerank": {}}), RUNTIME)
    told: Any = ("rerank", "base", "revision", (), "rerank", "key", chosen)
    models.add(Outcome(TrainedModel(*told, first_stage_share=share), None))
    return models.rerank_key()


def test_a_reranker_as_it_comes_orders_otherwise_with_another_share_of_the_first_stage() -> None:
    assert rerank_key("not reranked", 0.0) == ""
    assert len({rerank_key("base", share) for share in (0.0, 0.2, 0.4)}) == 3
