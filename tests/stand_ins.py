"""Plug-ins that stand for the package's own where a config is read."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from raglift.config import PluginSpec

NAMES = {
    "chunker": ["markdown", "semantic", "sentence", "token"],
    "index kind": ["binary", "flat", "hnsw", "ivf_flat", "ivf_pq", "scalar"],
    "encoding backend": ["onnx", "onnx_int8", "openvino", "openvino_int8", "torch"],
    "strategy": ["full", "lora", "weight_interpolation", "generator_only", "broken", "l2_sp"],
    "objective": ["answer_only", "listwise", "multiple_negatives"],
    "question kind": ["explanation", "factoid", "keyword"],
    "question filter": ["length", "round_trip"],
    "prompt style": ["few_shot", "walkthrough"],
    "prompt": ["grounded"],
    "recipe ingredient": ["epochs", "learning_rate", "strategies"],
    "response metric": ["abstention", "exact_match", "rouge_l", "semantic_similarity", "token_f1"],
}


class Strategy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    axis: ClassVar[str] = "parameters"
    targets: ClassVar[frozenset[str]] = frozenset({"embedding", "llm"})
    needs_mixes: ClassVar[bool] = False
    layered: ClassVar[bool] = True
    by_depth: ClassVar[bool] = False


class Lora(Strategy):
    rank: int = Field(16, ge=1)
    alpha: float = 32.0
    modules: tuple[str, ...] = ()


class Interpolation(Strategy):
    axis: ClassVar[str] = "anchor"


class GeneratorOnly(Strategy):
    axis: ClassVar[str] = "tasks"
    targets: ClassVar[frozenset[str]] = frozenset({"llm"})


class AnswerOnly(BaseModel):
    model_config = ConfigDict(extra="forbid")
    target: ClassVar[str] = "llm"


class MultipleNegatives(BaseModel):
    model_config = ConfigDict(extra="forbid")
    target: ClassVar[str] = "embedding"
    scale: float = Field(20.0, gt=0)

    def needs_teacher(self) -> Any:
        return None


class Listwise(MultipleNegatives):
    def needs_teacher(self) -> Any:
        return PluginSpec(name="hybrid")


CLASSES: dict[str, type[BaseModel]] = {
    "answer_only": AnswerOnly,
    "multiple_negatives": MultipleNegatives,
    "listwise": Listwise,
    "full": Strategy,
    "lora": Lora,
    "weight_interpolation": Interpolation,
    "l2_sp": Interpolation,
    "generator_only": GeneratorOnly,
}


def load_plugin(kind: str, name: str) -> Any:
    if name == "broken":
        raise ImportError("No module named 'exotic'")
    return CLASSES[name]
