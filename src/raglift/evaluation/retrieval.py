"""Scores of one arm's rankings, by ir_measures (MacAvaney et al. 2022), and by the characters that they cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import ir_measures
from ir_measures import Measure
from ir_measures.providers import FallbackProvider

from raglift.errors import UserError
from raglift.evaluation import spans
from raglift.evaluation.judgements import Passage, grades, units
from raglift.evaluation.reasons import NO_RANKING, NO_RELEVANT_PASSAGE, NO_SPAN
from raglift.evaluation.spans import SpanMeasure
from raglift.plugins import nearest
from raglift.records import QAPair, Score

Ranking: TypeAlias = Sequence[tuple[str, float]]
Outcome: TypeAlias = tuple[float | None, str]
"""A value, or None with the reason."""

_USUAL = ["nDCG@10", "RR@10", "R@5", "R@10", "Success@5", "P@5", "AP", "Rprec", "Bpref", "SpanRecall@5"]
# Counts and unnormalised gains: their mean over questions says nothing about quality and has no upper bound.
_UNBOUNDED = {"NumQ", "NumRel", "NumRet", "alpha_DCG", "α_DCG"}  # noqa: RUF001
# gdeval is a Perl program that reads no question ids but numbers.
_PROVIDERS = [each for each in ir_measures.DefaultPipeline.providers if each.NAME != "gdeval"]
_PIPELINE = FallbackProvider(_PROVIDERS)  # type: ignore[no-untyped-call]


def validate_metrics(names: Iterable[str]) -> None:
    """Check the names of retrieval metrics without computing anything.

    Args:
        names: Names as ir_measures writes them: nDCG@10, RR@10, R@5, Success@5, AP...; or SpanRecall@5 and
            SpanPrecision@5, which are of `spans`.

    Raises:
        UserError: A name is unknown, lacks its cutoff, counts instead of judging, or has no library installed for it.
    """
    for name in names:
        if spans.measure(name) is None:
            _measure(name)


def score_rankings(
    questions: Sequence[QAPair],
    rankings: Mapping[str, Ranking],
    metrics: Sequence[str],
    chunk_document: Mapping[str, str],
    arm: str,
    advance: Callable[[int], None] = lambda _: None,
    chunk_span: Mapping[str, tuple[int, int]] = MappingProxyType({}),
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
        chunk_span: Chunk id -> its start and end in its document, characters; span metrics need it.

    Raises:
        UserError: A metric is unknown, or a ranking names a chunk that `chunk_document` or `chunk_span` lacks.
    """
    measures = [(name, spans.measure(name) or _measure(name)) for name in metrics]
    judged = {question.id: grades(question) for question in questions}
    relevant = [question for question in questions if any(judged[question.id].values())]
    asked = [question for question in relevant if question.id in rankings]
    run = {question.id: _run(question, rankings[question.id], chunk_document) for question in asked}
    why = {question.id: NO_RELEVANT_PASSAGE for question in questions} | {q.id: NO_RANKING for q in relevant}
    scores: list[Score] = []
    for name, measure in measures:
        if isinstance(measure, SpanMeasure):
            found = _by_characters(measure, relevant, rankings, chunk_document, chunk_span)
        else:
            found = _by_library(measure, judged, run)
        scores += [Score(name, q.id, arm, *found.get(q.id, (None, why[q.id]))) for q in questions]
        advance(len(questions))
    return scores


def _by_characters(
    measure: SpanMeasure,
    questions: Sequence[QAPair],
    rankings: Mapping[str, Ranking],
    chunk_document: Mapping[str, str],
    chunk_span: Mapping[str, tuple[int, int]],
) -> dict[str, Outcome]:
    """Question id -> outcome, for the questions that have a ranking or that the measure does not apply to."""
    found: dict[str, Outcome] = {}
    for question in questions:
        evidence = spans.evidence_of(question)
        if not evidence:
            found[question.id] = None, NO_SPAN
        elif question.id in rankings:
            chunks = dict.fromkeys(chunk_id for chunk_id, _ in rankings[question.id])
            try:
                passages = [(chunk_document[chunk_id], *chunk_span[chunk_id]) for chunk_id in chunks]
            except KeyError as error:
                raise UserError(
                    f"It is not known where the chunk {error.args[0]!r} stands in its document.",
                    "SpanRecall and SpanPrecision count the characters that passages share with the evidence.",
                    "Give start and end of every chunk that was ranked.",
                ) from error
            found[question.id] = measure.value(evidence, passages), ""
    return found


def _by_library(
    measure: Measure, judged: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, Outcome]:
    """Question id -> outcome, for the questions of `run`."""
    values, failure = _values(measure, judged, run)
    return {qa_id: (None, failure) if failure else _finite(values.get(qa_id, 0.0)) for qa_id in run}


def _finite(value: float) -> Outcome:
    return (float(value), "") if math.isfinite(value) else (None, "not a finite number")


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


def _run(question: QAPair, ranking: Ranking, chunk_document: Mapping[str, str]) -> dict[str, float]:
    """Chunk or document id -> a score that falls strictly with the rank."""
    try:
        passages = [Passage(chunk_id, chunk_document[chunk_id]) for chunk_id, _ in ranking]
    except KeyError as error:
        raise UserError(
            f"A ranking names the chunk {error.args[0]!r}, which does not exist.",
            "The index was built from other chunks than those that are being scored.",
            "Run the same `raglift run` command again: it builds the index of these chunks.",
        ) from error
    found = dict.fromkeys(units(question, passages))
    return {unit: float(len(found) - rank) for rank, unit in enumerate(found)}


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
