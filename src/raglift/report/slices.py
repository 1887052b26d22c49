"""Where tuning hurt: a finished evaluation by slices, for report.json, the HTML report and the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raglift.config import Config, EvaluationConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.evaluation.arms import BASE, Arm, arm_named, arms_of
from raglift.evaluation.scale import scale_of
from raglift.evaluation.slices._base import Facts
from raglift.evaluation.slicing import FEWEST_CLUSTERS, LEAST, Asked, Note, Slice, dimensions, harms_first, slice_set
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.plugins import nearest
from raglift.progress import Progress
from raglift.records import Answered, QAPair, Score, iter_jsonl, read_jsonl
from raglift.release.choose import headline

_WORDS_ALONE = "bm25"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a run is looked at; None: every question set, every trained arm, the headline metrics."""

    question_set: str | None = None
    arm: str | None = None
    metric: str | None = None
    least: int = LEAST


def trained_arms(config: Config) -> list[Arm]:
    """The arms that a tuned model or a reranker is a part of; those without passages answer another question."""
    return [
        arm
        for arm in arms_of(config)
        if arm.retrieval != "none" and ("tuned" in (arm.embedding, arm.llm) or arm.reranked)
    ]


def headline_metrics(settings: EvaluationConfig) -> list[str]:
    """The metrics that the verdict speaks of."""
    found = headline("embedding", settings.retrieval), headline("llm", settings.response)
    return [metric for metric in found if metric is not None]


def build(
    config: Config, evaluation: Path, corpus: Corpus, display: Progress, wanted: Wanted | None = None
) -> dict[str, Any]:
    """The slices of a finished evaluation, harms first.

    Args:
        evaluation: The folder of its artifact.
        corpus: What it was made with.
        wanted: By default, what stands in report.json.

    Returns:
        `rows` (each a `Slice`), `notes` (what is not among them, and why), `least`, `fewest_documents`, and
        `dimensions`, which maps each to what its slices are.

    Raises:
        UserError: There is no such question set, arm or metric, or the metric is not judged.
    """
    wanted = wanted or Wanted()
    sets = sorted(path.name.removesuffix("-questions.jsonl") for path in evaluation.glob("*-questions.jsonl"))
    asked = _asked(config, sets, wanted)
    rows: list[Slice] = []
    notes: list[Note] = []
    taken = [name for name in sets if wanted.question_set in (None, name)]
    total = len(taken) * len(asked.arms) * len(asked.metrics)
    with display.stage("comparing slices", total, "comparisons") as bar:
        for name in taken:
            facts = _facts(evaluation, name, corpus)
            scores = read_jsonl(evaluation / f"{name}-scores.jsonl", Score)
            resampling = Resampling(clusters(facts.questions), config.seed, config.evaluation.resamples)
            found = slice_set(name, facts, scores, asked, resampling, bar.advance)
            rows += found.rows
            notes += found.notes
    return {
        "rows": [asdict(row) for row in harms_first(rows)],
        "notes": [asdict(note) for note in notes],
        "least": asked.least,
        "fewest_documents": FEWEST_CLUSTERS,
        "dimensions": {name: dimension.about for name, dimension in dimensions().items()},
    }


def _asked(config: Config, sets: Sequence[str], wanted: Wanted) -> Asked:
    if wanted.question_set is not None and wanted.question_set not in sets:
        what = f"The run has no question set called {wanted.question_set!r}."
        raise UserError(what, nearest(wanted.question_set, list(sets)))
    if wanted.least < 1:
        raise UserError(f"{wanted.least} questions make no slice.", fix="Give `least` 1 or more.")
    arms = trained_arms(config)
    if wanted.arm is not None:
        known = [arm.name for arm in arms_of(config) if arm.name != BASE]
        if wanted.arm not in known:
            why = f"All arms are held against {BASE!r}." if wanted.arm == BASE else nearest(wanted.arm, known)
            raise UserError(f"The run has no slices of an arm called {wanted.arm!r}.", why)
        arms = [arm_named(wanted.arm, arms_of(config))]
    return Asked(arms, BASE, _metrics(config.evaluation, wanted.metric), wanted.least)


def _metrics(settings: EvaluationConfig, wanted: str | None) -> list[str]:
    if wanted is None:
        return headline_metrics(settings)
    known = [*settings.retrieval, *settings.response]
    if wanted not in known:
        raise UserError(f"The run has no scores of a metric called {wanted!r}.", nearest(wanted, known))
    if not scale_of(wanted).judged:
        raise UserError(
            f"There are no slices by {wanted!r}.",
            "It describes answers: neither more nor less of it is better, so that nothing can get worse.",
            f"Take one of {', '.join(metric for metric in known if scale_of(metric).judged)}.",
        )
    return [wanted]


def _facts(evaluation: Path, name: str, corpus: Corpus) -> Facts:
    file = evaluation / f"{name}-answered.jsonl"
    found = {
        item.qa_id: [chunk_id for chunk_id, _ in item.ranking]
        for item in iter_jsonl(file, Answered)
        if item.arm == _WORDS_ALONE
    }
    return Facts(
        read_jsonl(evaluation / f"{name}-questions.jsonl", QAPair),
        {document.id: document for document in corpus.documents},
        {chunk.id: chunk for chunk in corpus.chunks},
        found or None,
    )
