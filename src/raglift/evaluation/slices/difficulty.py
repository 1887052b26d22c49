"""How hard it is to find the evidence, by words alone."""

from __future__ import annotations

from raglift.evaluation.arms import Arm
from raglift.evaluation.judgements import Passage, grades, units
from raglift.evaluation.slices._base import NO_EVIDENCE, Dimension, Facts
from raglift.records import QAPair

EASY, MIDDLE, HARD = "easy: first for BM25", "middle: 2nd to 10th for BM25", "hard: not in BM25's first 10"
_TEN = 10


class Difficulty(Dimension):
    """Where BM25, which is not trained and has no vectors, ranks the first right passage.

    The base's own score would be the obvious measure, and a wrong one: the gain over the base holds that score with a
    minus sign, so that its low questions gain and its high ones lose by chance alone (see `Dimension`). BM25 is
    another system, whose luck with a question is in neither score. For arms that have BM25 in them it is not another
    one, and they are not cut by it; `wording` is for all. Of whole documents, each ranks where its best passage does
    among the 20 passages that an evaluation keeps.
    """

    name = "difficulty"
    about = "rank of the first right passage by words alone"

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        if facts.words_alone is None:
            return {}
        return {question.id: _slice(question, facts) for question in facts.questions}

    def not_for(self, arm: Arm) -> str:
        """See `Dimension`."""
        return "BM25 is a part of the arm" if arm.retrieval in ("bm25", "hybrid") else ""


def _slice(question: QAPair, facts: Facts) -> str:
    relevant = {unit for unit, grade in grades(question).items() if grade > 0}
    if not relevant:
        return NO_EVIDENCE
    found = (facts.words_alone or {}).get(question.id, ())
    passages = [Passage(name, facts.chunks[name].document_id) for name in found if name in facts.chunks]
    ranked = list(dict.fromkeys(units(question, passages)))  # a document ranks where its best passage does
    rank = next((place for place, unit in enumerate(ranked, 1) if unit in relevant), _TEN + 1)
    return EASY if rank == 1 else MIDDLE if rank <= _TEN else HARD


PLUGIN = Difficulty()
