"""Mixes of base and tuned weights, and averages of tuned ones, chosen on the development split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr, field_serializer, field_validator, model_validator
from torch import nn

from raglift.training.soup import content_of, stir, tuned_elsewhere
from raglift.training.strategy import Axis, Scored, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.training.study import Study


class WeightInterpolation(Strategy):
    """Offer `(1 - share) * base + share * tuned` for several shares as candidates to choose from.

    On the straight line between the two, models often keep most of the tuned one's gain and most of the base's breadth.
    The strategy that decides which parameters change says what a mix is: with an adapter, the base is the adapter
    switched off.

    With `soup`, averages of tuned models are offered too: of the states that this training scored, and of the models in
    the folders `others`, which other trainings of the same base saved whole. The uniform soup is the mean of all, the
    greedy soup adds one after the other where the score does not fall. With an adapter, its own weights are averaged;
    the states of one training share their start and lie near each other, so that this is nearly the average of the
    merged weights.

    References:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), equation 1.
        Wortsman et al. 2022, "Model soups", recipe 1.
    """

    axis: ClassVar[Axis] = "anchor"
    family: ClassVar[str] = "regularised fine-tuning"
    approach: ClassVar[str] = "weight-space interpolation"
    when: ClassVar[str] = "always worth it with few questions: costs a few scorings and no training"
    paper: ClassVar[str] = "Wortsman et al. 2022, WiSE-FT, equation 1"
    needs_mixes: ClassVar[bool] = True

    shares: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="shares of the tuned weights that are tried")
    soup: bool = Field(False, description="try averages of the states that were scored too")
    others: tuple[Path, ...] = Field((), description="folders of whole tuned models that go into the soup")

    _others: list[Scored] = PrivateAttr(default_factory=list)

    @field_validator("shares")
    @classmethod
    def _inside(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or any(not 0 < share < 1 for share in shares):
            raise ValueError("every share must lie between 0 and 1")
        return shares

    @field_validator("others")
    @classmethod
    def _there(cls, others: tuple[Path, ...]) -> tuple[Path, ...]:
        for folder in others:
            if not any(folder.rglob("*.safetensors")):
                raise ValueError(f"{folder} holds no safetensors file")
        return others

    @model_validator(mode="after")
    def _of_use(self) -> WeightInterpolation:
        if self.others and not self.soup:
            raise ValueError("others go into a soup: set soup to true")
        return self

    @field_serializer("others")
    def _contents(self, others: tuple[Path, ...]) -> list[str]:
        """What the models are decides the result, not where they lie."""
        return [content_of(folder) for folder in others]

    @property
    def keeps_states(self) -> bool:
        """For the soup."""
        return self.soup

    def further_scorings(self, scored: int) -> int:
        """The mixes; and for the soup the other models, the uniform soup, and each but the best joining the greedy
        one."""
        return len(self.shares) + (len(self.others) + scored + len(self.others) if self.soup else 0)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Load the other trainings' models, whose scores are not known yet."""
        self._others = [
            Scored(
                f"{folder.parent.name}/{folder.name}",
                float("nan"),
                tuned_elsewhere(folder, study.target, model, study.base),
            )
            for folder in (self.others if self.soup else ())
        ]

    def candidates(self, mix: Callable[[float], dict[str, Tensor]]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One mix a share."""
        for share in self.shares:
            yield f"mix {share:g}", mix(share)

    def soups(self, states: Sequence[Scored], offer: Callable[[str, dict[str, Tensor]], float]) -> None:
        """The other trainings' models, and averages of all."""
        if self.soup:
            others = [
                Scored(other.name, offer(other.name, dict(other.weights)), other.weights) for other in self._others
            ]
            stir([*states, *others], offer)


PLUGIN = WeightInterpolation
