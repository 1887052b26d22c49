"""onnx: ONNX Runtime in float32."""

from __future__ import annotations

from pathlib import Path

from raglift.models.backends._base import Forward, GraphBackend
from raglift.models.backends._onnxruntime import MODULES, forward_of
from raglift.models.device import Runtime


class Onnx(GraphBackend):
    """The model's graph, with what ONNX Runtime fuses of it."""

    name = "onnx"
    about = "ONNX Runtime in float32; processors that are slow in bfloat16."
    modules = MODULES
    extra = "onnx"

    def precision(self, runtime: Runtime) -> str:
        return "onnx float32 cpu"

    def forward(self, graph: Path, runtime: Runtime) -> Forward:
        return forward_of(graph, runtime)


PLUGIN = Onnx()
