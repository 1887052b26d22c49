"""What sees what in a batch, and the hidden states that are kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raglift.training.hidden_states import HiddenStates
from raglift.training.token_runs import Run, placed


def run(*ids: int) -> Run:
    return Run.of(ids)


def test_hidden_states_are_kept_by_run(tmp_path: Path) -> None:
    states = HiddenStates(5, 2, torch.float32, tmp_path)
    values = torch.arange(10.0).view(5, 2)
    assert states.add(run(1, 2, 3), values[:3])
    assert not states.add(run(1, 2, 3, 4), values[:4])
    assert states.add(run(1, 2), values[3:])
    assert run(1, 2) in states
    assert run(1, 2, 4) not in states
    rows = torch.tensor([[*states.rows(run(1, 2)), 0], list(states.rows(run(1, 2, 3)))])
    expected = torch.stack([torch.cat([values[3:], torch.zeros(1, 2)]), values[:3]])
    assert torch.equal(states.gather(rows), expected)
    assert len(states) == 2


def inputs(ids: list[list[int]], **more: list[list[int]]) -> dict[str, Tensor]:
    return {name: torch.tensor(rows) for name, rows in ({"input_ids": ids} | more).items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (inputs([[4, 5], [6, 7]]), [(0, 0, run(4, 5)), (1, 0, run(6, 7))]),
        (
            inputs([[0, 4, 5], [6, 7, 8]], attention_mask=[[0, 1, 1], [1, 1, 1]], position_ids=[[0, 0, 1], [0, 1, 2]]),
            [(0, 1, run(4, 5)), (1, 0, run(6, 7, 8))],
        ),
        (inputs([[4, 5, 0]], attention_mask=[[1, 1, 0]], token_type_ids=[[0, 0, 0]]), [(0, 0, run(4, 5))]),
        (inputs([[4, 5]], token_type_ids=[[0, 1]]), [(0, 0, Run.of([4, 5], [0, 1]))]),
        (
            inputs([[4, 5, 6, 7, 8]], position_ids=[[0, 1, 0, 0, 1]]),
            [(0, 0, run(4, 5)), (0, 2, run(6)), (0, 3, run(7, 8))],
        ),
        (
            inputs([[4, 5, 6]], token_type_ids=[[0, 0, 1]])
            | {"attention_mask": torch.tensor([2, 1], dtype=torch.int32).view(1, 1, 1, 2)},
            [(0, 0, run(4, 5)), (0, 2, Run.of([6], [1]))],
        ),
        (inputs([[4, 5]]) | {"attention_mask": torch.tensor([[[[2, 1]]]], dtype=torch.int32)}, None),
        (inputs([[4, 5, 6]], attention_mask=[[1, 0, 1]]), None),
        (inputs([[4, 5]], attention_mask=[[0, 0]]), None),
        (inputs([[4, 5]], position_ids=[[3, 4]]), None),
        (inputs([[4, 5]], position_ids=[[0, 2]]), None),
        (inputs([[4, 5]], attention_mask=[[1, 1]], position_ids=[[0, 0]]), None),
        (inputs([[4, 5]]) | {"attention_mask": torch.ones(1, 1, 2, 2)}, None),
        (inputs([[4, 5]]) | {"past_key_values": object()}, None),
        ({"inputs_embeds": torch.ones(1, 2, 3)}, None),
    ],
)
def test_what_sees_what_in_a_batch(given: dict[str, Any], expected: Any) -> None:
    assert placed(given) == expected
