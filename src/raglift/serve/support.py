"""The answers of a finished run, checked against the passages that they were made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raglift.artifacts import Store, stage_key, write_json
from raglift.errors import UserError
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import table, verdicts
from raglift.grounding import stage
from raglift.grounding.checker import LexicalChecker, SupportChecker, open_checker
from raglift.grounding.claims import claims_of, corruptions
from raglift.grounding.health import health_of
from raglift.grounding.scoring import METRIC, score_support
from raglift.job import Job
from raglift.models.find import FoundModel, find_model
from raglift.progress import Progress
from raglift.records import Answered, QAPair, read_jsonl
from raglift.serve.result import RunResult
from raglift.workspace import hold

FILE = "support.json"
_MOST = 2000
"""Supported claims that a checker learns from at most; the other splits give a quarter as many."""
CHECKERS = ("trained", "cross_encoder", "lexical")


@dataclass(frozen=True, slots=True)
class Support:
    """How much of what the arms say their passages support.

    Attributes:
        checker: One of `CHECKERS`.
        health: The checker's sensitivity, specificity and balanced accuracy on claims about held-out documents.
        sets: Question set -> arm -> the mean support of its answers, as in the report.
        verdicts: Every arm against "base".
        evaluation: Key of the evaluation whose answers were checked.
    """

    checker: str
    health: dict[str, Any]
    sets: dict[str, Any]
    verdicts: list[dict[str, Any]]
    evaluation: str


def check_support(run: RunResult, checker: str = "trained", display: Progress | None = None) -> Support:
    """Check each answer of a run, sentence by sentence, against its own passages; support.json in the run's folder.

    A trained checker learns from the run's train documents, once in a workspace, and is kept there.

    Args:
        checker: "trained" weighs what claim and passage share, in seconds; "cross_encoder" weighs a small model's
            reading too, in minutes; "lexical" learns nothing.

    Raises:
        UserError: There is no such checker, the run answered no question, or its documents give too few claims.
    """
    if checker not in CHECKERS:
        raise UserError(f"There is no support checker called {checker!r}.", f"known: {', '.join(CHECKERS)}")
    display = display or Progress()
    answers = _answers(run.artifact("evaluation").path)
    if not any(item.answer for answered, _ in answers.values() for item in answered):
        raise UserError(
            f"The run {run.state['run']!r} answered no question.",
            "Only rankings were made; there is nothing to check.",
            "Set evaluation.max_answers to the number of questions that are to be answered.",
        )
    with hold(run.workspace, f"support of {run.folder.name}"):
        claims = _claims(run)
        if checker != "lexical":
            found, health = _trained(run, claims, checker == "cross_encoder", display)
        else:
            found = LexicalChecker()
            health = stage.told(health_of(claims.test, found.supported(claims.test)))
        result = Support(checker, health, *_scored(run, answers, found, display), run.key("evaluation"))
        write_json(run.folder / FILE, asdict(result))
    return result


def _answers(folder: Path) -> dict[str, tuple[list[Answered], list[QAPair]]]:
    """Question set -> answers and questions."""
    return {
        path.name.removesuffix("-answered.jsonl"): (
            [item for item in read_jsonl(path, Answered) if item.answer is not None],
            read_jsonl(folder / path.name.replace("-answered", "-questions"), QAPair),
        )
        for path in sorted(folder.glob("*-answered.jsonl"))
    }


def _claims(run: RunResult) -> stage.Claims:
    corpus, seed = run.corpus, run.config.seed
    asked = read_jsonl(run.artifact(run.questions_stage).path / "questions.jsonl", QAPair)
    return stage.Claims(
        claims_of(corpus, asked, "train", seed, _MOST),
        claims_of(corpus, asked, "dev", seed, _MOST // 4),
        claims_of(corpus, asked, "test", seed, _MOST // 4),
    )


def _trained(
    run: RunResult, claims: stage.Claims, reads: bool, display: Progress
) -> tuple[SupportChecker, dict[str, Any]]:
    """The run's own checker, with a cross-encoder where it `reads`, and its health."""
    base: FoundModel | None = find_model(run.config.embedding.model) if reads else None
    reader = None if base is None else stage.Reader(base, run.runtime)
    inputs = {"base": base.revision} if base is not None else {}
    inputs |= {
        entry["name"]: entry["key"] for entry in run.state["stages"] if entry["name"] in ("corpus", run.questions_stage)
    }
    settings = {
        **(reader.settings.model_dump(mode="json") if reader is not None else {}),
        "seed": run.config.seed,
        "most": _MOST,
        "corruptions": {name: each.version for name, each in corruptions().items()},
    }
    key = stage_key("support", stage.VERSION, settings, inputs)

    def write(out: Path) -> None:
        stage.build(claims, Job(out, run.config.seed, display), reader)

    artifact = Store(run.workspace).build("support", key, write, display.warn)
    health = json.loads((artifact.path / stage.HEALTH).read_text("utf-8"))
    return open_checker(artifact.path, base, run.runtime), health


def _scored(
    run: RunResult,
    answers: Mapping[str, tuple[Sequence[Answered], Sequence[QAPair]]],
    checker: SupportChecker,
    display: Progress,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    sets: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    count = sum(len(answered) for answered, _ in answers.values())
    with display.stage("checking answers against their passages", count, "answers") as bar:
        for name, (answered, questions) in answers.items():
            asked = {question.id: question.question for question in questions}
            scores = score_support(answered, asked, checker, bar.advance)
            resampling = Resampling(clusters(questions), run.config.seed, run.config.evaluation.resamples)
            cells = table(scores, [METRIC], resampling)
            sets[name] = {arm: row[METRIC] for arm, row in cells.items() if row.get(METRIC)}
            arms = {arm: {"support": [METRIC]} for arm in sets[name]}
            found += [asdict(verdict) for verdict in verdicts(scores, name, "base", arms, resampling)]
    return sets, found
