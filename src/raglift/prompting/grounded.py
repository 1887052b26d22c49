"""Answer from the passages, briefly, or say that they do not tell."""

from __future__ import annotations

from collections.abc import Sequence

from raglift.abstention import ABSTAIN


class Grounded:
    """Numbered passages, then the question; the instruction names the sentence with which to abstain."""

    name = "grounded"
    version = 1

    def messages(self, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """A system and a user message."""
        if not passages:
            system = f"Answer the question in a few words. If you do not know the answer, say: {ABSTAIN}"
            return [{"role": "system", "content": system}, {"role": "user", "content": f"Question: {question}"}]
        system = (
            "Answer the question in a few words, taken from the passages. "
            f"If the passages do not hold the answer, say: {ABSTAIN}"
        )
        numbered = "\n\n".join(f"[{number}] {passage}" for number, passage in enumerate(passages, 1))
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": f"{numbered}\n\nQuestion: {question}"},
        ]


PLUGIN = Grounded()
