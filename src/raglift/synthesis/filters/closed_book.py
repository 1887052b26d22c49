"""Questions that are answered without their passage."""

from __future__ import annotations

from raglift.evaluation.metrics.exact_match import normalize_answer
from raglift.evaluation.metrics.token_f1 import PLUGIN as TOKEN_F1
from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words

_SAME = 0.75
"""Of 320 questions that people wrote (XQuAD), SmolLM2-135M-Instruct's guesses reach it for 9, rightly so; from
0.5 to there are 11 more, of which 3 are right ("Mahatma Gandhi") and 8 wrong ("World War I" for "World War II")."""
_BY_CHANCE = frozenset(
    words(
        "yes no true false none null nothing both neither all always never sometimes zero one two three four five six "
        "seven eight nine ten once twice first second third last"
    )
)


def agrees(guess: str, answer: str, question: str = "") -> bool:
    """Whether a guess says what the answer says, and more than the question did.

    Either both are equal after SQuAD's normalisation, or they share words with a token F1 of at least 0.75; that is
    two words of three and no other, or three of four with one other. The same must hold without the words of the
    question: a writer that knows nothing repeats them. Numbers must be the same, since "every 4 years" is not "every 5
    years". An answer of symbols alone, such as `<=`, is compared as it stands. Where words are not separated by spaces,
    only equal texts agree.
    """
    if not normalize_answer(answer):
        return guess.strip() == answer.strip() != "" and answer.strip() not in question
    if _numbers(guess) != _numbers(answer):
        return False
    asked = frozenset(normalize_answer(question).split())
    return all(
        TOKEN_F1.compare(_without(gone, guess), _without(gone, answer)) >= _SAME for gone in (frozenset(), asked)
    )


def _numbers(text: str) -> list[str]:
    return sorted(word for word in normalize_answer(text).split() if any(map(str.isdigit, word)))


def _without(gone: frozenset[str], text: str) -> str:
    return " ".join(word for word in normalize_answer(text).split() if word not in gone)


def is_by_chance(answer: str) -> bool:
    """Whether a guess that knows nothing often hits this answer: yes, no, a truth value, a small number.

    The words are English; single digits and letters count in every language.
    """
    said = words(answer)
    return len(said) == 1 and (said[0] in _BY_CHANCE or (len(said[0]) == 1 and said[0].isascii()))


class ClosedBook:
    """Drops a question whose answer the writer gives when it is shown the question alone.

    Such a question trains nothing about the documents, and tests nothing of the retrieval. `Candidate.guess` is what
    the writer said; a question that was not asked (without an answer, or dropped by another filter) passes.

    An answer that is hit by chance (`is_by_chance`) is never held against its question: one agreement says nothing
    of what the writer knows, and dropping the lucky ones would leave the questions whose right answer is the one that
    the writer does not default to, a test that is wrong in one direction. Nor does the filter compare guesses between
    questions: a default such as "a string" that is right is dropped, as a model that is asked later has it too.

    References:
        Roberts et al. 2020, "How Much Knowledge Can You Pack Into the Parameters of a Language Model?" (closed-book
        question answering).
        Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (exact match, token F1).
    """

    name = "closed_book"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """The writer's guess agrees with the answer, which is not one that anybody hits."""
        if candidate.guess is None or not candidate.answer or is_by_chance(candidate.answer):
            return None
        return "answered without its passage" if agrees(candidate.guess, candidate.answer, candidate.question) else None


PLUGIN = ClosedBook()
