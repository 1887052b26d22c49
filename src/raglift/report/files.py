"""A run's report.json and report.html, written at its end and again whenever there is more to show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raglift.artifacts import write_atomic, write_json
from raglift.corpus.stage import Corpus
from raglift.progress import Progress
from raglift.report import beside, slices
from raglift.report.build import side_by_side
from raglift.report.html import render

if TYPE_CHECKING:
    from raglift.serve.result import RunResult

JSON, HTML = "report.json", "report.html"


def write(folder: Path, report: Mapping[str, Any], evaluation: Path, key: str, corpus: Corpus) -> dict[str, Any]:
    """Write both files, with what other commands have left in the run's folder.

    Args:
        folder: The run's.
        report: What `build.build` gives, and `slices`.
        evaluation: The folder of the run's evaluation, of this `key`.

    Returns:
        What report.json holds now.
    """
    value = {**report, **beside.read(folder, key)}
    html = render(value, side_by_side(evaluation, corpus))
    write_json(folder / JSON, value)
    write_atomic(folder / HTML, html.encode("utf-8"))
    return value


def rebuild(run: RunResult, display: Progress) -> dict[str, Any]:
    """Write a finished run's report again, with what `raglift judge` and `raglift support` have found since.

    The scores and the verdict stay what they were; slices that an earlier version did not write are added.

    Raises:
        UserError: The run's evaluation or its corpus is not there any more, or its folder may not be written.
    """
    artifact, corpus = run.artifact("evaluation"), run.corpus
    report = run.report
    if "slices" not in report:
        report = report | {"slices": slices.build(run.config, artifact.path, corpus, display)}
    value = write(run.folder, report, artifact.path, run.key("evaluation"), corpus)
    run.__dict__["report"] = value  # what was read before it was written
    return value
