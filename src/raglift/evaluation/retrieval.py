"""Scores of one arm's rankings, by ir_measures (MacAvaney et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import ir_measures
from ir_measures import Measure
from ir_measures.providers import FallbackProvider

from raglift.errors import UserError
from raglift.evaluation.reasons import NO_RANKING, NO_RELEVANT_PASSAGE
from raglift.plugins import nearest
from raglift.records import QAPair, Score

Ranking: TypeAlias = Sequence[tuple[str, float]]

_USUAL = ["nDCG@10", "RR@10", "R@5", "R@10", "Success@5", "P@5", "AP", "Rprec", "Bpref"]
# Counts and unnormalised gains: their mean over questions says nothing about quality and has no upper bound.
_UNBOUNDED = {"NumQ", "NumRel", "NumRet", "alpha_DCG", "α_DCG"}  # noqa: RUF001
# gdeval is a Perl program that reads no question ids but numbers.
_PROVIDERS = [each for each in ir_measures.DefaultPipeline.providers if each.NAME != "gdeval"]
_PIPELINE = FallbackProvider(_PROVIDERS)  # type: ignore[no-untyped-call]


def validate_metrics(names: Iterable[str]) -> None:
    """Check the names of retrieval metrics without computing anything.

    Args:
        names: Names as ir_measures writes them: nDCG@10, RR@10, R@5, Success@5, AP...

    Raises:
        UserError: A name is unknown, lacks its cutoff, counts instead of judging, or has no library installed for it.
    """
    for name in names:
        _measure(name)


def score_rankings(
    questions: Sequence[QAPair],
    rankings: Mapping[str, Ranking],
    metrics: Sequence[str],
    chunk_document: Mapping[str, str],
    arm: str,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """One score a metric and question, in that order.

    A question whose evidence names chunks is judged on chunks. One with evidence about a whole document is judged on
    documents, each ranked by its best chunk (MaxP, Dai & Callan 2019). The order of a ranking is taken as given:
    ties between scores are never broken anew. An id that is repeated counts where it stands first. An empty ranking
    scores 0; a question that has no ranking at all scores None.

    Args:
        rankings: Question id -> (chunk id, score), best first.
        chunk_document: Chunk id -> document id, for every chunk of the index.
        advance: Told how many more scores are done.

    Raises:
        UserError: A metric is unknown, or a ranking names a chunk that `chunk_document` lacks.
    """
    measures = [(name, _measure(name)) for name in metrics]
    judgements = {question.id: _grades(question) for question in questions}
    judged = {qa_id: grades for qa_id, grades in judgements.items() if any(grades.values())}
    run = {
        question.id: _run(question, rankings[question.id], chunk_document)
        for question in questions
        if question.id in judged and question.id in rankings
    }
    scores: list[Score] = []
    for name, measure in measures:
        values, failure = _values(measure, judged, run)
        for question in questions:
            if question.id not in judged:
                scores.append(Score(name, question.id, arm, None, NO_RELEVANT_PASSAGE))
            elif question.id not in run:
                scores.append(Score(name, question.id, arm, None, NO_RANKING))
            elif failure:
                scores.append(Score(name, question.id, arm, None, failure))
            else:
                scores.append(_score(name, question.id, arm, values.get(question.id, 0.0)))
        advance(len(questions))
    return scores


def _score(metric: str, qa_id: str, arm: str, value: float) -> Score:
    if math.isfinite(value):
        return Score(metric, qa_id, arm, float(value))
    return Score(metric, qa_id, arm, None, "not a finite number")


def _measure(name: str) -> Measure:
    try:
        measure = ir_measures.parse_measure(name)
        measure.validate_params()  # type: ignore[no-untyped-call]
    except (NameError, ValueError, AssertionError, TypeError, KeyError) as error:
        raise UserError(f"There is no retrieval metric called {name!r}.", str(error), _hint(name)) from error
    if measure.NAME in _UNBOUNDED:
        raise UserError(f"{name!r} does not measure how good a ranking is.", "It is a count or a sum.", _hint(name))
    for parameter in ("cutoff", "rel"):  # pytrec_eval aborts the whole process on a cutoff of 0
        if measure.params.get(parameter, 1) < 1:
            raise UserError(f"{name!r} has no meaning.", f"Its {parameter} is less than 1.", _hint(name))
    if not _PIPELINE.supports(measure):  # type: ignore[no-untyped-call]
        raise UserError(f"{name!r} cannot be computed here.", "None of the installed libraries knows it.", _hint(name))
    return measure


def _hint(name: str) -> str:
    return f"Use a name from https://ir-measur.es; {nearest(name, _USUAL)}"


def _on_chunks(question: QAPair) -> bool:
    return all(evidence.chunk_id is not None for evidence in question.evidence)


def _grades(question: QAPair) -> dict[str, int]:
    """Chunk or document id -> grade, the highest where evidence repeats."""
    on_chunks = _on_chunks(question)
    grades: dict[str, int] = {}
    for evidence in question.evidence:
        unit = evidence.chunk_id if on_chunks and evidence.chunk_id is not None else evidence.document_id
        grades[unit] = max(grades.get(unit, 0), evidence.grade)
    return grades


def _run(question: QAPair, ranking: Ranking, chunk_document: Mapping[str, str]) -> dict[str, float]:
    """Chunk or document id -> a score that falls strictly with the rank."""
    chunks = [chunk_id for chunk_id, _ in ranking]
    try:
        documents = [chunk_document[chunk_id] for chunk_id in chunks]
    except KeyError as error:
        raise UserError(
            f"A ranking names the chunk {error.args[0]!r}, which does not exist.",
            "The index was built from other chunks than those that are being scored.",
            "Run the same `raglift run` command again: it builds the index of these chunks.",
        ) from error
    units = dict.fromkeys(chunks if _on_chunks(question) else documents)
    return {unit: float(len(units) - rank) for rank, unit in enumerate(units)}


def _values(
    measure: Measure, judged: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, float], str]:
    """Question id -> value, and why there are none if the library failed.

    A question that ir_measures leaves out had nothing relevant retrieved, which trec_eval counts as 0.
    """
    found = {qa_id: ranking for qa_id, ranking in run.items() if ranking}
    if not found:
        return {}, ""
    # One measure a call: in one call for several, ir_measures lets one nDCG's `gains` leak into the others.
    try:
        results = list(_PIPELINE.iter_calc([measure], {qa_id: judged[qa_id] for qa_id in found}, found))
    except Exception as error:  # whatever a library raises, the other metrics still count
        return {}, f"ir_measures failed: {type(error).__name__}: {error}"
    return {result.query_id: float(result.value) for result in results}, ""
