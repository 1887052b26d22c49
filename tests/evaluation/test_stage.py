"""The evaluation stage's files agree with each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raglift.artifacts import WORK
from raglift.config import EvaluationConfig
from raglift.evaluation.arms import ARMS, BASE
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.scale import PRICES, SECONDS, TOKENS_IN, TOKENS_OUT
from raglift.evaluation.stage import _Count, build, clusters
from raglift.job import Job
from raglift.progress import Bar, Progress
from raglift.records import Answered, QAPair, Score, Verdict, read_jsonl
from tests.evaluation.test_answering import CHUNKS, LIMITS, QUESTION_SET, Build
from tests.evaluation.test_answering import build as pipelines_fixture
from tests.tasks import QUIET

make = pipelines_fixture
SETTINGS = EvaluationConfig(
    retrieval=["nDCG@10", "SpanRecall@2", "Success@5"],
    response=["token_f1", "semantic_similarity", "abstention", "answer_length", "citation_recall"],
    max_answers=4,
    resamples=200,
)
UNANSWERABLE = QAPair("none", "Who paints the bridge?", (), (), "unanswerable", "test", "human", answerable=False)
CITATIONS = ["citation_precision", "citation_recall"]
SPANNED = [replace(question, evidence=(replace(question.evidence[0], end=5),)) for question in QUESTION_SET]
SETS = {
    "human": [*SPANNED, UNANSWERABLE],
    "synthetic": [replace(question, id=f"s{question.id}", origin="synthetic") for question in SPANNED[:3]],
    "empty": [],
}


@pytest.fixture(scope="module")
def out(make: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    _run(make, folder)
    return folder


def _run(make: Build, folder: Path, display: Progress = QUIET) -> None:
    pipelines, _ = make()
    build(SETTINGS, LIMITS, SETS, pipelines, CHUNKS, pipelines.encoder("base"), Job(folder, 0, display))


@pytest.fixture(scope="module")
def summary(out: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((out / "summary.json").read_text("utf-8"))
    return value


def test_every_set_with_questions_has_its_files(out: Path) -> None:
    names = {path.name for path in out.iterdir()} - {WORK}
    parts = ("questions", "answered", "scores")
    assert names == {"summary.json", *(f"{name}-{part}.jsonl" for name in ("human", "synthetic") for part in parts)}
    assert read_jsonl(out / "human-questions.jsonl", QAPair) == SETS["human"]
    answered = read_jsonl(out / "human-answered.jsonl", Answered)
    assert len(answered) == len(ARMS) * len(SETS["human"])


def test_the_sets_are_described(summary: dict[str, Any]) -> None:
    assert summary["question_sets"] == {
        "human": {
            "origin": "human",
            "questions": 6,
            "documents": 5,
            "answered": 4,
            "unanswerable": 1,
            "kinds": {"factoid": 5, "unanswerable": 1},
        },
        "synthetic": {
            "origin": "synthetic",
            "questions": 3,
            "documents": 3,
            "answered": 3,
            "unanswerable": 0,
            "kinds": {"factoid": 3},
        },
    }


def test_tables_have_the_arms_that_the_metrics_apply_to(summary: dict[str, Any]) -> None:
    for name in ("human", "synthetic"):
        assert set(summary["retrieval"][name]) == {arm.name for arm in ARMS if arm.retrieval != "none"}
        assert set(summary["response"][name]) == {arm.name for arm in ARMS if arm.llm != "none"}
        for cells in summary["retrieval"][name].values():
            assert list(cells) == sorted(SETTINGS.retrieval)
        for cells in summary["response"][name].values():
            assert set(cells) == {*SETTINGS.response, SECONDS, TOKENS_IN, TOKENS_OUT}


def test_a_cell_is_the_mean_of_the_scores_on_disk(out: Path, summary: dict[str, Any]) -> None:
    scores = read_jsonl(out / "human-scores.jsonl", Score)
    for table in (summary["retrieval"]["human"], summary["response"]["human"]):
        for arm, cells in table.items():
            for metric, cell in cells.items():
                values = [s.value for s in scores if (s.arm, s.metric) == (arm, metric) and s.value is not None]
                if metric not in PRICES:
                    assert cell["n"] == len(values)
                    assert cell["value"] == (pytest.approx(sum(values) / len(values)) if values else None)
                    assert not values or cell["ci_low"] <= cell["value"] <= cell["ci_high"]


def test_seconds_are_those_of_the_questions_asked(out: Path, summary: dict[str, Any]) -> None:
    answered = read_jsonl(out / "human-answered.jsonl", Answered)
    for arm, cells in summary["response"]["human"].items():
        values = [item.seconds for item in answered if item.arm == arm and item.answer is not None]
        assert (cells[SECONDS]["n"], cells[SECONDS]["coverage"]) == (4, 1.0)
        assert cells[SECONDS]["value"] == pytest.approx(sum(values) / 4)
        assert 0 < cells[SECONDS]["ci_low"] <= cells[SECONDS]["ci_high"]


def test_retrieval_scores_are_of_the_whole_ranking(out: Path) -> None:
    answered = read_jsonl(out / "human-answered.jsonl", Answered)
    document_of = {chunk.id: chunk.document_id for chunk in CHUNKS}
    rankings = {item.qa_id: item.ranking for item in answered if item.arm == BASE}
    spans = {chunk.id: (chunk.start, chunk.end) for chunk in CHUNKS}
    metrics = SETTINGS.retrieval
    expected = score_rankings(SETS["human"], rankings, metrics, document_of, BASE, chunk_span=spans)
    found = [
        s for s in read_jsonl(out / "human-scores.jsonl", Score) if s.arm == BASE and s.metric in SETTINGS.retrieval
    ]
    assert found == expected


def test_a_citation_is_held_against_the_passages_of_the_arms_prompt(make: Build, tmp_path: Path) -> None:
    """One passage a prompt, of a ranking of all: "[1]" is right where the first is, and [2] is no passage."""
    pipelines, _ = make()
    pipelines = replace(pipelines, read=lambda _: "As they say [1, 2].")
    limits, settings = replace(LIMITS, top_k=1, depth=8), SETTINGS.model_copy(update={"response": CITATIONS})
    build(settings, limits, SETS, pipelines, CHUNKS, pipelines.encoder("base"), Job(tmp_path, 0, QUIET))
    first = {
        (item.qa_id, item.arm): item.ranking[0][0] if item.ranking else None
        for item in read_jsonl(tmp_path / "human-answered.jsonl", Answered)
    }
    evidence = {question.id: {item.chunk_id for item in question.evidence} for question in SETS["human"]}
    seen = set()
    for score in read_jsonl(tmp_path / "human-scores.jsonl", Score):
        if score.metric not in CITATIONS:
            continue
        found, precision = first[score.qa_id, score.arm], score.metric == "citation_precision"
        if not evidence[score.qa_id]:
            expected: str | float = "unanswerable"
        elif found is None:
            expected = "no passage shown"
        elif found in evidence[score.qa_id]:
            expected = 0.5 if precision else 1.0
        else:
            expected = 0.0 if precision else "no relevant passage shown"
        assert (score.reason or score.value) == expected
        seen.add(expected)
    assert {"no passage shown", "no relevant passage shown", 0.0} <= seen


def test_verdicts_hold_every_arm_against_the_base_on_what_both_have(summary: dict[str, Any]) -> None:
    verdicts = [Verdict(**value) for value in summary["verdicts"]]
    assert {verdict.against for verdict in verdicts} == {BASE}
    assert {verdict.question_set for verdict in verdicts} == {"human", "synthetic"}
    for arm in ARMS:
        metrics = {verdict.metric for verdict in verdicts if verdict.arm == arm.name}
        if arm.name == BASE:
            assert metrics == set()
            continue
        assert (set(SETTINGS.retrieval) <= metrics) == (arm.retrieval != "none")
        assert ("token_f1" in metrics) == (arm.llm != "none")
        assert not {SECONDS, "answer_length"} & metrics
        assert ("citation_recall" in metrics) <= (arm.retrieval != "none")
    same = [v for v in verdicts if (v.arm, v.metric) == ("tuned_llm", "nDCG@10")]
    assert [(v.delta, v.decision) for v in same] == [(0.0, "cannot tell")] * 2


class Watched(Bar):
    """Keeps every step."""

    def __init__(self, name: str, total: float | None, done: float) -> None:
        super().__init__(name, total, "", done, lambda: 0.0, 1.0, lambda _: None)
        self.steps: list[float] = []

    def advance(self, n: float = 1) -> None:
        super().advance(n)
        self.steps.append(n)


class Watching(Progress):
    """Keeps every bar."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.bars: list[Watched] = []

    @contextmanager
    def stage(self, name: str, total: float | None = None, unit: str = "", done: float = 0) -> Iterator[Bar]:
        self.bars.append(Watched(name, total, done))
        yield self.bars[-1]


