"""A judge's reply as one of the labels that it was asked for, or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

_AROUND = r"[\s*_`\"'\u2018\u2019\u201c\u201d()\[\].!:]*"
_SHOWN = 40


def parse_label(reply: str, labels: Sequence[str]) -> tuple[str | None, str]:
    """The label that a reply consists of, and why there is none.

    The label has to stand alone, in any case and with punctuation or markup around it: "No. Yesterday ..." holds "yes",
    begins with "no", and says neither. Taking the first word would have a model that argues before it decides say what
    it argues against.

    Args:
        labels: Such as ("Yes", "No").

    Returns:
        (label, "") or (None, reason).
    """
    for label in labels:
        if re.fullmatch(f"{_AROUND}{re.escape(label)}{_AROUND}", reply, re.IGNORECASE):
            return label, ""
    text = " ".join(reply.split())
    if not text:
        return None, "empty reply"
    return None, f"not a label alone: {text[:_SHOWN]!r}{'...' if len(text) > _SHOWN else ''}"
