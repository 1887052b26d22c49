"""How long the question is."""

from __future__ import annotations

from raglift.evaluation.slices._base import Dimension, Facts, thirds


class QuestionLength(Dimension):
    """Thirds of the questions by their words, as white space separates them."""

    name = "question_length"
    about = "words of the question"

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        return thirds({question.id: len(question.question.split()) for question in facts.questions}, " words")


PLUGIN = QuestionLength()
