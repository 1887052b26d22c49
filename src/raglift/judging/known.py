"""A run's questions as items: those with a right answer, which a judge is tested on, and the arms' answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from raglift.judging.items import Item
from raglift.judging.wrong import phrased
from raglift.records import Answered, Chunk, QAPair
from raglift.synthesis.words import holds


def known_items(questions: Sequence[QAPair], chunks: Sequence[Chunk], seed: int) -> list[Item]:
    """Each question that has a reference answer, answered rightly in other words from its own evidence.

    Where the evidence is a whole document, its chunks that hold the first reference stand for it; without any the item
    has no passages, and tests no question about passages.

    Args:
        chunks: Of the corpus.
        seed: Draws the other words.
    """
    by_id = {chunk.id: chunk.text for chunk in chunks}
    of_document: dict[str, list[str]] = {}
    for chunk in chunks:
        of_document.setdefault(chunk.document_id, []).append(chunk.text)
    found = []
    for question in questions:
        references = tuple(text for text in question.answers if text.strip())
        if not question.answerable or not references:
            continue
        passages: dict[str, None] = {}
        for each in question.evidence:
            if each.chunk_id is None:
                passages |= dict.fromkeys(t for t in of_document.get(each.document_id, ()) if holds(t, references[0]))
            elif each.chunk_id in by_id:
                passages[by_id[each.chunk_id]] = None
        contexts = tuple(passages)
        answer = phrased(references, contexts[0] if contexts else "", random.Random(f"{seed}/{question.id}"))
        document = question.evidence[0].document_id if question.evidence else ""
        found.append(Item(question.id, question.question, answer, references, contexts, document=document))
    return found


def arm_items(
    questions: Sequence[QAPair], answered: Sequence[Answered], most: int | None, seed: int
) -> dict[str, list[Item]]:
    """Arm -> what it answered, on the same questions for all arms; without the arms that only rank.

    Args:
        answered: Of one question set.
        most: Questions at most, drawn with `seed`.
    """
    by_arm: dict[str, dict[str, Answered]] = {}
    for each in answered:
        by_arm.setdefault(each.arm, {})[each.qa_id] = each
    writing = {arm: found for arm, found in by_arm.items() if any(each.answer is not None for each in found.values())}
    ids = {qa_id for found in writing.values() for qa_id, each in found.items() if each.answer is not None}
    asked = [question for question in questions if question.id in ids]
    if most is not None and len(asked) > most:
        drawn = set(random.Random(f"{seed}/judged").sample(range(len(asked)), most))
        asked = [question for place, question in enumerate(asked) if place in drawn]
    return {arm: [_item(question, found.get(question.id)) for question in asked] for arm, found in writing.items()}


def _item(question: QAPair, answered: Answered | None) -> Item:
    references = tuple(text for text in question.answers if text.strip()) if question.answerable else ()
    document = question.evidence[0].document_id if question.evidence else ""
    answer, contexts = (answered.answer, answered.contexts) if answered is not None else (None, ())
    return Item(question.id, question.question, answer, references, contexts, document=document)


def beside(items: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """The items, each with the answer that another arm gave to the same question."""
    answers = {other.id: other.answer for other in others}
    return [replace(item, other=answers.get(item.id)) for item in items]
