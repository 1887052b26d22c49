"""openvino: OpenVINO in the run's number format."""

from __future__ import annotations

from pathlib import Path

from raglift.models.backends._base import Forward, GraphBackend
from raglift.models.backends._openvino import MODULES, forward_of
from raglift.models.device import Runtime


class OpenVino(GraphBackend):
    """The model's graph, as OpenVINO compiles it for the processor."""

    name = "openvino"
    about = "OpenVINO in float32, or bfloat16 where `runtime.dtype` is; Intel's and other processors."
    modules = MODULES
    extra = "openvino"

    def precision(self, runtime: Runtime) -> str:
        return f"openvino {runtime.dtype} cpu"

    def forward(self, graph: Path, runtime: Runtime) -> Forward:
        return forward_of(graph, runtime)


PLUGIN = OpenVino()
