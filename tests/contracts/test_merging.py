"""A finished model, what it learned merged into plain weights, gives the outputs of the model before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn
from transformers import AutoModelForCausalLM

from raglift.models import bottleneck
from raglift.records import Target
from tests import tasks
from tests.fits import run_fit, strategies_named
from tests.tasks import bits
from tests.test_contracts import every_strategy

PLAIN: dict[Target, Any] = {
    "embedding": lambda folder: SentenceTransformer(str(folder), device="cpu"),
    "rerank": lambda folder: CrossEncoder(str(folder), device="cpu"),
    "llm": lambda folder: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
}
"""Target -> how the library of its base loads a folder, without raglift."""


@every_strategy
def test_merged_equals_unmerged(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder = folders[target]
    base = tasks.load(target, folder)
    fitted = run_fit(target, names, folder, tmp_path, steps=30, checkpoint_seconds=30.0)
    expected = tasks.outputs(target, folder, fitted.model)
    assert not torch.allclose(expected, tasks.outputs(target, folder, base), atol=1e-3)
    merged: Any = fitted.model
    for strategy in strategies_named(names):
        merged = strategy.finish(merged)
    assert type(merged) is type(base)
    torch.testing.assert_close(tasks.outputs(target, folder, merged), expected, rtol=0, atol=1e-5)
    if bottleneck.names(merged):  # a nonlinear adapter never becomes plain weights
        return
    assert bits(base).keys() <= bits(merged).keys()
    merged.save_pretrained(str(tmp_path / "merged"))
    loaded: nn.Module = PLAIN[target](tmp_path / "merged")
    assert bits(loaded).keys() == bits(merged).keys()
    torch.testing.assert_close(tasks.outputs(target, folder, loaded), expected, rtol=0, atol=1e-5)
