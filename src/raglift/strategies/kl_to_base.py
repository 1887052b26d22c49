"""A price on saying something else than the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr
from torch import nn

from raglift.records import Target
from raglift.training.distributions import order_divergence, ranking_divergence, token_divergence
from raglift.training.forwards import Forwards
from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.training.study import Study


_MEASURES = {"llm": token_divergence, "embedding": ranking_divergence, "rerank": order_divergence}


class KLToBase(Strategy):
    """A penalty on how far the tuned model's outputs are from the base's, whatever its weights did.

    `strength * KL(base || tuned)` is added to the loss: for a language model over the next token's distribution, a mean
    over the positions that are learned; for an embedding model over the softmax of 20 times the cosines of a query and
    the batch's passages, a mean over the queries; for a reranker over the softmax of the scores of a question's
    passages. In this direction of the divergence what the base finds likely must stay likely. A new head finds nothing
    likely: there is nothing to stay near to.

    There is no second copy of the model: the base's outputs are the same forward pass with the starting weights in the
    place of the learned ones (with an adapter: switched off), without gradients and with the same dropout, so that the
    penalty is 0 at the start. The tuned outputs are those that the objective has computed, where it computed them once
    and whole, else one more forward pass.

    References:
        Li and Hoiem 2017, "Learning without Forgetting", equations 2 and 3 (old outputs on the new task's data).
        Ouyang et al. 2022, "Training language models to follow instructions with human feedback", equation 2, whose
        penalty is the divergence in the other direction.
    """

    axis: ClassVar[Axis] = "anchor"
    family: ClassVar[str] = "regularised fine-tuning"
    approach: ClassVar[str] = "distance from the base's outputs"
    when: ClassVar[str] = "the base already answers well and is to be corrected; up to half as much time again a step"
    paper: ClassVar[str] = "Li and Hoiem 2017, Learning without Forgetting, equation 3"

    strength: float = Field(0.1, gt=0, description="what a nat of divergence counts beside the objective")

    _base: Mapping[str, Tensor] = PrivateAttr(default_factory=dict)
    _target: Target = PrivateAttr("llm")
    _forwards: Forwards | None = PrivateAttr(None)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Remember where the weights start; the loop holds them anyway."""
        self._base, self._target = study.base, study.target

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        """Watch what the objective computes."""
        self._forwards = Forwards(model).open()

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """The divergence on the batch."""
        measure = _MEASURES[self._target]
        calls = self._forwards.take() if self._forwards is not None else []
        try:
            return {"divergence from the base": self.strength * measure(model, self._base, batch, calls)}
        finally:
            if self._forwards is not None:
                self._forwards.take()  # what was computed here

    def after_step(self, model: nn.Module) -> None:
        """Look away until the next step."""
        if self._forwards is not None:
            self._forwards.close()
            self._forwards = None


PLUGIN = KLToBase
