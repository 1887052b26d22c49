"""ONNX Runtime for encoding: sessions that share the processor as torch's lanes do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raglift.models.backends._base import Forward
from raglift.models.device import Runtime
from raglift.models.lanes import lane_count

MODULES = ("onnx", "onnxscript", "onnxruntime")
_ERROR = 3
"""ONNX Runtime's number for errors, among what it logs."""


def forward_of(graph: Path, runtime: Runtime) -> Forward:
    """A graph's forward pass by ONNX Runtime on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Batches come from several threads at once; where each has a processor to itself, none needs help.
    options.intra_op_num_threads = 1 if lane_count(runtime.device) == runtime.threads else runtime.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERROR
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]

    def forward(batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {name: batch[name] for name in inputs})[0]
        return found

    return forward
