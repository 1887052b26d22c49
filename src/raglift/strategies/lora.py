"""Low-rank adapters and PEFT's other tuners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from pydantic import Field, PrivateAttr, model_validator
from torch import nn

from raglift.models.low_rank import quicken_lora
from raglift.models.reranker import inner_head
from raglift.plugins import nearest
from raglift.records import Target
from raglift.strategies import _adalora
from raglift.strategies._tuners import TUNERS, Size, Tuner
from raglift.training.frozen_prefix import shorten
from raglift.training.parameters import blocks_below, trainable
from raglift.training.strategy import Axis, Shortened, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.models.device import Runtime
    from raglift.training.strategy import State

_SIZES = ("rank", "alpha", "dropout")


class Lora(Strategy):
    """LoRA: the weights stay, and a product of two thin matrices is learned beside each linear layer.

    For a linear layer `W` the output becomes `W x + (alpha / rank) B A x` with `A` of shape (rank, in) drawn at random
    and `B` of shape (out, rank) zero, so that training starts from the base exactly. `tuner` names another of PEFT's
    tuners in its place; the table in `_tuners.py` says which there are and where each comes from.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "parameter-efficient fine-tuning"
    approach: ClassVar[str] = "low-rank adaptation"
    when: ClassVar[str] = "language models, little memory, many variants of one base; the default for language models"
    paper: ClassVar[str] = "Hu et al. 2022, LoRA, equation 3"
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-3, "llm": 5e-4, "rerank": 1e-3}

    tuner: str = Field("lora", description="which of PEFT's tuners; those after `lora` bring defaults of their own")
    rank: int = Field(16, ge=1, description="width of the thin matrices")
    alpha: int = Field(32, ge=1, description="scale: what is learned is multiplied by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the thin matrices")
    target_modules: str | tuple[str, ...] = Field("all-linear", description="layers to adapt, by PEFT's rules")
    _step: int = PrivateAttr(0)
    _start: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, values: Any) -> Any:
        """Fill in what the tuner has by itself; refuse what it has not."""
        name = values.get("tuner", "lora") if isinstance(values, dict) else "lora"
        if not isinstance(values, dict) or not isinstance(name, str):
            return values
        if name not in TUNERS:
            raise ValueError(f"there is no tuner {name!r} ({nearest(name, list(TUNERS))})")
        settings = TUNERS[name].settings
        for setting in _SIZES:
            if setting in values and setting not in settings:
                raise ValueError(f"the tuner {name!r} has no {setting}")
        # What comes from YAML or JSON has lists, which are no tuples to a strict check once they went through here.
        return {
            **settings,
            **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()},
        }

    @property
    def _tuner(self) -> Tuner:
        return TUNERS[self.tuner]

    def learning_rate(self, target: Target) -> float | None:
        """The tuner's own."""
        return self.learning_rates[target] * self._tuner.rate

    def rates(self, model: nn.Module, target: Target) -> Mapping[str, float]:
        """The tuner's factors, such as LoRA+'s 16 for `B`."""
        factors = self._tuner.factors
        return {name: factor for name in trainable(model) for part, factor in factors.items() if f".{part}." in name}

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze the base and put what is learned beside its linear layers, those of every attention and feed-forward
        block unless named otherwise (Dettmers et al. 2023 found that all of them are needed)."""
        config = self._config()
        if target == "rerank":
            config.modules_to_save = inner_head(model) or None
        if target != "llm":
            inner = model[0]  # type: ignore[index]
            inner.model = get_peft_model(inner.model, config)
        else:
            model = get_peft_model(model, config)
        quicken_lora(model)
        if self._tuner.moves_base:
            self._start = {name: value.detach().clone() for name, value in trainable(model).items()}
        return model

    def _config(self) -> Any:
        modules = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        return self._tuner.config(Size(self.rank, self.alpha, self.dropout, modules))

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened | None:
        """With the blocks looked up that lie below every adapted layer, where only some are named."""
        if self.target_modules == "all-linear":
            return None
        config, inner = self._config(), model[0].model if target != "llm" else model  # type: ignore[index]
        adapted = [name for name, _ in inner.named_modules() if check_target_module_exists(config, name)]
        return shorten(model, blocks_below(inner, adapted), runtime)

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        """Tell AdaLoRA how long the training is."""
        self._step = step
        _adalora.schedule(model, total)

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """AdaLoRA's orthogonality."""
        return _adalora.orthogonality(model)

    def after_step(self, model: nn.Module) -> None:
        """Let AdaLoRA take ranks."""
        _adalora.allocate(model, self._step)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """AdaLoRA's scores of the ranks, and which are left."""
        return _adalora.state(model)

    def restore(self, model: nn.Module, state: State) -> None:
        """Put AdaLoRA's scores back."""
        _adalora.restore(model, state)

    def mixes(self) -> bool:
        """Whether what the tuner adds to the weights can be scaled."""
        return self._tuner.mixes

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        """Scale the product, not its factors: `A` stays as tuned and `B`, zero in the base, takes the share.

        Mixing both would add cross-terms and scale what was learned by the share's square.

        Raises:
            ValueError: The tuner has no mixes.
        """
        scaled = self._tuner.scaled
        if not self.mixes():
            raise ValueError(f"the tuner {self.tuner!r} has no mixes of base and tuned weights")
        if not scaled:
            return super().mix(base, tuned, share)
        mixed = {name: value * share if f".{scaled}" in name else value.clone() for name, value in tuned.items()}
        # A reranker's head is no adapter: its own weights move.
        return mixed | {name: base[name].lerp(tuned[name], share) for name in tuned if not _is_adapters(name)}

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write the adapter alone, as a PEFT folder that goes onto the plain base."""
        if not isinstance(model, PeftModel):
            return False
        _adalora.settle(model)
        if self._start:
            self._save_from_the_base(model, folder)
        else:
            model.save_pretrained(str(folder), safe_serialization=True)
        return True

    def _save_from_the_base(self, model: PeftModel, folder: Path) -> None:
        """As a LoRA of twice the rank, by PEFT's conversion: what is learned less what the base was split into."""
        for config in model.peft_config.values():
            assert isinstance(config, LoraConfig)
            config.init_lora_weights = True  # what is written is no longer to be split off from the base
        parameters = trainable(model)
        learned = {name: value.detach().clone() for name, value in parameters.items()}
        with TemporaryDirectory() as work, torch.no_grad():
            start = Path(work) / "start"
            for name, value in parameters.items():
                value.copy_(self._start[name])
            model.save_pretrained(str(start), safe_serialization=True)
            for name, value in parameters.items():
                value.copy_(learned[name])
            model.save_pretrained(
                str(folder), safe_serialization=True, path_initial_model_for_weight_conversion=str(start)
            )

    def finish(self, model: nn.Module) -> nn.Module:
        """Merge what is learned into the weights."""
        if isinstance(model, PeftModel):
            merged: nn.Module = model.merge_and_unload()
            return merged
        inner = model[0]  # type: ignore[index]
        inner.model = inner.model.merge_and_unload()
        return model


def _is_adapters(name: str) -> bool:
    """Whether PEFT put the parameter of this name beside a layer of the model's."""
    return "base_model." in name and ".modules_to_save." not in name


PLUGIN = Lora
