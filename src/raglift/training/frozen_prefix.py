"""The lowest blocks of a transformer, where no step changes them: computed once for each text, then looked up.

While a batch goes through the model in training mode, the lower blocks' `forward` gives what was computed before, and
all else is the model's own code: masks, positions, the blocks above, the output layer. Between two calls, and in
evaluation mode, the model is whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from raglift.artifacts import WORK
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.training.hidden_states import HiddenStates
from raglift.training.parameters import block_list, depths
from raglift.training.stand_in import hidden_of, standing_in
from raglift.training.strategy import Shortened
from raglift.training.token_runs import Placed, Run, placed

_AGREE = 1e-3
"""Of the norm of what the model says, by which what it says of looked-up states may differ in the trial."""


_BY_BATCH = ("dynamic", "longrope")


def shorten(model: nn.Module, count: int, runtime: Runtime) -> Shortened | None:
    """The model with its `count` lowest blocks looked up, of which nothing may learn from here on, nor what is below.

    None where there is no such block, where the upper blocks need more of the lower ones than a hidden state a token,
    and where the lower ones read what lies above them, which a trial finds out.

    Raises:
        ValueError: The model has no list of transformer blocks.
    """
    name, blocks = block_list(model)
    around = _around(model, name)
    if not 0 < count < len(blocks) or around is None or _positions_by_batch(around):
        return None
    prefix = FrozenPrefix(around, list(blocks)[:count], list(blocks)[count:], runtime)
    depth = depths(model)
    above = [p for name, p in model.named_parameters() if depth[name] > count and p.requires_grad]
    if not prefix.agrees() or prefix.reads(above):
        return None

    def whole(trained: nn.Module) -> nn.Module:
        prefix.close()
        return trained

    return Shortened(prefix.opened(model), whole, prefix.fill)


def _positions_by_batch(model: PreTrainedModel) -> bool:
    """Whether the rotation of positions goes by the longest row of a batch, so that a text is not the same in every."""
    configs = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    rotations = [getattr(config, name, None) for config in configs for name in ("rope_parameters", "rope_scaling")]
    kinds = [part for found in rotations if found for part in (found, *found.values()) if isinstance(part, Mapping)]
    return any(kind.get("rope_type", kind.get("type")) in _BY_BATCH for kind in kinds)


def _around(model: nn.Module, name: str) -> PreTrainedModel | None:
    """The innermost transformers model that the module of this name is in: what is given the token ids."""
    parts = name.split(".")
    inside = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]
    return next((found for found in reversed(inside) if isinstance(found, PreTrainedModel)), None)


class FrozenPrefix:
    """What the lower blocks of a model give; stands in the place of the model's `forward` while it is open.

    Not a hook, since sentence-transformers and PEFT call `forward` by its name.

    Args:
        around: The model that is given the token ids.
        lower: Its lowest blocks, which with all that lies below them stay as they are.
        upper: The blocks above.
    """

    def __init__(
        self, around: PreTrainedModel, lower: Sequence[nn.Module], upper: Sequence[nn.Module], runtime: Runtime
    ) -> None:
        self._around = around
        self._lower = list(lower)
        self._upper = list(upper)
        self._runtime = runtime
        self._forward: Callable[..., Any] = around.forward
        self.__signature__ = inspect.signature(around.forward)
        self._states: HiddenStates | None = None
        self._width = 0
        self._returned = 0
        """How many values a block gives in a tuple, the hidden state first; 0 where it gives that alone."""

    def agrees(self) -> bool:
        """Whether the upper blocks say of looked-up states what the model says, tried on two rows of which one is
        padded."""
        runs = [
            Run.of([token % self._vocabulary for token in range(first, last)]) for first, last in ((5, 16), (7, 13))
        ]
        inputs = self._inputs(runs)
        real = inputs["attention_mask"].bool()
        training = self._around.training
        self._around.train(False)
        try:
            with torch.no_grad(), self._watched():
                expected = self._forward(**inputs)[0]
            states = self._computed(runs)
            given = torch.zeros(*real.shape, states[0].shape[-1], dtype=states[0].dtype, device=real.device)
            given[real] = torch.cat(states)
            with torch.no_grad(), standing_in(self._lower, self._giving(given)):
                found = self._forward(**inputs)[0]
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            return False  # its blocks are called in a way of their own
        finally:
            self._around.train(training)
        self._width = given.shape[-1]
        return bool((found - expected)[real].norm() <= _AGREE * expected[real].norm())

    def reads(self, above: Sequence[Tensor]) -> bool:
        """Whether the lower blocks' states hang on one of these, so that they would change with it."""
        with torch.enable_grad():
            (states,) = self._below([Run.of(range(5))])
            if not above or not states.requires_grad:
                return False
            found = torch.autograd.grad(states.sum(), above, allow_unused=True)
        return any(gradient is not None for gradient in found)

    @property
    def _vocabulary(self) -> int:
        return int(self._around.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note in which form a block gives its hidden state."""

        def watch(_: nn.Module, __: Any, output: Any) -> None:
            self._returned = len(output) if isinstance(output, tuple) else 0

        handle = self._lower[0].register_forward_hook(watch)
        try:
            yield
        finally:
            handle.remove()

    def opened(self, model: nn.Module) -> nn.Module:
        """The model, which from here on looks up what was filled in."""
        vars(self._around)["forward"] = self
        return model

    def close(self) -> None:
        """Leave the model alone, and forget."""
        vars(self._around).pop("forward", None)
        self._states = None

    def fill(self, runs: Iterable[Run], job: Job) -> None:
        """Compute the states of all that training will look up, each distinct run once, the longest first.

        They are kept in the run's precision. What finds no room is computed again whenever it is met.
        """
        distinct = sorted(set(runs), key=lambda run: (-len(run), run.ids, run.types))
        tokens = sum(map(len, distinct))
        states = HiddenStates(tokens, self._width, self._runtime.dtype, job.out / WORK)
        with job.display.stage("computing what stays frozen, once", tokens, "tokens") as bar, self._precision():
            for batch in _batches(distinct, self._runtime.batch_tokens):
                kept = [states.add(run, found) for run, found in zip(batch, self._computed(batch), strict=True)]
                bar.advance(sum(map(len, batch)))
                if not all(kept):
                    job.display.warn(f"The disk has room for {len(states)} of {len(distinct)} texts' hidden states.")
                    break
        self._states = states

    def _precision(self) -> AbstractContextManager[Any]:
        """The run's, as training computes."""
        dtype = self._runtime.dtype
        return nullcontext() if dtype.itemsize >= 4 else torch.autocast(self._runtime.device.type, dtype=dtype)

    def _inputs(self, runs: Sequence[Run]) -> dict[str, Tensor]:
        """The runs as rows, padded on the right."""
        width = max(map(len, runs))
        columns = [run.columns for run in runs]
        filler = int(getattr(self._around.config, "pad_token_id", None) or 0)

        def padded(values: Sequence[list[int]], filler: int) -> Tensor:
            rows = [value + [filler] * (width - len(value)) for value in values]
            return torch.tensor(rows, device=self._around.device)

        inputs = {
            "input_ids": padded([ids for ids, _ in columns], filler),
            "attention_mask": padded([[1] * len(run) for run in runs], 0),
        }
        if any(run.types for run in runs):
            inputs["token_type_ids"] = padded([types for _, types in columns], 0)
        return inputs

    def _computed(self, runs: Sequence[Run]) -> list[Tensor]:
        """What the lowest upper block is given for each run, (tokens, width), without dropout and without gradients."""
        with torch.no_grad():
            return self._below(runs)

    def _below(self, runs: Sequence[Run]) -> list[Tensor]:
        caught: list[Tensor] = []

        def catch(*args: Any, **kwargs: Any) -> Any:
            caught.append(hidden_of(args, kwargs))
            return self._as_block(caught[0])

        def leave(*args: Any, **kwargs: Any) -> Any:
            return self._as_block(hidden_of(args, kwargs))

        training = self._around.training
        self._around.train(False)
        try:
            with standing_in(self._upper[:1], catch), standing_in(self._upper[1:], leave):
                self._forward(**self._inputs(runs))
        finally:
            self._around.train(training)
        return [states[: len(run)] for states, run in zip(caught[0], runs, strict=True)]

    def _as_block(self, hidden: Tensor) -> Any:
        return (hidden, *[None] * (self._returned - 1)) if self._returned else hidden

    def _giving(self, given: Tensor) -> Callable[..., Any]:
        def give(*args: Any, **kwargs: Any) -> Any:
            return self._as_block(given.to(hidden_of(args, kwargs).dtype))

        return give

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model says of a batch."""
        inputs = {**dict(zip(self.__signature__.parameters, args, strict=False)), **kwargs}
        given = self._looked_up(inputs)
        if given is None:
            return self._forward(*args, **kwargs)
        with standing_in(self._lower, self._giving(given)):
            return self._forward(**inputs)

    def _looked_up(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """The lower blocks' hidden states of a batch, (B, L, width), zeros for its padding."""
        batch = placed(inputs) if self._around.training and self._states is not None else None
        if batch is None or self._states is None:
            return None
        ids: Tensor = inputs["input_ids"]
        return self._given(batch, ids.shape, self._states).to(ids.device)

    def _given(self, batch: Sequence[Placed], shape: torch.Size, states: HiddenStates) -> Tensor:
        rows = np.zeros(shape, np.int64)
        missing = list(dict.fromkeys(run for _, _, run in batch if run not in states))
        for row, start, run in batch:
            if run in states:
                rows[row, start : start + len(run)] = states.rows(run)
        found = states.gather(torch.from_numpy(rows))
        if missing:
            computed = dict(zip(missing, self._now(missing), strict=True))
            for row, start, run in batch:
                if run in computed:
                    found[row, start : start + len(run)] = computed[run]
        return found

    def _now(self, runs: Sequence[Run]) -> list[Tensor]:
        """`_computed` within a step, of whose autocast nothing may be kept that was computed without a graph."""
        kind = self._around.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        with torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False):
            return self._computed(runs)


def _batches(runs: Sequence[Run], tokens: int) -> Iterator[Sequence[Run]]:
    """Cut runs, the longest first, by a budget of padded tokens."""
    start = 0
    while start < len(runs):
        size = max(1, tokens // max(1, len(runs[start])))
        yield runs[start : start + size]
        start += size
