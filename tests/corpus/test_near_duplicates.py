from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus import near_duplicates
from raglift.corpus.near_duplicates import SHINGLE, components, containing_pairs, containing_sets

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
        if texts[i] == texts[j]
        or (sets[i] & sets[j] and len(sets[i] & sets[j]) >= threshold * min(len(sets[i]), len(sets[j])))
    ]


def _names(texts: list[str]) -> dict[str, str]:
    return {f"t{number}": text for number, text in enumerate(texts)}


@given(texts=TEXTS, threshold=st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_pairs_are_those_of_a_brute_force_search(texts: list[str], threshold: float) -> None:
    found, expected = containing_pairs(texts, threshold), _brute_force(texts, threshold)
    assert set(found) <= set(expected)
    assert components(len(texts), found) == components(len(texts), expected)
    distinct = list({frozenset(_shingles(text)) or text: text for text in texts}.values())
    assert containing_pairs(distinct, threshold) == _brute_force(distinct, threshold)


@given(texts=TEXTS, threshold=st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_sets_are_those_of_a_brute_force_search(texts: list[str], threshold: float) -> None:
    expected: dict[str, set[str]] = {}
    for i, j in _brute_force(texts, threshold):
        expected.setdefault(f"t{i}", set()).add(f"t{j}")
        expected.setdefault(f"t{j}", set()).add(f"t{i}")
    found = containing_sets(_names(texts), threshold)
    assert {name: others - {name} for name, others in found.items()} == expected


@given(texts=TEXTS)
def test_blocks_do_not_matter(texts: list[str]) -> None:
    whole = containing_pairs(texts, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_BLOCK", 2)
        assert containing_pairs(texts, 0.5) == whole


@pytest.mark.parametrize("text", ["These terms apply to every order that is placed with us.", "Yes", "* * *"])
def test_any_number_of_copies_is_one_group(text: str) -> None:
    count = 3 * near_duplicates._COMMON
    texts = [text] * count + ["Something else stands in this one document alone, and nowhere else."]
    pairs = containing_pairs(texts, 0.8)
    assert components(len(texts), pairs) == [0] * count + [count]
    assert len(pairs) == count - 1  # not its square
    found = containing_sets(_names(texts), 0.8)
    assert set(found) == {f"t{number}" for number in range(count)}
    assert all(names is found["t0"] for names in found.values())  # room for one set
    assert found["t0"] == set(found)


def test_copies_are_no_boilerplate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_COMMON", 2)
    section = "Refunds are paid within thirty days of the request, less the fee."
    texts = [section, section, section, f"{section} All of this holds from today on.", section]
    assert components(5, containing_pairs(texts, 0.8)) == [0] * 5
    assert containing_sets(_names(texts), 0.8)["t3"] == {"t0", "t1", "t2", "t4"}


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
