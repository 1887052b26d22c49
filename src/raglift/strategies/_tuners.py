"""PEFT's tuners that `lora` offers by name: their configurations, what suits each, and how its mixes are made.

All begin from the base, up to rounding, and merge into its weights, on the language model and on the embedding model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from peft import (
    AdaLoraConfig,
    FourierFTConfig,
    GraloraConfig,
    HiraConfig,
    HRAConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftConfig,
    RandLoraConfig,
    RoadConfig,
    ShiraConfig,
    VeraConfig,
    WaveFTConfig,
)

Modules = str | list[str]


@dataclass(frozen=True, slots=True)
class Size:
    """What a configuration is made from.

    Attributes:
        rank: Width of what is learned beside a layer, or what stands for it.
        alpha: Scale of what is learned.
        dropout: Of the input of what is learned.
        modules: Layers to adapt, by PEFT's rules.
    """

    rank: int
    alpha: int
    dropout: float
    modules: Modules


@dataclass(frozen=True, slots=True)
class Tuner:
    """One of PEFT's tuners.

    Attributes:
        config: Its configuration.
        paper: Where it comes from.
        settings: Which of rank, alpha and dropout it has, with its own defaults.
        rate: The learning rate that suits it, times LoRA's.
        scaled: The part of the parameters' names in which what is added to the weights is linear while the others stay:
            a mix multiplies it by the share. Where empty, it is linear in all of them, and they move on a line.
        mixes: Whether mixes of base and tuned weights can be had at all.
        moves_base: Whether it takes its start out of the base's own weights.
        factors: Part of a parameter's name -> factor on its learning rate.
    """

    config: Callable[[Size], PeftConfig]
    paper: str
    settings: Mapping[str, float] = field(default_factory=lambda: {"rank": 16, "alpha": 32, "dropout": 0.0})
    rate: float = 1.0
    scaled: str = ""
    mixes: bool = True
    moves_base: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)


def _lora(size: Size, **more: Any) -> PeftConfig:
    return LoraConfig(
        r=size.rank, lora_alpha=size.alpha, lora_dropout=size.dropout, target_modules=size.modules, **more
    )


def _adalora(size: Size) -> PeftConfig:
    # The schedule is set when the number of steps is known; the orthogonality's weight is the paper's.
    return AdaLoraConfig(
        init_r=ceil(1.5 * size.rank),
        target_r=size.rank,
        lora_alpha=size.alpha,
        lora_dropout=size.dropout,
        target_modules=size.modules,
        total_step=1_000_000,
        orth_reg_weight=0.1,
    )


def _ia3(size: Size) -> PeftConfig:
    return IA3Config(target_modules=size.modules, feedforward_modules=[])


def _vera(size: Size) -> PeftConfig:
    return VeraConfig(r=size.rank, vera_dropout=size.dropout, target_modules=size.modules)


def _oft(size: Size) -> PeftConfig:
    return OFTConfig(r=0, oft_block_size=size.rank, module_dropout=size.dropout, target_modules=size.modules)


def _hra(size: Size) -> PeftConfig:
    return HRAConfig(r=size.rank, target_modules=size.modules)


def _road(size: Size) -> PeftConfig:
    return RoadConfig(group_size=size.rank, target_modules=size.modules)


def _shira(size: Size) -> PeftConfig:
    return ShiraConfig(r=size.rank, random_seed=0, target_modules=size.modules)


def _loha(size: Size) -> PeftConfig:
    return LoHaConfig(r=size.rank, alpha=size.alpha, module_dropout=size.dropout, target_modules=size.modules)


def _lokr(size: Size) -> PeftConfig:
    return LoKrConfig(r=size.rank, alpha=size.alpha, module_dropout=size.dropout, target_modules=size.modules)


def _randlora(size: Size) -> PeftConfig:
    return RandLoraConfig(
        r=size.rank, randlora_alpha=size.alpha, randlora_dropout=size.dropout, target_modules=size.modules
    )


def _fourierft(size: Size) -> PeftConfig:
    # Without `init_weights` PEFT draws the spectrum at random, and training would not begin from the base.
    return FourierFTConfig(
        n_frequency=_FREQUENCIES * size.rank,
        scaling=size.alpha,
        init_weights=True,
        random_loc_seed=0,
        target_modules=size.modules,
    )


def _waveft(size: Size) -> PeftConfig:
    return WaveFTConfig(
        n_frequency=_FREQUENCIES * size.rank,
        scaling=size.alpha,
        init_weights=True,
        random_loc_seed=0,
        target_modules=size.modules,
    )


def _miss(size: Size) -> PeftConfig:
    return MissConfig(r=size.rank, miss_dropout=size.dropout, target_modules=size.modules)


def _gralora(size: Size) -> PeftConfig:
    return GraloraConfig(
        r=size.rank, alpha=size.alpha, gralora_k=2, gralora_dropout=size.dropout, target_modules=size.modules
    )


def _hira(size: Size) -> PeftConfig:
    return HiraConfig(r=size.rank, hira_dropout=size.dropout, target_modules=size.modules)


_FREQUENCIES = 64
"""Coefficients a layer that one unit of rank stands for: 1,024 at rank 16, about the papers' 1,000."""


