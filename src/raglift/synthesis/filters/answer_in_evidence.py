"""Answers that do not stand in their evidence, or give themselves away."""

from __future__ import annotations

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words


class AnswerInEvidence:
    """Drops a question whose answer is missing, is not in the evidence, or is already in the question."""

    name = "answer_in_evidence"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Checked only for kinds that have an answer."""
        if not candidate.kind.answer_words:
            return None
        answer, asked = words(candidate.answer), words(candidate.question)
        if not answer:
            return "no answer"
        if f" {' '.join(answer)} " not in f" {' '.join(words(candidate.text))} ":
            return "answer not in the evidence"
        if f" {' '.join(answer)} " in f" {' '.join(asked)} ":
            return "answer in the question"
        return None


PLUGIN = AnswerInEvidence()
