"""Layers begin to learn from the top, a group at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr
from torch import nn

from raglift.errors import UserError
from raglift.records import Target
from raglift.training.parameters import block_list, depths, discriminative, trainable
from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from raglift.training.study import Study


class GradualUnfreezing(Strategy):
    """ULMFiT's schedule: the highest group of blocks learns first, then the next below joins it, and so on.

    A group is `blocks` transformer blocks; what stands above the blocks learns with the highest, and the embeddings are
    the last group. The groups are those of what the strategy on the axis `parameters` lets learn, so that with an
    adapter its parts are unfrozen by the block in which they lie. They join at even distances, the last one at
    `unfrozen_at` of the steps; the paper gives every group an epoch, of which small sets have too few. As in the
    paper, every layer learns slower than the one above it by `depth_factor`.

    A group that waits takes no gradient: nothing below the lowest learning block is computed backwards, and the
    optimizer, weight decay included, passes it over.

    References:
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", sections 3.2 and 3.3.
    """

    axis: ClassVar[Axis] = "schedule"
    family: ClassVar[str] = "full fine-tuning"
    approach: ClassVar[str] = "gradual unfreezing"
    when: ClassVar[str] = "training that forgets: lower layers move late and little; early steps are cheaper"
    paper: ClassVar[str] = "Howard and Ruder 2018, ULMFiT, sections 3.2 and 3.3"
    by_depth: ClassVar[bool] = True

    blocks: int = Field(1, ge=1, description="blocks that begin to learn at a time")
    unfrozen_at: float = Field(0.5, gt=0, le=1, description="share of the steps after which everything learns")
    depth_factor: float = Field(2.6, ge=1, description="the learning rate is divided by it for every layer down")

    _groups: list[list[nn.Parameter]] = PrivateAttr(default_factory=list)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Group what may learn, from the highest.

        Raises:
            UserError: All of it lies in one group, or the model has no blocks.
        """
        parameters = trainable(model)
        try:
            count, found = len(block_list(model)[1]), depths(model)
        except ValueError as error:
            raise _pointless(str(error)) from error
        # What is above the highest block that learns goes with it: a group must reach the loss.
        top = max((found[name] for name in parameters if 0 < found[name] <= count), default=0)
        groups: dict[int, list[nn.Parameter]] = {}
        for name, parameter in parameters.items():
            depth = min(found[name], top)
            place = (top - depth) // self.blocks if depth else count + 1
            groups.setdefault(place, []).append(parameter)
        if len(groups) < 2:
            raise _pointless("all that may learn lies in one group")
        self._groups = [groups[place] for place in sorted(groups)]

    def rates(self, model: nn.Module, target: Target) -> Mapping[str, float]:
        """Slower from layer to layer downwards."""
        return discriminative(model, self.depth_factor)

    def learning(self, step: int, total: int) -> int:
        """How many groups learn at a step, counted from the top; a later step never has fewer."""
        last = min(round(self.unfrozen_at * total), total - 1)
        gaps = len(self._groups) - 1
        return 1 + sum(step >= round(last * place / gaps) for place in range(1, gaps + 1))

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        """Freeze the groups that wait, for this step alone."""
        for group in self._groups[self.learning(step, total) :]:
            for parameter in group:
                parameter.requires_grad_(False)

    def after_step(self, model: nn.Module) -> None:
        """Between steps all that may learn is seen to, by scorings, checkpoints and whoever holds the model after."""
        for group in self._groups:
            for parameter in group:
                parameter.requires_grad_(True)


def _pointless(why: str) -> UserError:
    return UserError(
        "gradual_unfreezing has nothing to unfreeze by depth.",
        f"It lets groups of transformer blocks learn one after the other, and {why}.",
        "Take gradual_unfreezing out, lower its setting blocks, or let more of the model learn.",
    )


PLUGIN = GradualUnfreezing
