"""How near an answer's meaning is to a reference's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raglift.evaluation.metrics._base import Embed, Reply, ResponseMetric, Value, references, unscored
from raglift.records import QAPair


class SemanticSimilarity(ResponseMetric):
    """The cosine between an answer and its nearest reference, in the space of a model that no arm tuned.

    A negative cosine counts as 0, for it means "unrelated" no less; a blank answer is 0 too, whatever vector the
    model gives to nothing.
    """

    name = "semantic_similarity"

    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        pairs = [(question, reply.text) for question, reply in zip(questions, replies, strict=True)]
        wanted = [
            (answer, question)
            for question, answer in pairs
            if answer and answer.strip() and unscored(question, answer) is None
        ]
        texts = {text: None for answer, question in wanted for text in (answer, *references(question))}
        rows = _rows(list(texts), embed)
        return [_value(question, answer, rows) for question, answer in pairs]


def _rows(texts: list[str], embed: Embed) -> dict[str, np.ndarray]:
    """Each text's vector of shape (d,)."""
    if not texts:
        return {}
    vectors = np.asarray(embed(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(f"embed gave shape {vectors.shape} for {len(texts)} texts")
    return dict(zip(texts, vectors, strict=True))


def _value(question: QAPair, answer: str | None, rows: dict[str, np.ndarray]) -> Value:
    missing = unscored(question, answer)
    if missing is not None:
        return missing
    if answer is None or not answer.strip():
        return Value(0.0)
    cosine = max(float(rows[answer] @ rows[reference]) for reference in references(question))
    return Value(min(max(cosine, 0.0), 1.0)) if np.isfinite(cosine) else Value(None, "the vector is not finite")


PLUGIN = SemanticSimilarity()