def test_every_bar_ends_at_its_total(make: Build, tmp_path: Path) -> None:
    display = Watching()
    _run(make, tmp_path, display)
    names = [
        "encoding questions",
        "ranking passages",
        "answering with every arm",
        "scoring rankings",
        "scoring answers",
        "comparing arms",
    ]
    assert [bar.name for bar in display.bars] == names * 2
    for bar in display.bars:
        assert bar.done == bar.total
        assert len(bar.steps) > 1
        assert all(step >= 0 for step in bar.steps)


def test_a_bar_of_scores_moves_with_the_texts_encoded_for_them() -> None:
    bar = Bar("scoring answers", 30, "scores", 0, lambda: 0.0, 1.0, lambda _: None)
    count = _Count(bar, 10)
    seen = []
    for texts in (1, 2, 1):
        count.encoded(texts, of=4)
        seen.append(bar.done)
    assert seen == [2, 7, 9]
    count.encoded(4, of=4)  # a metric that encodes twice
    assert bar.done == 10
    count.scored(10)
    assert bar.done == 10
    count.scored(10)  # a metric that encodes nothing
    assert bar.done == 20
    count.encoded(4, of=4)
    count.scored(10)
    assert bar.done == 30


def test_run_again_over_its_own_journal_it_writes_the_same(make: Build, tmp_path: Path) -> None:
    _run(make, tmp_path)
    names = ["human-scores.jsonl", "synthetic-scores.jsonl", "human-questions.jsonl"]
    before = {name: (tmp_path / name).read_bytes() for name in names}
    answers = [replace(item, seconds=0) for item in read_jsonl(tmp_path / "human-answered.jsonl", Answered)]
    pipelines, generators = make()
    build(SETTINGS, LIMITS, SETS, pipelines, CHUNKS, pipelines.encoder("base"), Job(tmp_path, 0, QUIET))
    assert generators["base"].batches == generators["tuned"].batches == 0
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert [replace(item, seconds=0) for item in read_jsonl(tmp_path / "human-answered.jsonl", Answered)] == answers


