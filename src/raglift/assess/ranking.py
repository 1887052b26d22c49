"""What an engine retrieved as rankings of the question set's own passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raglift.assess.judged import Judged
from raglift.assess.matching import Matcher, own_name
from raglift.assess.replies import Arm, Reply
from raglift.evaluation import judgements
from raglift.progress import Progress
from raglift.records import Answered, QAPair

UNMATCHED = "no retrieved passage could be told to be one of the question set's"


def rank_arms(judged: Judged, arms: Sequence[Arm], display: Progress) -> list[Ranked]:
    """What each arm retrieved, told by the question set; one an arm, in their order."""
    matcher = Matcher(judged)  # without ids that fit, every passage is looked for in every document
    with display.stage("matching passages", len(arms) * len(judged.questions), "questions") as bar:
        return [Ranked(judged, arm, matcher, bar.advance) for arm in arms]


class Ranked:
    """One arm's passages under the ids of the question set.

    Attributes:
        rankings: Question id -> (chunk or document id, score), best first.
        homes: Every id in them -> its document.
        shown: Question id -> what the answer was written from, in its order, for metrics of citations.
        strange: Whether there are passages and not one is known.
    """

    def __init__(self, judged: Judged, arm: Arm, matcher: Matcher, advance: Callable[[int], None]) -> None:
        self.rankings: dict[str, list[tuple[str, float]]] = {}
        self.homes: dict[str, str] = dict(judged.chunks)
        self.shown: dict[str, list[judgements.Passage]] = {}
        self._arm, self._judged = arm, judged
        self._passages = self._known = 0
        for question in judged.questions:
            reply = arm.replies.get(question.id)
            if reply is not None and reply.passages is not None:
                self.rankings[question.id] = self._ranking(question, reply, matcher)
            advance(1)
        self.strange = self._passages > 0 and self._known == 0

    def _ranking(self, question: QAPair, reply: Reply, matcher: Matcher) -> list[tuple[str, float]]:
        ranking: dict[str, float] = {}
        for passage in reply.passages or ():
            match = matcher.match(passage, question)
            self._passages += 1
            self._known += match.known
            first = match.units[0]
            self.shown.setdefault(question.id, []).append(judgements.Passage(first, self.homes.get(first, first)))
            new = [unit for unit in match.units if unit not in ranking]
            if not new and match.units[0] not in passage.names:
                new = [own_name(passage)]  # it brings the same evidence once more, and takes a rank
            for unit in new:
                ranking.setdefault(unit, 0.0 if passage.score is None else passage.score)
                self.homes.setdefault(unit, unit)
        return list(ranking.items())

    def warn(self, display: Progress) -> None:
        """Say where passages could not be told."""
        unknown = self._passages - self._known
        if self.strange:
            display.warn(
                f"{self._arm.name}: {UNMATCHED}, so that its rankings have no score. Give its nodes the ids of the "
                "set's documents (or file names as metadata), or questions with quotes."
            )
        elif unknown and self._judged.texts:
            display.warn(
                f"{self._arm.name}: {unknown} of {self._passages} passages are of none of the set's documents."
            )

    def answered(self) -> list[Answered]:
        """The arm's records, in the order of the questions; none for those that have no reply."""
        found = []
        for question in self._judged.questions:
            reply = self._arm.replies.get(question.id)
            if reply is not None and not reply.failure:
                contexts = tuple(passage.text for passage in reply.passages or ())
                ranking = tuple(self.rankings.get(question.id, ()))
                seconds = reply.seconds or 0.0
                told = (reply.answer, seconds, reply.tokens_in, reply.tokens_out)
                found.append(Answered(question.id, self._arm.name, ranking, contexts, *told))
        return found
