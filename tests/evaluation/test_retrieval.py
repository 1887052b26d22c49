"""Rankings are scored as trec_eval scores them, at the level that the evidence names."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from raglift.errors import UserError
from raglift.evaluation.retrieval import score_rankings, validate_metrics
from raglift.records import Evidence, Score

USUAL = ["nDCG@10", "RR@10", "R@5", "R@10", "Success@5", "AP"]
CHUNKS = [f"c{number}" for number in range(30)]
DOCUMENT = {chunk: f"d{number // 3}" for number, chunk in enumerate(CHUNKS)}


def ranked(chunks: list[str]) -> list[tuple[str, float]]:
    """All with one score: only the order may count."""
    return [(chunk, 1.0) for chunk in chunks]


def by_metric(scores: list[Score]) -> dict[str, float | None]:
    return {score.metric: score.value for score in scores}


def test_agrees_with_pytrec_eval(make_question: Any) -> None:
    rng = random.Random(0)
    qrels, run, questions, rankings = {}, {}, [], {}
    for number in range(60):
        qa_id = f"q{number}"
        grades = {chunk: rng.choice([1, 1, 2, 3]) for chunk in rng.sample(CHUNKS, rng.randint(1, 6))}
        order = rng.sample(CHUNKS, rng.randint(1, 25))
        qrels[qa_id] = grades
        run[qa_id] = {chunk: float(100 - rank) for rank, chunk in enumerate(order)}
        evidence = tuple(Evidence(DOCUMENT[chunk], chunk, grade=grade) for chunk, grade in grades.items())
        questions.append(make_question(qa_id, evidence=evidence))
        rankings[qa_id] = ranked(order)
    names = {"nDCG@10": "ndcg_cut_10", "R@5": "recall_5", "R@10": "recall_10", "Success@5": "success_5", "AP": "map"}
    expected = pytrec_eval.RelevanceEvaluator(qrels, set(names.values())).evaluate(run)
    scores = score_rankings(questions, rankings, list(names), DOCUMENT, "arm")
    assert len(scores) == len(names) * len(questions)
    for score in scores:
        assert score.value == pytest.approx(expected[score.qa_id][names[score.metric]], abs=1e-9)


TREC = {
    **{"nDCG@5": "ndcg_cut_5", "nDCG@10": "ndcg_cut_10", "nDCG": "ndcg", "AP": "map", "AP@10": "map_cut_10"},
    **{"RR": "recip_rank", "R@5": "recall_5", "R@10": "recall_10", "P@5": "P_5", "Success@5": "success_5"},
    **{"Rprec": "Rprec", "Bpref": "bpref"},
}


@given(
    cases=st.lists(
        st.tuples(
            st.lists(st.sampled_from(CHUNKS), max_size=30),
            st.dictionaries(st.sampled_from(CHUNKS), st.integers(0, 3), min_size=1, max_size=10),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_ranking_is_scored_as_trec_eval_scores_it(
    make_question: Any, cases: list[tuple[list[str], dict[str, int]]]
) -> None:
    """Graded judgements, judged irrelevant ones too; rankings short, empty and with repetitions."""
    questions, rankings, qrels, run = [], {}, {}, {}
    for number, (ranking, grades) in enumerate(cases):
        qa_id = f"q{number}"
        evidence = tuple(Evidence(DOCUMENT[chunk], chunk, grade=grade) for chunk, grade in grades.items())
        questions.append(make_question(qa_id, evidence=evidence))
        rankings[qa_id] = ranked(ranking)
        qrels[qa_id] = grades
        run[qa_id] = {chunk: -float(rank) for rank, chunk in enumerate(dict.fromkeys(ranking))}
    expected = pytrec_eval.RelevanceEvaluator(qrels, set(TREC.values())).evaluate(run)
    for score in score_rankings(questions, rankings, list(TREC), DOCUMENT, "arm"):
        if not any(qrels[score.qa_id].values()):
            assert score.reason == "no relevant passage"  # trec_eval says 0, and so blames the ranking
        else:  # trec_eval leaves out a question for which nothing was retrieved; with -c it counts as 0
            wanted = expected.get(score.qa_id, {}).get(TREC[score.metric], 0.0)
            assert score.value == pytest.approx(wanted, abs=1e-9)


def test_reciprocal_rank_stops_at_its_cutoff(make_question: Any) -> None:
    question = make_question(evidence=(Evidence("d0", "c0"),))
    order = [chunk for chunk in CHUNKS if chunk != "c0"]
    for rank, expected in ((1, 1.0), (4, 0.25), (10, 0.1), (11, 0.0)):
        ranking = ranked([*order[: rank - 1], "c0", *order[rank - 1 :]])
        assert by_metric(score_rankings([question], {"q": ranking}, ["RR@10"], DOCUMENT, "arm"))["RR@10"] == expected


@given(
    ranking=st.lists(st.sampled_from(CHUNKS), max_size=40),
    relevant=st.dictionaries(st.sampled_from(CHUNKS), st.integers(1, 3), min_size=1, max_size=8),
    whole_documents=st.booleans(),
)
def test_laws_hold_with_duplicates(
    make_question: Any, ranking: list[str], relevant: dict[str, int], whole_documents: bool
) -> None:
    evidence = tuple(
        Evidence(DOCUMENT[chunk], None if whole_documents else chunk, grade=grade) for chunk, grade in relevant.items()
    )
    question = make_question(evidence=evidence)
    got = by_metric(score_rankings([question], {"q": ranked(ranking)}, USUAL, DOCUMENT, "arm"))
    assert all(value is not None and 0 <= value <= 1 for value in got.values())
    once = list(dict.fromkeys(ranking))
    assert got == by_metric(score_rankings([question], {"q": ranked(once)}, USUAL, DOCUMENT, "arm"))
    found = {DOCUMENT[chunk] if whole_documents else chunk for chunk in ranking}
    wanted = {DOCUMENT[chunk] if whole_documents else chunk for chunk in relevant}
    assert (got["AP"] == 0) == (not found & wanted)


def test_a_document_ranks_where_its_best_chunk_does(make_question: Any) -> None:
    question = make_question(evidence=(Evidence("d1"), Evidence("d9", "c27")))  # one judgement lacks its chunk
    ranking = ranked(["c0", "c1", "c2", "c5", "c3"])  # documents d0, d1
    got = by_metric(score_rankings([question], {"q": ranking}, ["RR@10", "R@10", "P@1"], DOCUMENT, "arm"))
    assert got == {"RR@10": 0.5, "R@10": 0.5, "P@1": 0.0}


@pytest.mark.parametrize("grades", [(1, 3), (3, 1)])
def test_the_highest_of_repeated_grades_counts(make_question: Any, grades: tuple[int, int]) -> None:
    question = make_question(evidence=tuple(Evidence("d0", "c0", start=grade, grade=grade) for grade in grades))
    got = by_metric(score_rankings([question], {"q": ranked(["c0"])}, ["RR(rel=3)@10", "R@5"], DOCUMENT, "arm"))
    assert got == {"RR(rel=3)@10": 1.0, "R@5": 1.0}


def test_empty_is_zero_but_missing_is_none(make_question: Any) -> None:
    evidence = (Evidence("d0", "c0"),)
    questions = [make_question(name, evidence=evidence) for name in ("empty", "missing", "found")]
    questions.append(make_question("nothing", answerable=False))
    questions.append(make_question("irrelevant", evidence=(Evidence("d0", "c0", grade=0),)))
    rankings = {"empty": [], "found": ranked(["c0"]), "nothing": ranked(["c1"]), "irrelevant": ranked(["c0"])}
    for metric in USUAL:
        scores = score_rankings(questions, rankings, [metric], DOCUMENT, "arm")
        assert [(score.qa_id, score.value, score.reason) for score in scores] == [
            ("empty", 0.0, ""),
            ("missing", None, "no ranking"),
            ("found", 1.0, ""),
            ("nothing", None, "no relevant passage"),
            ("irrelevant", None, "no relevant passage"),
        ]


def test_gains_of_one_measure_do_not_reach_another(make_question: Any) -> None:
    evidence = (Evidence("d0", "c0", grade=1), Evidence("d0", "c1", grade=2))
    arguments = ([make_question(evidence=evidence)], {"q": ranked(["c0"])})
    alone = by_metric(score_rankings(*arguments, ["nDCG@10"], DOCUMENT, "arm"))["nDCG@10"]
    both = by_metric(score_rankings(*arguments, ["nDCG(gains={1:5})@10", "nDCG@10"], DOCUMENT, "arm"))
    assert both["nDCG@10"] == alone != both["nDCG(gains={1:5})@10"]


def test_a_failing_measure_leaves_the_others(make_question: Any) -> None:
    # ir_measures divides by zero in Accuracy where nothing irrelevant was retrieved below the relevant.
    question = make_question(evidence=(Evidence("d0", "c0"),))
    first, second = score_rankings([question], {"q": ranked(["c0"])}, ["Accuracy", "R@5"], DOCUMENT, "arm")
    assert first.value is None
    assert "ZeroDivisionError" in first.reason
    assert second.value == 1.0


def test_an_unknown_chunk_is_an_error(make_question: Any) -> None:
    question = make_question(evidence=(Evidence("d0", "c0"),))
    with pytest.raises(UserError, match="'elsewhere'"):
        score_rankings([question], {"q": ranked(["elsewhere"])}, ["AP"], DOCUMENT, "arm")


@pytest.mark.parametrize(
    "name",
    ["nDGC@10", "", "R", "nDCG(", "nDCG@ten", "nDCG(size=3)@4", "1+1", "nDCG@0", "P(rel=0)@5", "NumRet", "ERR@10"],
)
def test_bad_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(UserError) as caught:
        validate_metrics(["AP", name])
    assert repr(name) in caught.value.what
    assert "AP" not in caught.value.what


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    with pytest.raises(UserError) as caught:
        validate_metrics(["nDGC@10"])
    assert "'nDCG@10'" in caught.value.fix


def test_usual_names_are_accepted_without_heavy_imports() -> None:
    code = (
        "import sys; from raglift.evaluation.retrieval import validate_metrics;"
        f"validate_metrics({USUAL!r});"
        "print([name for name in ('torch', 'pandas', 'scipy', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
