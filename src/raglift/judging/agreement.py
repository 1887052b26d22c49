"""How far readers agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence


def krippendorff_alpha(readers: Sequence[Mapping[str, Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal labels: 1 for full agreement, 0 for what chance gives, below for less.

    Any number of readers, any labels missing; a unit that fewer than two have labelled says nothing.

    Args:
        readers: For each reader, unit -> label.

    Returns:
        None where no unit has two labels, or all labels are the same: then chance would agree too.

    References:
        Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C.
    """
    units = sorted({unit for labels in readers for unit in labels})
    paired = [found for unit in units if len(found := [labels[unit] for labels in readers if unit in labels]) > 1]
    values = [label for found in paired for label in found]
    total = Counter(values)
    n = len(values)
    by_chance = n * n - sum(count * count for count in total.values())
    if by_chance == 0:
        return None
    # Of each unit with m labels, the ordered pairs that differ, each counted 1 / (m - 1).
    differing = sum(
        (len(found) ** 2 - sum(count**2 for count in Counter(found).values())) / (len(found) - 1) for found in paired
    )
    return 1 - (n - 1) * differing / by_chance
