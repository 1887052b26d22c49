"""A finished run's gains and harms by slices of its question sets."""

from __future__ import annotations

from typing import Any

from raglift.evaluation.slicing import LEAST
from raglift.progress import Progress
from raglift.report import slices
from raglift.serve.result import RunResult


def slices_of(
    run: RunResult,
    question_set: str | None = None,
    arm: str | None = None,
    metric: str | None = None,
    least: int = LEAST,
    quiet: bool = False,
) -> dict[str, Any]:
    """Where tuning hurt: each trained arm against the base, slice by slice, from the scores that the run has.

    Args:
        question_set: "human", "synthetic"; by default every one that the run has.
        arm: An arm of the run; by default every one that something trained is a part of.
        metric: One that the run has scores of; by default the headline metrics.
        least: Questions that a slice must have to be judged.
        quiet: Show no progress.

    Returns:
        `rows`, harms first: question_set, arm, against, metric, dimension, slice, questions, n, documents, delta,
        ci_low, ci_high, p, decision ("better", "worse", "cannot tell", "not judged") and why; see
        `raglift.evaluation.slicing.Slice`. `notes` says what is not among them, `dimensions` what slices are,
        `least` and `fewest_documents` how many questions and documents a slice must have.

    Raises:
        UserError: There is no such question set, arm or metric, or the run's scores are not there any more.

    Example:
        >>> raglift.open_run("quickstart").slices(arm="tuned_both", metric="nDCG@10")["rows"][0]["decision"]
        'worse'
    """
    wanted = slices.Wanted(question_set, arm, metric, least)
    return slices.build(run.config, run.artifact("evaluation").path, run.corpus, Progress(quiet=quiet), wanted)
