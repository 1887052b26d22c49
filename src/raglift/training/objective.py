"""What an objective is: the loss of one kind of model on a batch.

An objective file holds one subclass of `Objective` and names it `PLUGIN`. Its fields are its hyper-parameters, checked
when the config is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raglift.records import Target

if TYPE_CHECKING:
    from torch import Tensor, nn


class Objective(BaseModel):
    """A loss with its hyper-parameters.

    Attributes:
        target: The kind of model that it trains.
        when: When to use it.
        paper: Where it comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: ClassVar[Target]
    when: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch: a mean over what `weight` counts."""
        raise NotImplementedError

    def weight(self, batch: Any) -> float:
        """What a batch counts where the gradients of several make one step."""
        return 1.0
