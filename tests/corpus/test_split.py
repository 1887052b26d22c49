from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.split import split_groups
from raglift.records import Split

SHARES: dict[Split, float] = {"train": 0.7, "dev": 0.1, "test": 0.2}
SIZES = st.dictionaries(st.text(max_size=4), st.integers(1, 100), min_size=1, max_size=60)


@given(sizes=SIZES, seed=st.integers(0, 5))
def test_shares_are_met_within_one_group(sizes: dict[str, int], seed: int) -> None:
    assigned = split_groups(sizes, SHARES, seed)
    assert set(assigned) == set(sizes)
    total, largest = sum(sizes.values()), max(sizes.values())
    for name, share in SHARES.items():
        got = sum(size for group, size in sizes.items() if assigned[group] == name)
        assert got <= share * total + largest + 1e-9
        if min(SHARES.values()) * total >= 2 * largest:  # enough groups that none is kept back for an empty split
            assert got >= share * total - largest - 1e-9


@given(sizes=SIZES, seed=st.integers(0, 5))
def test_every_split_gets_a_group_if_there_are_enough(sizes: dict[str, int], seed: int) -> None:
    used = set(split_groups(sizes, SHARES, seed).values())
    assert len(used) == min(len(sizes), len(SHARES))


@given(sizes=SIZES, seed=st.integers(0, 5))
def test_the_order_of_the_groups_does_not_matter(sizes: dict[str, int], seed: int) -> None:
    backwards = dict(reversed(sizes.items()))
    assert split_groups(sizes, SHARES, seed) == split_groups(backwards, SHARES, seed)


def test_the_seed_matters() -> None:
    sizes = {f"group {n}": 1 for n in range(50)}
    assert len({tuple(split_groups(sizes, SHARES, seed).items()) for seed in range(5)}) == 5


def test_a_split_without_a_share_gets_nothing() -> None:
    sizes = {f"group {n}": n for n in range(1, 20)}
    shares: dict[Split, float] = {"train": 0.0, "dev": 0.0, "test": 1.0}
    assert set(split_groups(sizes, shares, 0).values()) == {"test"}


def test_no_groups() -> None:
    assert split_groups({}, SHARES, 0) == {}
