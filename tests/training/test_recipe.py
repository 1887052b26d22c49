"""Length and learning rate by the amount of data."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import EmbeddingConfig
from raglift.plugins import load
from raglift.records import Target
from raglift.training import recipe
from raglift.training.recipe import learning_rate, steps

TARGETS: tuple[Target, ...] = ("embedding", "llm")


@given(st.sampled_from(TARGETS), st.integers(1, 10_000))
def test_auto_repeats_a_small_set_and_passes_once_over_a_large_one(target: Target, batches: int) -> None:
    useful, most = recipe._STEPS[target], recipe._EPOCHS[target]
    epochs, rest = divmod(steps("auto", target, batches), batches)
    assert rest == 0
    assert 1 <= epochs <= most
    assert epochs * batches >= useful or epochs == most
    assert epochs == 1 or (epochs - 1) * batches < useful


@pytest.mark.parametrize("target", TARGETS)
def test_the_limits_of_auto_are_met_exactly(target: Target) -> None:
    useful, most = recipe._STEPS[target], recipe._EPOCHS[target]
    assert steps("auto", target, 1) == min(most, useful)
    assert steps("auto", target, useful) == useful
    assert steps("auto", target, useful - 1) == 2 * (useful - 1)
    assert steps("auto", target, useful + 1) == useful + 1


def test_epochs_that_are_named_are_rounded_up_to_steps() -> None:
    assert steps(2, "llm", 7) == 14
    assert steps(0.5, "llm", 7) == 4
    assert steps(0.001, "llm", 7) == 1


def test_the_strategy_that_changes_parameters_decides_the_rate() -> None:
    interpolation, lora, full = (load("strategy", name)() for name in ("weight_interpolation", "lora", "full"))
    assert learning_rate("auto", "llm", [interpolation, lora], 100) == lora.learning_rates["llm"]
    assert learning_rate("auto", "embedding", [full, interpolation], 2000) == full.learning_rates["embedding"]
    assert learning_rate("auto", "embedding", [interpolation], 10) == 2e-5
    assert learning_rate(3e-4, "embedding", [full], 10**9) == 3e-4


@given(st.integers(2001, 10**7))
def test_auto_falls_with_the_root_of_the_data_past_two_thousand(count: int) -> None:
    full = load("strategy", "full")()
    rate = learning_rate("auto", "embedding", [full], count)
    assert math.isclose(rate**2 * count, full.learning_rates["embedding"] ** 2 * 2000)


def test_an_epoch_is_one_pass_for_all_processes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EmbeddingConfig(epochs=3, accumulation=2)
    alone = recipe.loop_settings(config, "embedding", [], 100, 16).steps
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (alone, recipe.loop_settings(config, "embedding", [], 100, 16).steps) == (24, 12)
