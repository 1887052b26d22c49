"""The sketched search against the exact one, on corpora with planted copies."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.corpus import near_duplicates
from raglift.corpus.minhash import SHORTEST, STRIDE, WINDOW
from raglift.corpus.near_duplicates import components, containing_pairs, containing_sets
from raglift.corpus.split import split_groups


def corpus(seed: int, count: int, edits: float, phrases: int) -> list[str]:
    """Texts of 5 to 250 words, a third of them with a section of an earlier one, and with set phrases all over."""
    draw = random.Random(seed)
    common = [[f"p{n}{word}" for word in "abcdefgh"] for n in range(phrases)]
    texts: list[list[str]] = []
    for _ in range(count):
        words = [f"w{draw.randrange(5000)}" for _ in range(draw.choice([5, 30, 90, 250]))]
        for phrase in draw.sample(common, min(2, phrases)):
            at = draw.randrange(len(words))
            words[at:at] = phrase
        if texts and draw.random() < 1 / 3:
            source = draw.choice(texts)
            begin = draw.randrange(max(1, len(source) // 2))
            section = source[begin : begin + draw.choice([20, 60, 250])]
            section = [word if draw.random() >= edits else f"x{draw.randrange(5000)}" for word in section]
            before, after = draw.choice([0, 10, 200]), draw.choice([0, 10, 200])
            more = [f"w{draw.randrange(5000)}" for _ in range(before + after)]
            texts.append(section if draw.random() < 0.5 else more[:before] + section + more[before:])
        texts.append(words)
    return [" ".join(words) for words in texts]


def sketched(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_WORK", -1)
        return containing_pairs(texts, threshold)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 40),
    edits=st.sampled_from([0.0, 0.01, 0.03]),
    phrases=st.sampled_from([0, 5]),
    threshold=st.sampled_from([0.8, 0.9, 1.0]),
)
def test_sketches_find_the_groups_of_an_exact_search(
    seed: int, count: int, edits: float, phrases: int, threshold: float
) -> None:
    texts = corpus(seed, count, edits, phrases)
    exact, found = containing_pairs(texts, threshold), sketched(texts, threshold)
    assert set(found) <= set(exact), "candidates are verified"
    assert components(len(texts), found) == components(len(texts), exact)


def test_nearly_every_pair_is_found_and_the_sketches_were_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = corpus(1, 400, 0.02, 5)
    exact = set(containing_pairs(texts, 0.8))
    assert len(exact) > 50
    assert len(set(sketched(texts, 0.8))) >= 0.99 * len(exact)
    monkeypatch.setattr(near_duplicates.minhash, "candidates", lambda found, kept, advance: near_duplicates._NO_PAIRS)
    assert set(sketched(texts, 0.8)) < exact, "the long texts are found by sketches alone"


@pytest.mark.parametrize("begin", [0, 7, STRIDE // 2, 100, 333])
def test_a_section_is_found_wherever_it_stands(begin: int) -> None:
    section = [f"s{n}" for n in range(SHORTEST + 10)]
    other = [f"o{n}" for n in range(400)]
    texts = [" ".join(section), " ".join(other[:begin] + section + other[begin:]), " ".join(other[: WINDOW * 2])]
    assert (0, 1) in sketched(texts, 0.8)


def test_a_low_threshold_is_always_searched_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = dict(enumerate(corpus(2, 60, 0.05, 5)))
    named = {str(name): text for name, text in texts.items()}
    exact = containing_sets(named, 0.5)
    monkeypatch.setattr(near_duplicates, "_WORK", -1)
    assert containing_sets(named, 0.5) == exact


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), sketches=st.booleans())
def test_groups_never_straddle_a_split(seed: int, sketches: bool) -> None:
    texts = corpus(seed, 30, 0.01, 0)
    exact = containing_pairs(texts, 0.8)
    groups = [str(group) for group in components(len(texts), sketched(texts, 0.8) if sketches else exact)]
    sizes = Counter(groups)
    split = split_groups(sizes, {"train": 0.7, "dev": 0.1, "test": 0.2}, seed)
    assert all(split[groups[left]] == split[groups[right]] for left, right in exact)
