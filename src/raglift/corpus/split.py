"""Train, dev and test, by whole groups."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def split_groups(sizes: Mapping[str, int], shares: Mapping[Name, float], seed: int) -> dict[str, Name]:
    """Assign each group to a split so that every split gets about its share of the total size.

    Groups are visited in seeded order, the largest quarter first, and each goes where the most is still missing in
    proportion to the split's share; every split with a share gets a group if there are enough of them.

    Args:
        sizes: Group -> size (characters, or questions).
        shares: Split -> share, summing to 1; a split with share 0 gets nothing.
        seed: Of the order.
    """
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    large = set(sorted(order, key=lambda group: -sizes[group])[: max(1, len(order) // 4)])
    order.sort(key=lambda group: group not in large)
    total = sum(sizes.values()) or 1
    wanted = {name: share for name, share in shares.items() if share > 0}
    got = dict.fromkeys(wanted, 0)
    assigned: dict[str, Name] = {}
    for position, group in enumerate(order):
        empty = [name for name in wanted if got[name] == 0]
        candidates = empty if len(empty) >= len(order) - position else list(wanted)
        name = max(candidates, key=lambda split: wanted[split] - got[split] / total)
        assigned[group] = name
        got[name] += sizes[group]
    return assigned
