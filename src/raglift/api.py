"""The Python API: what the command line does, returning LlamaIndex objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift import pipeline
from raglift.config import Config, config_from_dict, load_config
from raglift.estimation import estimate as estimate_writing
from raglift.progress import Progress
from raglift.release import export
from raglift.serve.evaluate import evaluate_on
from raglift.serve.result import RunResult, open_run
from raglift.training.head_stage import tune_head

__all__ = ["estimate", "evaluate", "export_models", "open_run", "run", "tune_head"]


def run(config: str | Path | Mapping[str, Any] | Config, quiet: bool = False, writer: LLM | None = None) -> RunResult:
    """Run everything that a config asks for; what is already done is not done again.

    Args:
        config: A YAML file, a mapping with the same keys, or a `Config`.
        quiet: Show no progress.
        writer: A LlamaIndex language model that writes the questions in place of `synthesis.model`; its class, model
            name and settings decide, with the rest of the config, whether questions that are there are used again.

    Returns:
        The run; `query_engine(arm)`, `retriever(arm)`, `embedding(arm)` and `llm(arm)` are LlamaIndex objects.

    Raises:
        UserError: A mistake in the config, the documents or the models.

    Example:
        >>> run = raglift.run("configs/quickstart.yaml")
        >>> print(run.report["verdict"])
        >>> run.query_engine().query("How do I stop a loop early?")
    """
    return pipeline.run(_config(config), Progress(quiet=quiet), writer)


def estimate(config: str | Path | Mapping[str, Any] | Config, writer: LLM | None = None) -> dict[str, Any]:
    """What the writing of the questions will take, without running anything.

    Args:
        config: As for `run`.
        writer: As for `run`.

    Returns:
        `questions`, `calls`, `likely` and `most` (`tokens_in`, `tokens_out`), `likely_money` and `most_money` (None
        without prices), and the budget.

    Raises:
        UserError: A mistake in the config or the documents.
    """
    return estimate_writing(_config(config), Progress(quiet=True), writer).as_json()


def _config(config: str | Path | Mapping[str, Any] | Config) -> Config:
    if isinstance(config, Mapping):
        return config_from_dict(config)
    return config if isinstance(config, Config) else load_config([config])


def evaluate(run: RunResult | str | Path, data: str | Path, workspace: str | Path = "indexes") -> dict[str, Any]:
    """Score a finished run's arms on a BEIR-layout set whose corpus is the run's.

    Returns:
        `question_sets`, `retrieval`, `response` and `verdicts`, as in report.json.

    Raises:
        UserError: There is no such run or no such set.
    """
    result = run if isinstance(run, RunResult) else open_run(run, workspace)
    return evaluate_on(result, Path(data))


def export_models(
    run: RunResult | str | Path,
    to: str | Path,
    targets: Sequence[str] | None = None,
    adapter: bool = False,
    workspace: str | Path = "indexes",
) -> dict[str, Path | None]:
    """Write a finished run's tuned models into a new folder, for libraries other than raglift.

    Args:
        to: A new folder.
        targets: "embedding", "llm", "rerank", or several; None: all that the run has tuned.
        adapter: Copy what is kept as a difference from the base as it is, instead of merging it.

    Returns:
        Target -> the folder of a whole model (or of an adapter, if asked for); None where the base won.

    Raises:
        UserError: There is no such run, there is something in `to`, or an adapter has no plain weights.

    Example:
        >>> SentenceTransformer(str(raglift.export_models("quickstart", "models")["embedding"]))
    """
    result = run if isinstance(run, RunResult) else open_run(run, workspace)
    found = export.export_models(result, Path(to), targets, adapter)
    return {each.target: each.folder for each in found}
