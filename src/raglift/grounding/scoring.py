"""How much of each answer the passages that it was given support."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from raglift.abstention import abstains
from raglift.evaluation.reasons import NO_PASSAGE_SHOWN
from raglift.grounding.checker import SupportChecker
from raglift.grounding.lexical import overlap
from raglift.grounding.statements import statement
from raglift.records import Answered, Score
from raglift.synthesis.evidence import sentences
from raglift.synthesis.words import words

METRIC = "support"
ABSTAINED = "it says that the documents do not say"
_LONG = 80
"""Characters from which on an answer is looked at sentence by sentence."""


def claims_in(question: str, answer: str) -> list[str]:
    """What an answer claims: each of its sentences, or where it is short the answer together with its question.

    A sentence without a word that says something claims nothing, nor does one that the documents do not say.
    """
    if len(answer) < _LONG:
        return [statement(question, answer)] if _says(answer) else []
    own = [" ".join(sentence.split()) for sentence in sentences(answer)]
    return [sentence for sentence in own if _says(sentence) and not abstains(sentence)]


def _says(text: str) -> bool:
    return bool(words(text)) and overlap(text, "").says


def score_support(
    answered: Sequence[Answered],
    questions: Mapping[str, str],
    checker: SupportChecker,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """The share of each answer's claims that some passage of its own supports; None, with the reason, of no claim.

    Args:
        questions: Id -> question.
        advance: Told how many more answers are scored.
    """
    claims = [_claims(item, questions[item.qa_id]) for item in answered]
    pairs = [
        (claim, passage)
        for item, own in zip(answered, claims, strict=True)
        for claim in own
        for passage in item.contexts
    ]
    found = iter(checker.probabilities(pairs).tolist())
    scores = []
    for item, own in zip(answered, claims, strict=True):
        best = [max(next(found) for _ in item.contexts) for _ in own]
        value = float(np.mean([probability >= 0.5 for probability in best])) if best else None
        scores.append(Score(METRIC, item.qa_id, item.arm, value, "" if best else _why(item)))
        advance(1)
    return scores


def _claims(item: Answered, question: str) -> list[str]:
    if not item.answer or not item.contexts or abstains(item.answer):
        return []
    return claims_in(question, item.answer)


def _why(item: Answered) -> str:
    return NO_PASSAGE_SHOWN if item.answer and not item.contexts else ABSTAINED
