"""A run's tuned models in folders that their own libraries load without raglift, whatever form they are kept in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raglift.artifacts import disk_errors
from raglift.errors import UserError
from raglift.models.attach import difference
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.find import FoundModel, find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.reranker import load_reranker
from raglift.plugins import nearest
from raglift.records import Target
from raglift.release.card import write_card
from raglift.serve.result import RunResult
from raglift.training.outcome import Outcome, read_outcome


@dataclass(frozen=True, slots=True)
class Exported:
    """One of a run's models.

    Attributes:
        folder: Where it lies now; None where the base won, so that there is none.
        adapter: Whether it is a difference from the base, and not a whole model.
    """

    target: Target
    folder: Path | None
    adapter: bool = False


def export_models(
    run: RunResult, to: Path, targets: Sequence[str] | None = None, adapter: bool = False
) -> list[Exported]:
    """Write the tuned models of a finished run into `to/embedding`, `to/llm` and `to/rerank`, each with its model card.

    Each is a whole model with what it learned merged into its weights, in float32: a sentence-transformers folder, or
    a transformers folder with its tokenizer. Nothing is written where the base won them all.

    Args:
        to: A new folder, or an empty one; it is written whole or not at all.
        targets: Which of them; None: all that the run has tuned.
        adapter: Copy what is kept as a difference from the base (an adapter, changed entries) as it is.

    Raises:
        UserError: There is something in `to`, a model is unknown or damaged, or its adapter has no plain weights.
    """
    to = to.expanduser().resolve()
    for target in targets or ():
        if target not in run.targets:
            raise UserError(f"The run has no model called {target!r}.", nearest(target, list(run.targets)))
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise UserError(f"{to} is there already.", "Nothing is overwritten.", "Name another folder, or remove it.")
    run.check_models()
    chosen = [target for target in run.targets if targets is None or target in targets]
    outcomes = {target: _outcome(run, target) for target in chosen}
    forms = {target: _check(target, outcome, adapter) for target, outcome in outcomes.items() if outcome.tuned}
    if forms:
        with disk_errors(to.parent, "another folder"):
            to.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(run, to, {t: _writer(t, outcomes[t], forms[t], adapter) for t in forms})
    return [
        Exported(target, to / target if target in forms else None, adapter and bool(forms.get(target)))
        for target in chosen
    ]


def _outcome(run: RunResult, target: Target) -> Outcome:
    artifact = run.artifact(target)
    return read_outcome(artifact.path, artifact.key)


def _check(target: Target, outcome: Outcome, adapter: bool) -> bool:
    """Whether the tuned model is kept as a difference from its base.

    Raises:
        UserError: It is to be merged, and cannot be.
    """
    assert outcome.tuned is not None
    form = difference(outcome.tuned)
    if form is not None and not form.merges and not adapter:
        raise UserError(
            f"The {target} model's adapter cannot be merged into plain weights.",
            f"What {' and '.join(outcome.record.strategies)} learned acts between the base's layers.",
            "Add --adapter to have the adapter as it is, for raglift alone; or tune with `lora`, which can be merged.",
        )
    return form is not None


def _writer(target: Target, outcome: Outcome, kept_apart: bool, adapter: bool) -> Callable[[Path], None]:
    """What writes the model into a folder."""
    tuned = outcome.tuned
    assert tuned is not None

    def write(folder: Path) -> None:
        if kept_apart and not adapter:
            _MERGED[target](find_model(outcome.record.base), tuned, folder)
        else:
            shutil.copytree(tuned, folder)

    return write


def _write_whole(run: RunResult, to: Path, writers: Mapping[Target, Callable[[Path], None]]) -> None:
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        for target, write in writers.items():
            write(partial / target)
            write_card(partial / target, run.artifact(target), run.report, target)
        os.replace(partial, to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _runtime() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32, torch.get_num_threads())


def _merged_embedding(base: FoundModel, tuned: Path, folder: Path) -> None:
    model = load_encoder(base.path, _runtime(), tuned)
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)


def _merged_llm(base: FoundModel, tuned: Path, folder: Path) -> None:
    model: Any = load_causal_lm(base.path, _runtime(), tuned)
    model.save_pretrained(str(folder), safe_serialization=True)
    load_tokenizer(base.path).save_pretrained(str(folder))


def _merged_rerank(base: FoundModel, tuned: Path, folder: Path) -> None:
    load_reranker(base.path, _runtime(), tuned).save_pretrained(str(folder), safe_serialization=True)


_MERGED: Mapping[Target, Callable[[FoundModel, Path, Path], None]] = {
    "embedding": _merged_embedding,
    "llm": _merged_llm,
    "rerank": _merged_rerank,
}
"""Target -> what puts a difference onto its base and writes the whole."""
