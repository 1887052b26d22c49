"""Fusions against their formulas written out, and laws that every fusion keeps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.config_fields import PluginSpec
from raglift.index.fusing import candidates, fusion_of, shown, spec_of
from raglift.index.fusions._base import Fusion
from raglift.index.fusions.convex import Convex
from raglift.index.fusions.rrf import ReciprocalRank
from raglift.index.ranking import Ranking, reciprocal_ranks

DENSE = (("a", 0.9), ("b", 0.8), ("c", 0.7))
SPARSE = (("c", 12.0), ("d", 3.0))
EVERY = [fusion for _, fusion in candidates(PluginSpec(name="auto"))]
EVERY += [Convex(alpha=alpha, normalisation="min_max") for alpha in (0.0, 0.3, 1.0)]
every_fusion = pytest.mark.parametrize("fusion", EVERY, ids=lambda fusion: str(fusion.model_dump()))


def ids(ranking: Ranking) -> list[str]:
    return [chunk_id for chunk_id, _ in ranking]


def rankings(low: float, high: float) -> st.SearchStrategy[Ranking]:
    """At most eight of ten chunks, with scores that differ, best first."""
    scores = st.lists(st.integers(1, 999), unique=True, max_size=8).map(lambda found: sorted(found, reverse=True))
    chunks = st.permutations("abcdefghij")
    return st.builds(
        lambda names, found: tuple(
            (name, low + (high - low) * score / 1000) for name, score in zip(names, found, strict=False)
        ),
        chunks,
        scores,
    )


def brute_force(fusion: Convex, dense: Ranking, sparse: Ranking, depth: int) -> dict[str, float]:
    """Every score by Bruch et al. 2023, equations 2 to 4, for what both rankings say."""
    cosine, words = dict(dense), dict(sparse)
    scores = {}
    for chunk in {*cosine, *words}:
        value = 0.0
        for found, weight, bound, full in (
            (cosine, fusion.alpha, -1.0, True),
            (words, 1 - fusion.alpha, 0.0, len(words) >= depth),
        ):
            floor = min(found.values()) if found and full else bound
            low = bound if fusion.normalisation == "theoretical" else floor
            high = max(found.values(), default=low)
            value += weight * (found.get(chunk, floor) - low) / ((high - low) or 1.0)
        scores[chunk] = value
    return scores


def test_reciprocal_ranks_by_hand() -> None:
    fused = ReciprocalRank().fuse(DENSE, SPARSE, 3)
    assert ids(fused) == ["c", "a", "b", "d"]  # b and d both stand second: the dense one comes first
    assert [score for _, score in fused] == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62])
    assert ids(ReciprocalRank(k=0).fuse(DENSE, SPARSE, 3)) == ["c", "a", "b", "d"]
    assert reciprocal_ranks([(), ()]) == ()
    assert ids(reciprocal_ranks([DENSE, SPARSE, (("d", 1.0),)])) == ["d", "c", "a", "b"]


def test_a_convex_mix_by_hand() -> None:
    fused = dict(Convex(alpha=0.75).fuse(DENSE, SPARSE, 3))
    assert fused["a"] == pytest.approx(0.75)  # the best cosine, and no word
    assert fused["b"] == pytest.approx(0.75 * 1.8 / 1.9)
    assert fused["c"] == pytest.approx(0.75 * 1.7 / 1.9 + 0.25)
    assert fused["d"] == pytest.approx(0.75 * 1.7 / 1.9 + 0.25 * 3 / 12)  # no nearer than the last cosine
    cut = dict(Convex(alpha=0.75).fuse(DENSE, SPARSE, 2))  # BM25's ranking goes on below its two
    assert cut["a"] == pytest.approx(0.75 + 0.25 * 3 / 12)
    least = dict(Convex(alpha=0.5, normalisation="min_max").fuse(DENSE, SPARSE, 2))
    assert least == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.5, "d": 0.0})


@given(rankings(-1, 1), rankings(0, 20), st.integers(1, 10), st.floats(0, 1), st.booleans())
def test_a_convex_mix_is_that_of_the_paper(
    dense: Ranking, sparse: Ranking, depth: int, alpha: float, theoretical: bool
) -> None:
    fusion = Convex(alpha=alpha, normalisation="theoretical" if theoretical else "min_max")
    found = fusion.fuse(dense, sparse, depth)
    assert dict(found) == pytest.approx(brute_force(fusion, dense, sparse, depth), abs=1e-12)
    assert all(before >= after for (_, before), (_, after) in pairwise(found))


@every_fusion
@given(st.data())
def test_laws(fusion: Fusion, data: st.DataObject) -> None:
    dense, sparse = data.draw(rankings(-1, 1)), data.draw(rankings(0, 20))
    found = fusion.fuse(dense, sparse, 10)
    assert sorted(ids(found)) == sorted({*ids(dense), *ids(sparse)})  # each chunk once, none lost
    renamed = dict(zip("abcdefghij", data.draw(st.permutations("klmnopqrst")), strict=True))

    def rename(ranking: Ranking) -> Ranking:
        return tuple((renamed[chunk_id], score) for chunk_id, score in ranking)

    assert fusion.fuse(rename(dense), rename(sparse), 10) == rename(found)  # a chunk's name says nothing
    weight = getattr(fusion, "alpha", 0.5)
    if weight > 0:
        assert ids(fusion.fuse(dense, (), 10)) == ids(dense)  # of one ranking it is that ranking
    if weight < 1:
        assert ids(fusion.fuse((), sparse, 10)) == ids(sparse)


@given(rankings(-1, 1), rankings(0, 20), st.sampled_from(["theoretical", "min_max"]))
def test_all_weight_on_one_ranking_is_that_ranking(dense: Ranking, sparse: Ranking, normalisation: str) -> None:
    whole = Convex(alpha=1.0, normalisation=normalisation)  # type: ignore[arg-type]
    assert ids(whole.fuse(dense, sparse, 20))[: len(dense)] == ids(dense)
    words = Convex(alpha=0.0, normalisation=normalisation)  # type: ignore[arg-type]
    assert ids(words.fuse(dense, sparse, 20))[: len(sparse)] == ids(sparse)


@given(rankings(-1, 1), rankings(0, 20), st.floats(0.5, 40))
def test_the_scale_of_bm25_says_nothing(dense: Ranking, sparse: Ranking, scale: float) -> None:
    larger = tuple((chunk_id, scale * score) for chunk_id, score in sparse)
    for fusion in (Convex(alpha=0.3), ReciprocalRank(k=7)):
        assert dict(fusion.fuse(dense, larger, 20)) == pytest.approx(dict(fusion.fuse(dense, sparse, 20)))


def test_what_the_config_sets_is_held_and_what_it_leaves_open_is_tried() -> None:
    everything = candidates(PluginSpec(name="auto"))
    assert {name for name, _ in everything} == set(plugins.names("fusion"))
    assert everything[0] == ("convex", Convex())
    assert len(set(everything)) == len(everything)
    held = candidates(PluginSpec(name="convex", settings={"alpha": 0.25}))
    assert held == [("convex", Convex(alpha=0.25))]
    fixed = PluginSpec(name="rrf", settings={"k": 3})
    assert candidates(fixed) == [("rrf", ReciprocalRank(k=3))]
    assert fusion_of(fixed) == ReciprocalRank(k=3)
    assert fusion_of(PluginSpec(name="auto")) == Convex()
    assert spec_of("rrf", ReciprocalRank(k=3)) == {"rrf": {"k": 3}}
    assert shown("rrf", ReciprocalRank(k=3)) == "rrf, k 3"
    for name, fusion in everything:
        assert fusion.paper, name
        assert fusion.fuse((), (), 5) == ()
