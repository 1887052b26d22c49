"""Whether a reference answer stands in the answer word for word, by ragas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from raglift.errors import UserError
from raglift.evaluation.metrics._base import Embed, Reply, ResponseMetric, Value, references, unscored
from raglift.records import QAPair


class StringPresence(ResponseMetric):
    """1 if the answer holds one of the reference answers exactly as it is written, else 0.

    ragas' `StringPresence` (Es et al. 2024, "RAGAs: Automated Evaluation of Retrieval Augmented Generation", as
    implemented in version 0.4): case and punctuation count, and a reference inside a longer word is found too. It needs
    neither a judge nor the network. A right answer inside a long sentence counts in full, and so does one beside a
    wrong answer.
    """

    name = "string_presence"

    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        """One value a question, in order.

        Raises:
            UserError: ragas cannot be imported.
        """
        answers = [reply.text for reply in replies]
        missing = [unscored(question, answer) for question, answer in zip(questions, answers, strict=True)]
        wanted = [
            (place, reference, answer)
            for place, (question, answer) in enumerate(zip(questions, answers, strict=True))
            if missing[place] is None and answer is not None
            for reference in references(question)
        ]
        best = [0.0] * len(questions)
        found = _present([(reference, answer) for _, reference, answer in wanted])
        for (place, *_), value in zip(wanted, found, strict=True):
            best[place] = max(best[place], value)
        return [reason or Value(value) for reason, value in zip(missing, best, strict=True)]


def _present(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """ragas' value of each (reference, answer)."""
    if not pairs:
        return []
    metric = _metric()

    async def scored() -> list[float]:
        return [float((await metric.ascore(reference=reference, response=answer)).value) for reference, answer in pairs]

    # An event loop may already run in this thread, as it does in a notebook, and asyncio refuses a second one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(scored())).result()


def _metric() -> Any:
    try:
        from ragas.metrics.collections import StringPresence as RagasStringPresence  # slow, and needed here alone
    except ImportError as error:
        raise UserError(
            "The metric 'string_presence' needs ragas, which cannot be imported.",
            str(error),
            "pip install -c constraints.txt ragas langchain-community==0.4.1",
        ) from error
    return RagasStringPresence()


PLUGIN = StringPresence()
