"""The scores of finished runs and of evaluations, as they lie on disk, on the questions that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raglift.assess.evaluation import SUMMARY, read_records, read_summary
from raglift.assess.judged import Judged, from_records
from raglift.assess.tables import Families, Scores
from raglift.errors import UserError
from raglift.evaluation.scale import PRICES
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.plugins import nearest
from raglift.progress import Progress
from raglift.records import QAPair, Score
from raglift.release.choose import judging_set
from raglift.serve.result import RunResult, read_run

CHOSEN = "chosen"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One run's scores on one question set, and which arm stands for the run."""

    run: str
    questions: Mapping[str, QAPair]
    scores: tuple[Score, ...]
    families: Families
    chosen: str
    resampling: Resampling

    @property
    def origin(self) -> str:
        """Who wrote the questions: "human" or "synthetic"."""
        return next(iter(self.questions.values())).origin

    def as_scores(self, question_set: str, against: str) -> Scores:
        """The same, to be compared arm by arm."""
        return Scores(question_set, self.scores, self.families, against, self.resampling)

    def arm(self, name: str) -> str:
        """The arm of that name, or the one that stands for the run.

        Raises:
            UserError: There is none.
        """
        wanted = self.chosen if name == CHOSEN else name
        if wanted not in self.families:
            raise UserError(f"{self.run} has no arm called {wanted!r}.", nearest(wanted, list(self.families)))
        return wanted


def open_sheets(run: RunResult | str | Path, workspace: str | Path = "indexes") -> dict[str, Sheet]:
    """Question set -> scores, of a finished run or of a folder that `Evaluation.save` wrote.

    Raises:
        UserError: There is no such run, or it is not finished.
    """
    if not isinstance(run, RunResult) and (Path(run) / SUMMARY).exists():
        folder, name = Path(run), Path(run).resolve().name
        summary, seed, resamples = read_summary(folder), 0, Resampling().resamples
        chosen = None
    else:
        result = run if isinstance(run, RunResult) else read_run(run, workspace)
        folder, name = result.artifact("evaluation").path, str(result.state["run"])
        summary, chosen = read_summary(folder), result.chosen_arm
        settings = result.state["config"]  # as it was written: an earlier version's scores are as good
        seed, resamples = settings["seed"], settings["evaluation"]["resamples"]
    sheets = {}
    for question_set in summary["question_sets"]:
        questions, scores = read_records(folder, question_set)
        families = _families(summary, question_set)
        by_id = {question.id: question for question in questions}
        stands = chosen or next(reversed(families))
        resampling = Resampling(clusters(questions), seed, resamples)
        sheets[question_set] = Sheet(name, by_id, tuple(scores), families, stands, resampling)
    return sheets


def run_questions(result: RunResult, question_set: str | None = None) -> Judged:
    """A finished run's test questions with its documents: people's where it has some, unless a set is named.

    Raises:
        UserError: The run has no such question set.
    """
    folder = result.artifact("evaluation").path
    sets = read_summary(folder)["question_sets"]
    name = question_set or judging_set(sets) or ""
    if name not in sets:
        raise UserError(f"The run has no question set {name!r}.", nearest(name, list(sets)) if sets else "")
    questions, _ = read_records(folder, name)
    return from_records(name, questions, result.corpus.documents, result.corpus.chunks)


def _families(summary: Mapping[str, Any], question_set: str) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for family in ("retrieval", "response"):
        for arm, cells in summary[family].get(question_set, {}).items():
            found.setdefault(arm, {})[family] = [metric for metric in cells if metric not in PRICES]
    return found


def shared_sheets(
    runs: Sequence[RunResult | str | Path], workspace: str | Path, display: Progress
) -> dict[str, list[Sheet]]:
    """Question set -> the runs' sheets, cut to the questions that all have; sets without such a question are left out.

    Raises:
        UserError: There are fewer than two runs, one comes twice, or no set is left.
    """
    opened = _named_apart([open_sheets(run, workspace) for run in runs], runs)
    names = [next(iter(sheets.values())).run for sheets in opened if sheets]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(
            "There is nothing to compare.",
            f"The runs are: {', '.join(names) or 'none'}.",
            "Name two runs or more, each once.",
        )
    found: dict[str, list[Sheet]] = {}
    for name in opened[0]:
        sheets = [each[name] for each in opened if name in each]
        common = _common(sheets) if len(sheets) == len(opened) else set()
        if common:
            found[name] = [_cut(sheet, common) for sheet in sheets]
            _warn_of_judgements(name, found[name], display)
    if not found:
        held = "; ".join(
            f"{name}: " + ", ".join(f"{len(sheet.questions)} {kind}" for kind, sheet in sheets.items())
            for name, sheets in zip(names, opened, strict=True)
        )
        raise UserError(
            "The runs have no test question in common.",
            f"A question is the same where its id and its text are, in the same set ({held}).",
            "Score the runs on one set: `raglift evaluate RUN --data DIR`, or give them the same data.questions.",
        )
    return found


def _named_apart(opened: Sequence[dict[str, Sheet]], runs: Sequence[RunResult | str | Path]) -> list[dict[str, Sheet]]:
    """The sheets, those of runs of one name in two workspaces under the names of their folders."""
    names = [next((sheet.run for sheet in sheets.values()), "") for sheets in opened]
    found = []
    for sheets, name, run in zip(opened, names, runs, strict=True):
        place = str(run.folder if isinstance(run, RunResult) else run)
        own = place if names.count(name) > 1 else name
        found.append({key: replace(sheet, run=own) for key, sheet in sheets.items()})
    return found


def _common(sheets: Sequence[Sheet]) -> set[str]:
    texts = [{(q.id, q.question) for q in sheet.questions.values()} for sheet in sheets]
    return {qa_id for qa_id, _ in set.intersection(*texts)}


def _cut(sheet: Sheet, common: set[str]) -> Sheet:
    questions = {qa_id: question for qa_id, question in sheet.questions.items() if qa_id in common}
    return replace(sheet, questions=questions, scores=tuple(s for s in sheet.scores if s.qa_id in common))


def _warn_of_judgements(name: str, sheets: Sequence[Sheet], display: Progress) -> None:
    first = sheets[0].questions
    for sheet in sheets[1:]:
        other = sum(question.evidence != first[qa_id].evidence for qa_id, question in sheet.questions.items())
        if other:
            display.warn(
                f"{name}: {sheet.run} judges {other} of {len(first)} questions by other passages than "
                f"{sheets[0].run}, as after another splitting of the documents; their retrieval scores are less alike "
                "than they look."
            )
