"""onnx_int8: ONNX Runtime with matrix products in eight-bit integers."""

from __future__ import annotations

import logging
from pathlib import Path

from raglift.models.backends._base import Forward, GraphBackend, whole_file
from raglift.models.backends._onnxruntime import MODULES, forward_of
from raglift.models.device import Runtime


class OnnxInt8(GraphBackend):
    """The model's graph, dynamically quantised: weights channel by channel beforehand, inputs batch by batch.

    What is looked up (the words' embeddings), attention, norms and pooling stay in float32.
    """

    name = "onnx_int8"
    about = "ONNX Runtime with matrix products in int8; processors with AVX-512-VNNI, AVX-VNNI, AMX or their like."
    modules = MODULES
    extra = "onnx"

    def precision(self, runtime: Runtime) -> str:
        return "onnx int8 cpu"

    def forward(self, graph: Path, runtime: Runtime) -> Forward:
        file = graph.parent.with_name("dynamic-int8.onnx")
        return forward_of(whole_file(file, lambda file: quantise(graph, file)), runtime)


def quantise(graph: Path, file: Path) -> None:
    """Write the graph with its matrix products by constant weights in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    # It asks for a pre-processing that folds constants, which the exporter has done.
    logging.disable(max(before, logging.WARNING))
    try:
        quantize_dynamic(graph, file, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.disable(before)


PLUGIN = OnnxInt8()
