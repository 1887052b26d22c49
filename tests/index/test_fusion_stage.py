"""How the fusion is chosen: on development questions alone, and only where the gain is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raglift.config_fields import PluginSpec
from raglift.index import fusion_stage
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense
from raglift.index.fusing import candidates, shown
from raglift.index.fusions.convex import Convex
from raglift.index.fusions.rrf import ReciprocalRank
from raglift.index.ranking import Ranking
from raglift.records import Evidence, QAPair
from tests import tasks

COUNT = 30
IDS = [f"c{row}" for row in range(COUNT)]
DOCUMENT_OF = {chunk_id: f"d{chunk_id[1:]}" for chunk_id in IDS}
AUTO = PluginSpec(name="auto")


def questions(count: int = COUNT, split: str = "dev", origin: str = "human") -> list[QAPair]:
    """Question `i` is answered by chunk `i`, whose words it has."""
    return [
        QAPair(f"{origin}{i}", f"word{i}", (), (Evidence(f"d{i}", f"c{i}"),), "factoid", split, origin)  # type: ignore[arg-type]
        for i in range(count)
    ]


def dense_that(rank: Callable[[int], Sequence[int]]) -> Dense:
    """Dense retrieval that ranks the chunks `rank(i)` for question `i`, with cosines that fall from 0.9."""

    def encode(texts: Sequence[str], _: str) -> NDArray[np.float32]:
        return np.array([[float(text.removeprefix("word"))] for text in texts], dtype=np.float32)

    def search(vectors: NDArray[np.float32], depth: int, _: None = None) -> list[Ranking]:
        return [
            tuple((f"c{row}", 0.9 - 0.01 * place) for place, row in enumerate(list(rank(int(v[0])))[:depth]))
            for v in vectors
        ]

    return Dense(encode, search)  # type: ignore[arg-type]


def wrong(row: int) -> list[int]:
    """The right chunk stands last."""
    return [each for each in range(COUNT) if each != row] + [row]


def right(row: int) -> list[int]:
    return [row] + [each for each in range(COUNT) if each != row]


BM25 = Bm25(IDS, [f"word{row} and word{(row + 1) % COUNT} again word{(row + 1) % COUNT}" for row in range(COUNT)])
"""Puts the chunk before the right one first."""


def chosen(tmp_path: Path, sets: dict[str, list[QAPair]], dense: Dense, spec: PluginSpec = AUTO) -> dict[str, object]:
    fusion_stage.build(spec, sets, dense, BM25, 20, DOCUMENT_OF, tasks.job(tmp_path))
    return fusion_stage.read(tmp_path)


def test_what_is_better_beyond_chance_is_chosen(tmp_path: Path) -> None:
    found = chosen(tmp_path, {"human": questions()}, dense_that(right))
    assert (found["question_set"], found["questions"]) == ("human", COUNT)
    tried = found["candidates"]
    assert isinstance(tried, list)
    assert len(tried) == len(candidates(AUTO))
    best = max(tried, key=lambda row: row["dev"])  # the first of equal ones
    assert (best["behind"], best["error"]) == (0.0, 0.0)
    assert tried[0]["behind"] > tried[0]["error"] > 0, "the default can be told from the best"
    near = next(row for row in tried if row["behind"] <= row["error"])
    fusion = fusion_stage.load(tmp_path)
    assert near["name"] == shown("rrf" if isinstance(fusion, ReciprocalRank) else "convex", fusion) == found["chosen"]


def test_words_win_where_the_model_is_wrong_and_the_model_where_words_are(tmp_path: Path) -> None:
    words = Bm25(IDS, [f"word{row}" for row in range(COUNT)])
    fusion_stage.build(AUTO, {"human": questions()}, dense_that(wrong), words, 20, DOCUMENT_OF, tasks.job(tmp_path))
    bad_model = fusion_stage.load(tmp_path)
    assert isinstance(bad_model, Convex)
    last = dict(bad_model.fuse(dense_that(wrong).search(np.zeros((1, 1), np.float32), 20)[0], (("c0", 5.0),), 20))
    assert max(last, key=lambda chunk: last[chunk]) == "c0"
    fusion_stage.build(AUTO, {"human": questions()}, dense_that(right), BM25, 20, DOCUMENT_OF, tasks.job(tmp_path))
    good_model = fusion_stage.load(tmp_path)
    pair = dense_that(right).search(np.zeros((1, 1), np.float32), 20)[0], BM25.rankings(["word0"], 20)[0]
    assert good_model.fuse(*pair, 20)[0][0] == "c0"


def test_few_questions_choose_nothing(tmp_path: Path) -> None:
    few = questions(fusion_stage.LEAST - 1)
    found = chosen(tmp_path, {"human": few, "synthetic": []}, dense_that(wrong))
    assert (found["question_set"], found["questions"]) == (None, 0)
    assert fusion_stage.load(tmp_path) == Convex()
    assert [row["dev"] for row in found["candidates"]] == [None]  # type: ignore[attr-defined]
    enough = {"human": questions(fusion_stage.LEAST)}
    assert chosen(tmp_path, enough, dense_that(wrong))["questions"] == fusion_stage.LEAST
    written = questions(origin="synthetic")
    assert chosen(tmp_path, {"human": few, "synthetic": written}, dense_that(wrong))["question_set"] == "synthetic"
    both = {"human": questions(), "synthetic": written}
    assert chosen(tmp_path, both, dense_that(wrong))["question_set"] == "human"


def test_questions_of_other_splits_are_never_looked_at(tmp_path: Path) -> None:
    """The test questions could not be worse for what the development questions choose, and change no byte."""
    alone = chosen(tmp_path / "alone", {"human": questions()}, dense_that(right))
    opposite = [
        replace(q, id=f"t{q.id}", split=split, evidence=(Evidence("d0", "c0"),))
        for split in ("test", "train")
        for q in questions()
    ]
    mixed = chosen(tmp_path / "mixed", {"human": [*opposite, *questions()]}, dense_that(right))
    assert alone == mixed
    assert chosen(tmp_path, {"human": opposite}, dense_that(right))["question_set"] is None
    silent = [replace(question, evidence=()) for question in questions()]
    assert chosen(tmp_path, {"human": silent}, dense_that(right))["question_set"] is None


def test_a_fusion_that_the_config_fixes_is_not_up_for_choice(tmp_path: Path) -> None:
    fixed = PluginSpec(name="rrf", settings={"k": 7})
    found = chosen(tmp_path, {"human": questions()}, dense_that(wrong), fixed)
    assert fusion_stage.load(tmp_path) == ReciprocalRank(k=7)
    assert found["question_set"] is None
    held = PluginSpec(name="convex", settings={"normalisation": "min_max"})
    assert len(candidates(held)) == len(Convex.tried["alpha"])
    chosen(tmp_path, {"human": questions()}, dense_that(wrong), held)
    fusion = fusion_stage.load(tmp_path)
    assert isinstance(fusion, Convex)
    assert fusion.normalisation == "min_max"


def test_the_first_within_a_standard_error_of_the_best_is_taken() -> None:
    base = np.array([0.5] * 10)
    lucky = base + np.array([0.4, -0.3] * 5)  # a gain of 0.05, give or take 0.12
    sure = base + 0.02
    surer = base + np.array([0.04, 0.03] * 5)

    def chosen(*scores: NDArray[np.float64]) -> int:
        return fusion_stage.measured([str(row) for row in range(len(scores))], np.stack(scores))[0]

    assert chosen(base, lucky) == 0
    assert chosen(base, sure) == 1
    assert chosen(base, sure, sure) == 1, "of equal ones the first"
    assert chosen(base, sure, surer) == 2
    assert chosen(sure, base) == 0
    _, (first, second) = fusion_stage.measured(["base", "lucky"], np.stack([base, lucky]))
    assert (second.dev, second.behind, second.error) == pytest.approx((0.55, 0.0, 0.0))
    assert (first.dev, first.behind) == pytest.approx((0.5, 0.05))
    assert first.error == pytest.approx(np.std(lucky - base, ddof=1) / 10**0.5)
