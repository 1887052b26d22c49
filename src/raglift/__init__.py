"""raglift: fine-tune the models of a retrieval-augmented pipeline on your own documents, and prove the lift."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raglift import exchange as exchange
    from raglift.api import assert_lift as assert_lift
    from raglift.api import compare_runs as compare_runs
    from raglift.api import compare_seeds as compare_seeds
    from raglift.api import estimate as estimate
    from raglift.api import evaluate as evaluate
    from raglift.api import evaluate_answers as evaluate_answers
    from raglift.api import export_models as export_models
    from raglift.api import open_run as open_run
    from raglift.api import run as run
    from raglift.api import tune_head as tune_head

try:
    __version__ = version("raglift")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

# Private documents stay private: these libraries report usage unless they are told not to before they are imported.
os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime, from 1.29 on outside of Windows too
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# OpenMP's threads spin while they wait for each other; beside any other busy process that made a training step two to
# seven times slower. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_API = (
    *("assert_lift", "compare_runs", "compare_seeds", "estimate", "evaluate", "evaluate_answers", "export_models"),
    *("open_run", "run", "tune_head"),
)

__all__ = [
    "__version__",
    "assert_lift",
    "compare_runs",
    "compare_seeds",
    "estimate",
    "evaluate",
    "evaluate_answers",
    "exchange",
    "export_models",
    "open_run",
    "run",
    "tune_head",
]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used so that `import raglift` stays instant."""
    if name in _API:
        from raglift import api

        return getattr(api, name)
    if name == "exchange":
        from importlib import import_module

        return import_module("raglift.exchange")
    raise AttributeError(f"module 'raglift' has no attribute {name!r}")
