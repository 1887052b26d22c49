"""The entries of the weights that matter most to the task change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from raglift.models.adapters import sparse
from raglift.models.reranker import head
from raglift.records import Target
from raglift.training.frozen_prefix import shorten
from raglift.training.parameters import block_list, blocks_below, trainable
from raglift.training.strategy import Axis, Shortened, Strategy
from raglift.training.study import Study

if TYPE_CHECKING:
    from raglift.models.device import Runtime

Score = Literal["fisher", "gradient", "movement"]

_TERMS: dict[Score, Callable[[Tensor, Tensor], Tensor]] = {
    "fisher": lambda gradient, _: gradient.square(),
    "gradient": lambda gradient, _: gradient,
    "movement": lambda gradient, weight: -weight * gradient,
}
"""What a batch adds to the score of an entry, from its gradient and its weight."""


class VitalParameters(Strategy):
    """A preliminary pass scores every entry of the weight matrices; the share that scores highest learns, alone.

    - `fisher`: the sum of squared gradients, a batch at a time (Sung et al. 2021, equation 5).
    - `gradient`: the magnitude of the summed gradient (Zhang et al. 2024, GPS).
    - `movement`: the sum of -weight * gradient, high where the first steps would grow a weight (Sanh et al. 2020,
      equation 3).

    Updates are confined exactly: entries that were not chosen have no gradient, so that they do not count when its norm
    is cut, and weight decay, which moves a weight without one, is undone bit for bit. A reranker's head learns whole,
    beside the share.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "parameter-efficient fine-tuning"
    approach: ClassVar[str] = "selected parameters"
    when: ClassVar[str] = "the least change of the base that serves the task; small files and no added layers"
    paper: ClassVar[str] = "Sung et al. 2021, FISH Mask; Sanh et al. 2020, movement pruning; Zhang et al. 2024, GPS"
    full_precision: ClassVar[bool] = True
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-3, "llm": 5e-4, "rerank": 1e-3}

    score: Score = Field("fisher", description="what makes an entry vital: fisher, gradient or movement")
    share: float = Field(0.005, gt=0, le=1, description="of the entries of the weight matrices, those that learn")
    batches: int = Field(32, ge=1, description="batches of the preliminary pass, at most an epoch")
    target_modules: str | tuple[str, ...] = Field(
        "all-linear", description="the linear layers of the blocks, or those whose names end so"
    )
    whole: bool = Field(False, description="save the whole model instead of the changed entries")
    _masks: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _base: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze all but the weights of the linear layers that are chosen from.

        Raises:
            ValueError: There are none, or the model has no blocks.
        """
        found = self._layers(model)
        model.requires_grad_(False)
        for weight in (*(layer.weight for layer in found.values()), *head(model).values()):
            weight.requires_grad_(True)
        return model

    def _layers(self, model: nn.Module) -> dict[str, nn.Linear]:
        """The linear layers that are chosen from, by name."""
        prefix, blocks = block_list(model)
        ends = self.target_modules if isinstance(self.target_modules, tuple) else (self.target_modules,)
        found = {
            name: module
            for name, module in blocks.named_modules(prefix=prefix)
            if isinstance(module, nn.Linear) and (ends == ("all-linear",) or name.endswith(ends))
        }
        if not found:
            raise ValueError(f"no linear layer of its blocks ends in {' or '.join(ends)}")
        return found

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened | None:
        """With the blocks looked up that lie below every layer that is chosen from."""
        return shorten(model, blocks_below(model, self._layers(model)), runtime)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Score the entries, and choose."""
        whole = head(model)
        parameters = {name: value for name, value in trainable(model).items() if name not in whole}
        term = _TERMS[self.score]
        scores = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        for gradients in study.gradients(model, self.batches, f"scoring the {study.target} model's weights"):
            for name in scores.keys() & gradients.keys():
                scores[name] += term(gradients[name], parameters[name].detach())
        if self.score == "gradient":
            scores = {name: score.abs_() for name, score in scores.items()}
        every = {name: torch.ones_like(value, dtype=torch.bool) for name, value in whole.items()}
        self._masks = highest(scores, self.share) | every
        self._base = {name: study.base[name] for name in self._masks}

    def after_backward(self, model: nn.Module) -> None:
        """No gradient outside of the mask."""
        for name, parameter in trainable(model).items():
            if parameter.grad is not None:
                parameter.grad.mul_(self._masks[name])

    def after_step(self, model: nn.Module) -> None:
        """Put back what was moved without one."""
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(torch.where(self._masks[name], parameter, self._base[name]))

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write the chosen entries alone, as a difference from the base, unless the whole model is wanted."""
        if self.whole:
            return False
        parameters = trainable(model)
        chosen = {name: mask for name, mask in self._masks.items() if bool(mask.any())}
        sparse.write(
            folder,
            {
                name: (parameters[name], None) if bool(mask.all()) else (parameters[name][mask], mask)
                for name, mask in chosen.items()
            },
        )
        return True


def highest(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Name -> mask of the entries that are among the highest `share` of all, at least one.

    Only what is among that many of its own tensor can be, so that no more than those are held together.
    """
    count = max(1, round(share * sum(score.numel() for score in scores.values())))
    best = {name: score.flatten().topk(min(count, score.numel())) for name, score in scores.items()}
    chosen = torch.zeros(sum(len(top.values) for top in best.values()), dtype=torch.bool)
    chosen[torch.cat([top.values.cpu() for top in best.values()]).topk(count).indices] = True
    masks, start = {}, 0
    for name, top in best.items():
        taken = chosen[start : start + len(top.values)].to(top.indices.device)
        start += len(top.values)
        mask = torch.zeros_like(scores[name], dtype=torch.bool)
        mask.view(-1)[top.indices[taken]] = True
        masks[name] = mask
    return masks


PLUGIN = VitalParameters
