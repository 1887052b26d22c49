from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus import near_duplicates
from raglift.corpus.near_duplicates import SHINGLE, components, containing_pairs

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "C", "d-e", "\u00e9"]), max_size=12).map(" ".join), max_size=8)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    width = min(SHINGLE, len(words))
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)} if words else set()


def _brute_force(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    sets = [_shingles(text) for text in texts]
    return [
        (i, j)
        for i, j in combinations(range(len(texts)), 2)
        if sets[i] & sets[j] and len(sets[i] & sets[j]) >= threshold * min(len(sets[i]), len(sets[j]))
    ]


@given(texts=TEXTS, threshold=st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_pairs_are_those_of_a_brute_force_search(texts: list[str], threshold: float) -> None:
    assert containing_pairs(texts, threshold) == _brute_force(texts, threshold)


@given(texts=TEXTS)
def test_blocks_do_not_matter(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_BLOCK", 2)
        assert containing_pairs(texts, 0.5) == _brute_force(texts, 0.5)


def test_a_section_inside_a_long_text_is_found() -> None:
    section = "Refunds are paid within thirty days of the request, less the fee."
    long = " ".join(f"word{n}" for n in range(500)) + " " + section.upper()
    assert containing_pairs([section, long, "nothing of the kind stands here at all"], 0.8) == [(0, 1)]


def test_boilerplate_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"all rights are reserved by us own {n}a {n}b {n}c {n}d {n}e" for n in range(4)]
    assert len(containing_pairs(texts, 0.1)) == 6
    monkeypatch.setattr(near_duplicates, "_COMMON", 3)
    assert containing_pairs(texts, 0.1) == []


@given(data=st.data(), count=st.integers(0, 12))
def test_components_are_the_reachable_sets(data: st.DataObject, count: int) -> None:
    item = st.integers(0, max(0, count - 1))
    pairs = data.draw(st.lists(st.tuples(item, item), max_size=12)) if count else []
    reached = [{i} for i in range(count)]
    for _ in range(count):
        for left, right in pairs:
            union = reached[left] | reached[right]
            for member in union:
                reached[member] |= union
    assert components(count, pairs) == [min(members) for members in reached]
