"""Which questions are accepted, and the record of each that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from raglift.config import SynthesisConfig
from raglift.corpus.evidence import Locator
from raglift.corpus.stage import Corpus
from raglift.records import Evidence, QAPair, content_id
from raglift.synthesis.candidate import Accepted, Candidate, QuestionFilter
from raglift.synthesis.filters._load import load_filters
from raglift.synthesis.human_examples import HumanExamples
from raglift.synthesis.kinds._base import Draft, QuestionKind
from raglift.synthesis.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Rules:
    """What a question has to pass: it repeats no example, then the check of its kind, then every filter.

    Attributes:
        known: Whether a word stands in any document of the corpus, in whatever inflection.
        examples: People's questions, which count as asked before.
    """

    filters: Sequence[QuestionFilter]
    known: Callable[[str], bool]
    examples: HumanExamples

    def fits(self, kind: QuestionKind, parts: Sequence[tuple[str, str]], question: str) -> bool:
        """Whether a question about these texts, each with its chunk's id, would pass as far as can be said before it
        has an answer and a rank."""
        unanswered, text = replace(kind, answer_words=0), " ".join(text for _, text in parts)
        several = tuple(parts) if len(parts) > 1 else ()
        candidate = Candidate(parts[0][0], text, unanswered, "train", question, "", 1, text, parts=several)
        return self.reason(candidate, Accepted()) is None

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Why the candidate is dropped, by the first rule that it breaks, or None if it may stay."""
        if self.examples.repeats(candidate.question):
            return "repeats an example"
        draft = Draft(candidate.question, tuple(text for _, text in candidate.sources), self.known)
        return candidate.kind.check(draft) or next(
            (why for item in self.filters if (why := item.reason(candidate, accepted))), None
        )


def rules_of(settings: SynthesisConfig, corpus: Corpus, examples: HumanExamples) -> Rules:
    """The run's rules."""
    vocabulary = Vocabulary(lambda: (document.text for document in corpus.documents))
    return Rules(load_filters(settings.filters, settings.blocked_words), vocabulary.knows, examples)


def accept(
    candidates: Sequence[Candidate], rules: Rules, corpus: Corpus, advance: Callable[[int], None]
) -> tuple[list[QAPair], Counter[str]]:
    """The records of the candidates that pass, in their order, and how many are dropped, by kind and reason."""
    locator = Locator(corpus.documents, corpus.chunks)
    accepted = Accepted(list(rules.examples.asked))
    dropped: Counter[str] = Counter()
    pairs: dict[str, QAPair] = {}
    for candidate in candidates:
        advance(1)
        reason = rules.reason(candidate, accepted)
        pair = _pair(candidate, locator) if reason is None else None
        if pair is None or pair.id in pairs:  # two records of one id would be one question to everything after
            dropped[f"{candidate.kind.name} dropped: {reason or 'asked before'}"] += 1
            continue
        accepted.remember(candidate.question)
        pairs[pair.id] = pair
    return list(pairs.values()), dropped


def _pair(candidate: Candidate, locator: Locator) -> QAPair:
    """The record; the evidence of its own chunks comes first, in the order of its texts."""
    answers = (candidate.answer,) if candidate.answer else ()
    identity = content_id(candidate.question, candidate.answer, candidate.chunk_id, candidate.kind.name)
    return QAPair(
        identity,
        candidate.question,
        answers,
        _evidence(candidate, locator) if candidate.kind.answerable else (),
        candidate.kind.name,
        candidate.split,
        "synthetic",
        candidate.kind.answerable,
        scores={"rank": float(candidate.rank)},
    )


def _evidence(candidate: Candidate, locator: Locator) -> tuple[Evidence, ...]:
    own: list[Evidence] = []
    others: list[Evidence] = []
    for chunk_id, text in candidate.sources:
        found = sorted(locator.find(text), key=lambda item: item.chunk_id != chunk_id)
        own += found[:1]
        others += found[1:]
    return tuple(dict.fromkeys(own + others))
