"""Copy the sentence that tells it, then answer from it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raglift.abstention import ABSTAIN
from raglift.prompting._base import closed_book, open_book

_LABEL = "Answer:"
_SYSTEM = (
    "Copy the one sentence of the passages that holds the answer, in quotation marks, then answer the question in a "
    f'few words, taken from it. Write: "the sentence" {_LABEL} the answer. '
    f"If the passages do not hold the answer, say only: {ABSTAIN}"
)
# The first closing mark with a label ends the quote: an answer may hold a label of its own.
_FORM = re.compile(rf'".*?"\s+{_LABEL}(.*)', re.DOTALL)


class Quoted:
    """As `grounded`, with a quote of the evidence before the answer; abstaining and a closed book need none.

    References:
        Zhang et al. 2024, "RAFT: Adapting Language Model to Domain Specific RAG", section 3 (reasoning that cites the
        passages word for word before the answer; here the citation is all of it, which no larger model has to write).
    """

    name = "quoted"
    version = 1
    quote_tokens = 96

    def messages(self, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """A system and a user message."""
        return open_book(_SYSTEM, question, passages) if passages else closed_book(question)

    def target(self, answer: str, quote: str) -> str:
        """`"quote" Answer: answer`; the answer alone where there is no quote."""
        return f'"{quote}" {_LABEL} {answer}' if quote else answer

    def read(self, written: str) -> str:
        """What follows the quote and its label, without outer white space.

        A model that was not tuned to the form labels its answer more loosely: then it is what follows the last label,
        and without a label all of it.
        """
        found = _FORM.match(written.strip())
        return (found[1] if found else written.rpartition(_LABEL)[2]).strip()


PLUGIN = Quoted()
