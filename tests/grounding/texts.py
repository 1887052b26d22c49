"""Short documents that hold names, numbers and verbs: material for claims."""

from __future__ import annotations

_PLACES = ("Aldmouth", "Brackwater", "Carrick Bay", "Dunmore", "Eastholm", "Farne Point")
_PEOPLE = ("Ada Miller", "Bram Oakes", "Cora Finch", "Dirk Halloran", "Elsa Thorne", "Finn Marsh")

TEXTS = tuple(
    f"The ferry from {place} to {_PLACES[(n + 1) % 6]} carries forty cars and can take {n + 3} coaches. "
    f"Its first captain was {_PEOPLE[n % 6]}, who was born in {1850 + n} and never learned to swim. "
    f"The pier at {place} was built by Miller and Sons before the harbour of {_PLACES[(n + 2) % 6]} opened. "
    f"Every winter the council of {place} spends {1200 + 10 * n} pounds on lamps, which is more than it earns."
    for n, place in ((number, _PLACES[number % 6]) for number in range(36))
)
"""Thirty-six, no two alike."""
