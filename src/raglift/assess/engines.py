"""The one call that evaluates engines, or answers made elsewhere, on questions from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.base.base_query_engine import BaseQueryEngine

from raglift.assess.answers import arms_of_rows, read_answers
from raglift.assess.evaluation import Evaluation, evaluation_settings, score_arms
from raglift.assess.judged import Judged, from_path, from_records, from_rows, from_set
from raglift.assess.measures import Measures
from raglift.assess.replies import Asking, Engine, ask_all, check_engines
from raglift.assess.sheets import run_questions
from raglift.config import EvaluationConfig
from raglift.errors import UserError
from raglift.exchange.sets import QuestionSet
from raglift.progress import Progress
from raglift.records import QAPair
from raglift.serve.result import RunResult, read_run
from raglift.workspace import RUNS, STATE

Questions: TypeAlias = RunResult | QuestionSet | Judged | str | Path | Iterable[Mapping[str, Any] | QAPair]
Settings: TypeAlias = Mapping[str, Any] | EvaluationConfig | None


def evaluate_engines(
    engines: Engine | Mapping[str, Engine],
    questions: Questions,
    settings: Settings = None,
    asking: Asking | None = None,
    display: Progress | None = None,
    workspace: str | Path = "indexes",
) -> Evaluation:
    """Put questions to LlamaIndex query engines and retrievers, and score what they make of them.

    Args:
        engines: One, or several by name; all but the first are held against the first.
        questions: Records, dictionaries, a file, a folder, a finished run or its name; see docs/evaluate-anything.md.
        settings: The keys of a config's section `evaluation`; `max_answers` means nothing here.
        asking: How the questions are put.

    Raises:
        UserError: An engine is none, a question cannot be judged, a metric is unknown, or every question failed.
    """
    display, asking = display or Progress(), asking or Asking()
    named = dict(engines) if isinstance(engines, Mapping) else {"engine": engines}
    check_engines(named)
    answers = any(isinstance(engine, BaseQueryEngine) for engine in named.values())
    measures = Measures(evaluation_settings(settings), answers, display)  # what cannot be had shows before it costs
    judged = read_questions(questions, workspace)
    found = score_arms(judged, ask_all(named, judged.questions, asking, display), measures, display)
    if asking.folder is not None:
        found.save(asking.folder)
    return found


def evaluate_answers(
    answers: str | Path | Iterable[Mapping[str, Any]],
    questions: Questions,
    settings: Settings = None,
    display: Progress | None = None,
    workspace: str | Path = "indexes",
) -> Evaluation:
    """Score answers and rankings that were made elsewhere.

    Args:
        answers: A JSON Lines file, or its rows: `id`, `answer`, `passages` or `documents`, `arm`.
        questions: As for `evaluate_engines`.
        settings: As for `evaluate_engines`.

    Raises:
        UserError: A row is no answer, or none is to one of the questions.

    Example:
        >>> print(raglift.evaluate_answers("answers.jsonl", "questions.jsonl"))
    """
    display = display or Progress()
    chosen = evaluation_settings(settings)
    judged = read_questions(questions, workspace)
    if isinstance(answers, str | Path):
        arms = read_answers(Path(answers).expanduser(), judged.questions, display)
    else:
        rows = ((f"Answer {number}", row) for number, row in enumerate(answers, 1))
        arms = arms_of_rows(rows, judged.questions, "answers", display)
    return score_arms(judged, arms, Measures(chosen, any(arm.answers for arm in arms), display), display)


def read_questions(given: Questions, workspace: str | Path = "indexes") -> Judged:
    """Questions from wherever they are: a path that exists, else the run of that name.

    Raises:
        UserError: There is nothing of that name, or a question cannot be judged.
    """
    if isinstance(given, Judged):
        return given
    if isinstance(given, RunResult):
        return run_questions(given)
    if isinstance(given, QuestionSet):
        return from_set("questions", given)
    if not isinstance(given, str | Path):
        rows = list(given)
        records = [row for row in rows if isinstance(row, QAPair)]
        return from_records("questions", records) if len(records) == len(rows) else from_rows("questions", rows)
    path = Path(given).expanduser()
    if (path / STATE).exists() or (Path(workspace) / RUNS / str(given) / STATE).exists():
        return run_questions(read_run(given, workspace))
    if not path.exists():
        raise UserError(
            f"There are no questions {str(given)!r}.",
            f"It is neither a file, nor a folder, nor a run in {workspace}.",
            "Name a JSON Lines file, a folder in BEIR layout, or a finished run.",
        )
    return from_path(path)
