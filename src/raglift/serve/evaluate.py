"""A finished run's arms on another set of questions about the same documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raglift.artifacts import Store, stage_key
from raglift.corpus.human import human_pairs, warn_of_dropped
from raglift.corpus.judged import HumanQuestion, read_beir
from raglift.errors import UserError
from raglift.evaluation import stage
from raglift.evaluation.costs import add_costs
from raglift.job import Job
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.progress import Progress
from raglift.records import Document, QAPair, content_id
from raglift.serve.parts import Indexes, limits, pipelines
from raglift.serve.result import RunResult
from raglift.workspace import hold

SCORED = ("question_sets", "retrieval", "response", "verdicts")


def evaluate_on(result: RunResult, data: Path, display: Progress | None = None) -> dict[str, Any]:
    """Score every arm of a finished run on a BEIR-layout set whose corpus is the run's.

    A document of the set is one of the run's if its text is the same. All questions are test questions. The
    answers are kept in the workspace, so that a second call, or one after an interruption, pays for what is
    missing only.

    Returns:
        `question_sets`, `retrieval`, `response` and `verdicts`, as in report.json.

    Raises:
        UserError: The set is not in BEIR layout, its corpus is not the run's, or a base model is not the run's.
    """
    display = display or Progress()
    result.check_models()  # answers that are kept would hide the change
    questions, name = _questions(result, data, display), data.resolve().name
    config = result.config
    store = Store(result.folder.parent.parent)
    inputs = {entry["name"]: entry["key"] for entry in result.state["stages"]} | {
        "questions": content_id([asdict(question) for question in questions])
    }
    key = stage_key("evaluation_on", stage.VERSION, {"name": name}, inputs)

    def write(out: Path) -> None:
        both = ("base", "tuned")
        indexes = Indexes({w: result.store(w) for w in both}, result.bm25, {w: result.fusion(w) for w in both})
        similarity = Encoder(
            load_encoder(find_model(config.evaluation.similarity_model).path, result.runtime), result.runtime
        )
        stage.build(
            config.evaluation,
            limits(config),
            {name: questions},
            pipelines(result.models, indexes, result.corpus),
            result.corpus.chunks,
            similarity,
            Job(out, config.seed, display),
        )

    with hold(store.root, f"evaluation of {result.folder.name}"):
        artifact = store.build("evaluation_on", key, write, display.warn)
    summary = json.loads((artifact.path / "summary.json").read_text("utf-8"))
    add_costs(summary["response"], artifact.path, config.evaluation, config.seed)
    return {section: summary[section] for section in SCORED}


def _questions(result: RunResult, data: Path, display: Progress) -> list[QAPair]:
    documents, questions = read_beir(str(data))
    renamed = _same_documents(documents, result.corpus.documents)
    if 2 * len(renamed) < len(documents):
        raise UserError(
            f"The corpus of {data} is not the run's.",
            f"Of its {len(documents)} documents, {len(renamed)} have a text that one of the run's documents has.",
            "Give a set over the documents that the run was made from, or start a run on this one with data.beir.",
        )
    if len(renamed) < len(documents):
        display.warn(
            f"{len(documents) - len(renamed)} documents of {data} are not the run's; their judgements are left out."
        )
    moved = [
        HumanQuestion(
            q.id, q.question, q.answers, {renamed[s]: grade for s, grade in q.sources.items() if s in renamed}
        )
        for q in questions
    ]
    pairs, dropped = human_pairs(moved, result.corpus.documents, result.corpus.chunks, 0.0, 0)
    if not pairs:
        raise UserError(f"No question of {data} has its evidence in the run's documents.", str(dict(dropped)))
    warn_of_dropped(moved, pairs, display.warn)
    return pairs


def _same_documents(theirs: Sequence[Document], ours: Sequence[Document]) -> dict[str, str]:
    """Their source -> our source, for every document that both have with the same text; an equal id alone says nothing,
    since many sets count from 0."""
    texts = {_squeezed(document.text): document.source for document in ours}
    return {d.source: texts[text] for d in theirs if (text := _squeezed(d.text)) in texts}


def _squeezed(text: str) -> str:
    return " ".join(text.split())
