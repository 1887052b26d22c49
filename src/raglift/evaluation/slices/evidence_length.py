"""How long the evidence is."""

from __future__ import annotations

from raglift.evaluation.slices._base import Dimension, Facts, thirds


class EvidenceLength(Dimension):
    """Thirds of the questions by the words of their evidence, as white space separates them; questions about whole
    documents, and those without evidence, are slices of their own."""

    name = "evidence_length"
    about = "words of the evidence"

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        texts = {question.id: facts.evidence_text(question) for question in facts.questions}
        lengths = {qa_id: len(text.split()) for qa_id, text in texts.items() if text is not None}
        others = {question.id: facts.without_text(question) for question in facts.questions}
        return others | thirds(lengths, " words")


PLUGIN = EvidenceLength()
