"""OpenVINO for encoding: as many streams as torch has lanes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raglift.models.backends._base import Forward
from raglift.models.device import Runtime
from raglift.models.lanes import lane_count

MODULES = ("onnx", "onnxscript", "openvino")
_TELEMETRY = "openvino_telemetry"


def library() -> Any:
    """The module `openvino`, which reports to nobody.

    Importing it sends an event unless its reporter cannot be imported; no setting of the environment stops that.
    """
    sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
    import openvino

    return openvino


def forward_of(graph: Path, runtime: Runtime, further: Mapping[str, Any] | None = None) -> Forward:
    """A graph's forward pass by OpenVINO on the processor, in the run's number format where it is not in integers.

    Args:
        further: Further properties of the compiled graph.
    """
    core = library().Core()
    lanes = lane_count(runtime.device)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if runtime.dtype == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": runtime.threads,
        "NUM_STREAMS": lanes,
        "ENABLE_CPU_PINNING": False,
        **(further or {}),
    }
    compiled = core.compile_model(core.read_model(str(graph)), "CPU", settings)
    inputs = [item.any_name for item in compiled.inputs]
    # A request holds the buffers of one batch at a time.
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(lanes):
        requests.put(compiled.create_infer_request())

    def forward(batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        request = requests.get()
        try:
            request.infer({name: batch[name] for name in inputs})
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        finally:
            requests.put(request)

    return forward
