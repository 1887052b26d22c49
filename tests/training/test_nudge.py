"""NUDGE's closed forms are the optima of its problems, and what it writes is never worse on dev."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from raglift.index.encoding import node
from raglift.index.store import FaissStore
from raglift.records import Chunk, Evidence, QAPair
from raglift.training import nudge_stage
from raglift.training.embedding_stage import DevRanking
from raglift.training.nudge import Kind, best_magnitude, moved, sums
from tests.tasks import job


def unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    found = rng.normal(size=shape)
    return (found / np.linalg.norm(found, axis=-1, keepdims=True)).astype(np.float32)


def test_a_passage_is_pulled_by_the_questions_that_it_answers() -> None:
    queries = unit(np.random.default_rng(0), 3, 4)
    found = sums(queries, [[1], [1, 0, 1], []], 3)
    np.testing.assert_allclose(found, [queries[1], queries[0] + queries[1], np.zeros(4)])


@pytest.mark.parametrize("kind", ["M", "N"])
@pytest.mark.parametrize("seed", range(12))
def test_the_closed_form_is_the_optimum(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, pull, bound = unit(rng, 4).astype(np.float64), rng.normal(size=4), float(rng.uniform(0.05, 1.2))
    limit = bound**2 if kind == "M" else bound
    constraints: list[Any] = [{"type": "ineq", "fun": lambda x: limit - np.sum((x - start) ** 2)}]
    if kind == "N":
        constraints.append({"type": "eq", "fun": lambda x: np.sum(x**2) - 1})
    best = max(
        (
            found
            for begin in start + 0.1 * np.append(np.zeros((1, 4)), unit(rng, 6, 4), axis=0)
            if (found := minimize(lambda x: -x @ pull, begin, constraints=constraints, options={"ftol": 1e-12})).success
        ),
        key=lambda found: -found.fun,
    )
    ours = moved(kind, start[None].astype(np.float32), pull[None].astype(np.float32), bound)[0]
    assert float(ours @ pull) == pytest.approx(-best.fun, abs=1e-4)
    np.testing.assert_allclose(ours, best.x, atol=2e-2)


@given(seed=st.integers(0, 10_000), bound=st.floats(0.001, 1.9), kind=st.sampled_from(["M", "N"]))
def test_the_constraints_hold_and_nothing_else_moves(seed: int, bound: float, kind: Kind) -> None:
    rng = np.random.default_rng(seed)
    vectors, pulls = unit(rng, 6, 5), rng.normal(size=(6, 5)).astype(np.float32)
    pulls[1::2] = 0
    found = moved(kind, vectors, pulls, bound)
    assert np.array_equal(found[1::2], vectors[1::2])
    distance = np.linalg.norm(found - vectors, axis=1)
    assert (distance <= (bound if kind == "M" else np.sqrt(bound)) + 1e-5).all()
    if kind == "N":
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert ((found - vectors) * pulls).sum() >= -1e-5
    assert np.array_equal(moved(kind, vectors, pulls, 0.0), vectors)


def test_a_pull_straight_back_leaves_a_vector_of_unit_length_where_it_is() -> None:
    vectors = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(moved("N", vectors, -vectors, 0.5), vectors)
    np.testing.assert_allclose(moved("N", vectors, 3 * vectors, 0.5), vectors, atol=1e-6)


@given(seed=st.integers(0, 10_000), bound=st.floats(0.01, 1.5))
def test_unit_vectors_follow_the_papers_equation(seed: int, bound: float) -> None:
    """The paper writes the turn with a multiplier: x + g (s - m x) / (2 (m - x.s)), with m from the constraint."""
    rng = np.random.default_rng(seed)
    start, pull = unit(rng, 1, 6).astype(np.float64), rng.normal(size=(1, 6))
    straight, square = float((start * pull).sum()), float((pull**2).sum())
    if straight / np.sqrt(square) >= 1 - bound / 2:
        expected = pull / np.sqrt(square)
    else:
        multiplier = straight + np.sqrt(bound / (4 - bound) * (square - straight**2))
        expected = start + bound * (pull - multiplier * start) / (2 * (multiplier - straight))
    found = moved("N", start.astype(np.float32), pull.astype(np.float32), bound)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_no_bound_ranks_more_right_passages_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries, asked = unit(rng, 12, 4), unit(rng, 10, 4), unit(rng, 15, 4)
    pulls = sums(queries, [[row % 12] for row in range(10)], 12)
    answers = [[int(rng.integers(12))] for _ in asked]

    def right(bound: float) -> int:
        first = (asked @ moved("M", vectors, pulls, bound).T).argmax(1)
        return sum(int(row) in rows for row, rows in zip(first, answers, strict=True))

    best = best_magnitude(asked, answers, vectors, pulls)
    assert max(right(best), right(best + 1e-5)) >= max(right(bound) for bound in np.linspace(0, 4, 400))


def question(number: int, chunk: str, split: Any) -> QAPair:
    evidence = (Evidence(f"d-{chunk}", chunk, 0, 1),)
    return QAPair(f"q{number}", f"question {number}", ("x",), evidence, "factoid", split, "synthetic")


class Table:
    """Stands for an encoder: looks vectors up by the question's text."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self._vectors = vectors

    def encode(self, texts: list[str], role: str) -> NDArray[np.float32]:
        assert role == "query"
        return np.array([self._vectors[text] for text in texts])


