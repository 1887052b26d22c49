"""The Python API: what the command line does, returning LlamaIndex objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raglift import pipeline
from raglift.config import Config, config_from_dict, load_config
from raglift.progress import Progress
from raglift.serve.evaluate import evaluate_on
from raglift.serve.result import RunResult, open_run

__all__ = ["evaluate", "open_run", "run"]


def run(config: str | Path | Mapping[str, Any] | Config, quiet: bool = False) -> RunResult:
    """Run everything that a config asks for; what is already done is not done again.

    Args:
        config: A YAML file, a mapping with the same keys, or a `Config`.
        quiet: Show no progress.

    Returns:
        The run; `query_engine(arm)`, `retriever(arm)`, `embedding(arm)` and `llm(arm)` are LlamaIndex objects.

    Raises:
        UserError: A mistake in the config, the documents or the models.

    Example:
        >>> run = raglift.run("configs/quickstart.yaml")
        >>> print(run.report["verdict"])
        >>> run.query_engine().query("How do I stop a loop early?")
    """
    if isinstance(config, Mapping):
        config = config_from_dict(config)
    elif not isinstance(config, Config):
        config = load_config([config])
    return pipeline.run(config, Progress(quiet=quiet))


def evaluate(run: RunResult | str | Path, data: str | Path, workspace: str | Path = "indexes") -> dict[str, Any]:
    """Score a finished run's arms on a BEIR-layout set whose corpus is the run's.

    Returns:
        `question_sets`, `retrieval`, `response` and `verdicts`, as in report.json.

    Raises:
        UserError: There is no such run or no such set.
    """
    result = run if isinstance(run, RunResult) else open_run(run, workspace)
    return evaluate_on(result, Path(data))
