"""A pull toward the starting weights, equally strong on every weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr
from torch import nn

from raglift.training.parameters import trainable
from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.training.study import Study


class L2SP(Strategy):
    """L2-SP: the penalty `0.5 * alpha * ||w - w0||^2` on the distance of the weights `w` from their start `w0`.

    Weight decay pulls toward zero and so away from what the base knows; this pulls toward the base. With an adapter the
    weights are the adapter's own, and the distance is what it has learned. Every weight has a starting point here, so
    that the paper's second term, for layers that are new, does not arise.

    The penalty enters as its exact gradient, `alpha * (w - w0)`, before the gradient is clipped; the loss that is
    logged does not hold it. Weights that a step does not train (their gradient is None) are not pulled either.

    References:
        Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
        equation 1 and section 3 (L2-SP).
    """

    axis: ClassVar[Axis] = "anchor"
    family: ClassVar[str] = "regularised fine-tuning"
    approach: ClassVar[str] = "distance from the starting weights"
    when: ClassVar[str] = "few examples or many epochs, at no cost: nothing is measured or computed beside the step"
    paper: ClassVar[str] = "Li et al. 2018, L2-SP, section 3"

    alpha: float = Field(0.1, gt=0, description="strength of the pull")

    _start: Mapping[str, Tensor] = PrivateAttr(default_factory=dict)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Remember where the weights start; the loop holds them anyway."""
        self._start = study.base

    def after_backward(self, model: nn.Module) -> None:
        """Add the penalty's gradient."""
        for name, parameter in trainable(model).items():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - self._start[name], alpha=self.alpha)


PLUGIN = L2SP
