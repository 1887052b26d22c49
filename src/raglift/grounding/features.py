"""What a passage's words say about a claim, as numbers that a regression can weigh."""

from __future__ import annotations

from dataclasses import astuple, fields

import numpy as np
from numpy.typing import NDArray

from raglift.grounding.alignment import Alignment, align
from raglift.grounding.replies import Reply, reply
from raglift.grounding.statements import parted

COUNT = 2 * len(fields(Alignment)) + len(fields(Reply)) + 1
_NO_REPLY = astuple(Reply())


def word_features(claim: str, passage: str) -> NDArray[np.float64]:
    """Shape (COUNT,): the alignment of a sentence, that of a question with its answer, the reply, and which of the two
    it is. What is not said of a claim of its sort is 0, so that each sort gets weights of its own."""
    question, answer = parted(claim)
    own = np.array(astuple(align(claim, passage)))
    said = astuple(reply(question, answer, passage)) if question else _NO_REPLY
    asked = float(bool(question))
    return np.concatenate([own * (1 - asked), own * asked, said, [asked]])
