"""The Python API: what the command line does, returning LlamaIndex objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from llama_index.core.llms import LLM

from raglift import pipeline
from raglift.assess.engines import Questions, Settings, evaluate_answers, evaluate_engines
from raglift.assess.evaluation import Evaluation
from raglift.assess.lift import assert_lift
from raglift.assess.replies import Asking, Engine
from raglift.assess.runs import compare_runs, compare_seeds
from raglift.config import Config, config_from_dict, load_config
from raglift.errors import UserError
from raglift.estimation import estimate as estimate_writing
from raglift.progress import Progress
from raglift.release import export
from raglift.serve.evaluate import evaluate_on
from raglift.serve.result import RunResult, open_run
from raglift.training.head_stage import tune_head

__all__ = [
    "assert_lift",
    "compare_runs",
    "compare_seeds",
    "estimate",
    "evaluate",
    "evaluate_answers",
    "export_models",
    "open_run",
    "run",
    "tune_head",
]


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


@overload
def evaluate(
    engine: RunResult | str | Path, questions: str | Path, *, workspace: str | Path = ..., quiet: bool = ...
) -> dict[str, Any]: ...
@overload
def evaluate(
    engine: Engine | Mapping[str, Engine],
    questions: Questions,
    *,
    settings: Settings = ...,
    folder: str | Path | None = ...,
    workers: int = ...,
    workspace: str | Path = ...,
    quiet: bool = ...,
) -> Evaluation: ...
def evaluate(
    engine: Any,
    questions: Any,
    *,
    settings: Settings = None,
    folder: str | Path | None = None,
    workers: int = 1,
    workspace: str | Path = "indexes",
    quiet: bool = False,
) -> dict[str, Any] | Evaluation:
    """Score any LlamaIndex query engines or retrievers; or a finished run's arms on another set of questions.

    Args:
        engine: A query engine or retriever, or several by name, of which all but the first are held against the
            first; or a finished run (or its name).
        questions: Of engines: dictionaries or `QAPair` records, a JSON Lines file, a folder in BEIR layout, a finished
            run (or its name) whose test questions they are. Of a run: a BEIR-layout set whose corpus is the run's.
        settings: Of engines: keys of a config's section `evaluation`, such as {"retrieval": ["nDCG@10"]}.
        folder: Of engines: where replies are kept, so that a call that was cut off goes on there; another one for
            other engines. The records and summary.json are written into it.
        workers: Of engines: questions at once, where an engine may be called from several threads.
        quiet: Show no progress and no warnings.

    Returns:
        Of engines an `Evaluation`, with the records, the tables (`print`) and `as_dict()`. Of a run `question_sets`,
        `retrieval`, `response` and `verdicts`, as in report.json.

    Raises:
        UserError: There is no such run or set, an engine is none, a question cannot be judged, or every question
            failed. A single question on which an engine raises is no error: its scores are None with the reason.

    Example:
        >>> print(raglift.evaluate({"mine": index.as_query_engine()}, "questions.jsonl"))
    """
    display = Progress(quiet=quiet)
    if not isinstance(engine, RunResult | str | Path):
        if workers < 1:
            raise UserError(f"{workers} questions at once make no progress.", fix="Give workers=1 or more.")
        asking = Asking(None if folder is None else Path(folder), workers)
        return evaluate_engines(engine, questions, settings, asking, display, workspace)
    if settings is not None or folder is not None or workers != 1:
        raise UserError(
            "A finished run is scored with its own settings.",
            "`settings`, `folder` and `workers` are for engines.",
            "Leave them out, or evaluate `run.query_engine(arm)`.",
        )
    result = engine if isinstance(engine, RunResult) else open_run(engine, workspace)
    return evaluate_on(result, Path(questions), display)


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