def _has(rank: int | None = None, alpha: int | None = None, dropout: float | None = None) -> dict[str, float]:
    given = {"rank": rank, "alpha": alpha, "dropout": dropout}
    return {name: value for name, value in given.items() if value is not None}


TUNERS: dict[str, Tuner] = {
    "lora": Tuner(_lora, "Hu et al. 2022, LoRA", scaled="lora_B"),
    "dora": Tuner(lambda size: _lora(size, use_dora=True), "Liu et al. 2024, DoRA", mixes=False),
    "rslora": Tuner(
        # alpha / sqrt(rank): LoRA's scale of 2 at rank 16.
        lambda size: _lora(size, use_rslora=True),
        "Kalajdzievski 2023, rsLoRA",
        _has(16, 8, 0.0),
        scaled="lora_B",
    ),
    "pissa": Tuner(
        lambda size: _lora(size, init_lora_weights="pissa"),
        "Meng et al. 2024, PiSSA",
        _has(16, 16, 0.0),
        rate=0.3,
        mixes=False,
        moves_base=True,
    ),
    "olora": Tuner(
        lambda size: _lora(size, init_lora_weights="olora"),
        "Büyükakyüz 2024, OLoRA",
        _has(16, 16, 0.0),
        mixes=False,
        moves_base=True,
    ),
    "loraplus": Tuner(_lora, "Hayou et al. 2024, LoRA+", rate=0.25, scaled="lora_B", factors={"lora_B": 16.0}),
    "adalora": Tuner(_adalora, "Zhang et al. 2023, AdaLoRA", rate=5.0, scaled="lora_E"),
    "ia3": Tuner(_ia3, "Liu et al. 2022, (IA)^3", _has(), rate=10.0),
    "vera": Tuner(_vera, "Kopiczko et al. 2024, VeRA", _has(256, dropout=0.0), rate=30.0, scaled="vera_lambda_b"),
    "oft": Tuner(_oft, "Qiu et al. 2023, OFT; Qiu et al. 2025, OFTv2", _has(32, dropout=0.0), mixes=False),
    "hra": Tuner(_hra, "Yuan et al. 2024, HRA", _has(8), mixes=False),
    "road": Tuner(_road, "Liao and Monz 2024, RoAd", _has(32), rate=10.0, mixes=False),
    "shira": Tuner(_shira, "Bhardwaj et al. 2024, SHiRA", _has(16)),
    "loha": Tuner(_loha, "Hyeon-Woo et al. 2022, FedPara", rate=5.0, scaled="hada_w2_b"),
    "lokr": Tuner(_lokr, "Edalati et al. 2022, KronA", rate=5.0, scaled="lokr_w1"),
    "randlora": Tuner(_randlora, "Albert et al. 2025, RandLoRA", _has(32, 640, 0.0), scaled="randlora_lambda"),
    "fourierft": Tuner(_fourierft, "Gao et al. 2024, FourierFT", _has(16, 150), rate=30.0),
    "waveft": Tuner(_waveft, "Bilican et al. 2025, WaveFT", _has(16, 25)),
    "miss": Tuner(_miss, "Kang and Yin 2025, MiSS", _has(16, dropout=0.0), rate=0.3),
    "gralora": Tuner(_gralora, "Jung et al. 2025, GraLoRA", scaled="gralora_B"),
    "hira": Tuner(_hira, "Huang et al. 2025, HiRA", _has(32, dropout=0.0), rate=10.0, scaled="hira_B"),
}
"""Name -> tuner."""
