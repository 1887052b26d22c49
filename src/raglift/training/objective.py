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

    from raglift.models.find import FoundModel


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

    def depends(self) -> list[Any]:
        """What else decides the loss, beside the settings: the revisions of the models that it reads, above all.

        Raises:
            UserError: A model that it names is not there.
        """
        return []

    def check(self, base: FoundModel) -> None:
        """Look at what is named beside the model that is to be trained, before anything is built.

        Raises:
            UserError: It is not there, or the two do not fit together.
        """
        self.depends()

    def weight(self, batch: Any) -> float:
        """What a batch counts where the gradients of several make one step."""
        return 1.0