def test_a_set_without_answers_is_scored_on_retrieval_alone(make: Build, tmp_path: Path) -> None:
    pipelines, generators = make()
    silent = {"human": [replace(question, answers=()) for question in QUESTION_SET]}
    build(SETTINGS, LIMITS, silent, pipelines, CHUNKS, pipelines.encoder("base"), Job(tmp_path, 0, QUIET))
    found = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert found["response"]["human"] == {}
    assert set(found["retrieval"]["human"]["base"]) == set(SETTINGS.retrieval)
    assert generators["base"].batches == 0


def test_what_one_document_cannot_bound_is_null_in_json(make: Build, tmp_path: Path) -> None:
    pipelines, _ = make()
    one = {"human": SPANNED[:1]}
    build(SETTINGS, LIMITS, one, pipelines, CHUNKS, pipelines.encoder("base"), Job(tmp_path, 0, QUIET))
    constants: list[str] = []
    found = json.loads((tmp_path / "summary.json").read_text("utf-8"), parse_constant=constants.append)
    assert constants == []  # JSON has no Infinity
    cells = found["response"]["human"][BASE]
    for metric in (SECONDS, "answer_length"):
        assert (cells[metric]["ci_low"], cells[metric]["ci_high"]) == (0, None)
    assert (cells["token_f1"]["ci_low"], cells["token_f1"]["ci_high"]) == (0, 1)


def test_questions_cluster_by_the_document_of_their_evidence() -> None:
    assert clusters(SETS["human"]) == {f"q{row}": f"d{row}" for row in range(5)}
