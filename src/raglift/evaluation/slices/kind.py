"""The kind of question."""

from __future__ import annotations

from raglift.evaluation.slices._base import Dimension, Facts


class Kind(Dimension):
    """What the question was written as, or what people's set says it is."""

    name = "kind"
    about = "kind of question"

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        return {question.id: question.kind or "no kind" for question in facts.questions}


PLUGIN = Kind()