def built(kind: Kind, seed: int, out: Path, learnable: bool = True) -> tuple[dict[str, Any], FaissStore, Any]:
    """The stage on 30 chunks, the first 15 of them taught; dev asks about the same chunks, or about others."""
    rng = np.random.default_rng(seed)
    chunks = [Chunk(f"c{row}", f"d-c{row}", f"text {row}", 0, 6, {}) for row in range(30)]
    vectors = unit(rng, 30, 6)
    store = FaissStore(dimension=6)
    store.add_vectors([node(chunk) for chunk in chunks], vectors)
    questions = [question(row, f"c{row % 15}", "train") for row in range(30)]
    questions += [question(30 + row, f"c{row if learnable else row + 15}", "dev") for row in range(15)]
    # What is asked lies away from its passage, always in the same direction.
    shift = unit(rng, 30, 6)
    asked = {q.question: vectors[int(q.evidence[0].chunk_id[1:])] for q in questions}  # type: ignore[index]
    asked = {text: v + shift[int(text.split()[1]) % 15] for text, v in asked.items()}
    encoder: Any = Table({text: (v / np.linalg.norm(v)).astype(np.float32) for text, v in asked.items()})
    dev = DevRanking([[q for q in questions if q.split == "dev"]], chunks)
    out.mkdir()
    nudge_stage.build(kind, questions, dev, chunks, store, encoder, "key", job(out))
    found = FaissStore.open(out)
    kept = SimpleNamespace(dev=dev, encoder=encoder, before=store.vectors([c.id for c in chunks]), chunks=chunks)
    return json.loads((out / nudge_stage.FILE).read_text()), found, kept


@pytest.mark.parametrize("kind", ["M", "N"])
def test_the_index_gets_better_on_the_development_split(kind: Kind, tmp_path: Path) -> None:
    said, store, kept = built(kind, 0, tmp_path / "out")
    scores = {row["name"]: row["dev"] for row in said["candidates"]}
    assert said["chosen"].startswith(f"NUDGE-{kind} ")
    assert scores[said["chosen"]] == max(scores.values()) > scores["base"]
    ids = [chunk.id for chunk in kept.chunks]
    after = store.vectors(ids)
    asked = [kept.encoder.encode([q.question for q in kept.dev.sets[0]], "query")]
    assert kept.dev.score(asked, after) == pytest.approx(scores[said["chosen"]])
    assert np.array_equal(after[15:], kept.before[15:])
    assert not np.allclose(after[:15], kept.before[:15])
    length = np.linalg.norm(after[:15], axis=1)
    assert np.allclose(length, 1, atol=1e-5) == (kind == "N")
    # What the store finds is what was scored: it ranks by the same inner product.
    rows, _ = store.search(asked[0], 1)
    assert [store.node(int(row)).node_id for row in rows[:, 0]] == [ids[row] for row in (asked[0] @ after.T).argmax(1)]
    assert (said["questions"], said["passages"]) == (30, 15)


@pytest.mark.parametrize("kind", ["M", "N"])
@pytest.mark.parametrize("seed", range(6))
def test_the_development_score_never_falls(kind: Kind, seed: int, tmp_path: Path) -> None:
    said, store, kept = built(kind, seed, tmp_path / "out", learnable=False)
    asked = [kept.encoder.encode([q.question for q in kept.dev.sets[0]], "query")]
    after = store.vectors([chunk.id for chunk in kept.chunks])
    assert kept.dev.score(asked, after) >= kept.dev.score(asked, kept.before)
    if said["chosen"] == "base":
        assert np.array_equal(after, kept.before)


def test_without_development_questions_nothing_moves(tmp_path: Path) -> None:
    chunks = [Chunk("c0", "d0", "text", 0, 4, {})]
    store = FaissStore(dimension=2)
    store.add_vectors([node(chunk) for chunk in chunks], np.array([[0.6, 0.8]], dtype=np.float32))
    encoder: Any = Table({"question 0": np.array([1.0, 0.0], dtype=np.float32)})
    taught = [question(0, "c0", "train")]
    nudge_stage.build("M", taught, DevRanking([[]], chunks), chunks, store, encoder, "key", job(tmp_path))
    assert np.array_equal(FaissStore.open(tmp_path).vectors(["c0"]), store.vectors(["c0"]))
    assert json.loads((tmp_path / nudge_stage.FILE).read_text())["chosen"] == "base"


def test_two_builds_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        built("N", 3, tmp_path / name)
    for file in ("v000001/vectors.faiss", "v000001/nodes.jsonl", nudge_stage.FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
