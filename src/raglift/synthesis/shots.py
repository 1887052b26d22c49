"""The worked examples of a kind, chosen from people's examples."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from raglift.synthesis.asking import Asking
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.kinds._base import QuestionKind, Shot
from raglift.synthesis.words import words

FEWEST = 3
_MOST = 5
_LONGEST_QUESTION = 20
"""Words; longer questions would be cut off while they are written, and dropped by the filter `form`."""
_LONG_ANSWER = 5
"""Words from which on an answer explains something, whatever the language."""
_MANNER = re.compile(r"\bwhy\b|\bhow\b(?! (?:many|much|old|long|far|often|big|large|tall|high)\b)", re.IGNORECASE)


def kinds_for(
    built_in: Mapping[str, QuestionKind], examples: HumanExamples, seed: int
) -> tuple[dict[str, QuestionKind], list[tuple[str, int]]]:
    """The question kinds by name, with people's examples in place of the built-in ones where at least 3 fit.

    Returns:
        The kinds, and for the funnel what became of the examples, by kind.
    """
    kinds = dict(built_in)
    if not examples.items:
        return kinds, []
    counts = _counted(examples)
    for name, kind in sorted(built_in.items()):
        fitting = [item for item in examples.items if fits(kind, item)]
        if len(fitting) < FEWEST:
            counts.append((f"{name}: human examples that fit, too few to replace the built-in ones", len(fitting)))
            continue
        kinds[name] = with_shots(kind, fitting, seed)
        counts.append((f"{name}: worked examples from people", len(kinds[name].shots)))
    return kinds, counts


def with_examples(asking: Asking, examples: HumanExamples, seed: int) -> tuple[Asking, list[tuple[str, int]]]:
    """What the writer is asked for, with the kinds and counts of `kinds_for`; as it is where its style shows no worked
    examples, so that none counts as shown."""
    if not asking.style.shows_examples:
        return asking, _counted(examples)
    kinds, counts = kinds_for(asking.kinds, examples, seed)
    return replace(asking, kinds=kinds), counts


def _counted(examples: HumanExamples) -> list[tuple[str, int]]:
    counts = [("human examples", len(examples.items))] if examples.items else []
    return counts + [
        (f"human examples left out: {reason}", count) for reason, count in sorted(examples.left_out.items())
    ]


def fits(kind: QuestionKind, example: HumanExample) -> bool:
    """Whether people's example is one of a kind.

    `keyword` takes what is no question. A kind with answers takes questions whose answer is short enough; of these
    `explanation` takes the ones that ask why or how and, in whatever language, those with an answer of at least 5
    words. None takes a question of more than 20 words, and a kind of another form has the built-in examples alone.
    """
    if len(words(example.question)) > _LONGEST_QUESTION:
        return False
    if kind.name == "keyword":
        return not example.asks
    if not (kind.question and kind.answer_words and example.asks):
        return False
    manner = bool(_MANNER.search(example.question))
    short = example.answer_words <= kind.answer_words
    if kind.name == "explanation":
        return short and (manner or example.answer_words >= _LONG_ANSWER)
    return short and (example.answer_words > 0 or not manner)


def with_shots(kind: QuestionKind, fitting: Sequence[HumanExample], seed: int) -> QuestionKind:
    """The kind with at most 5 of the examples, the same for the same seed: those whose answer stands in their text
    first, of as many documents as there are.

    Where fewer than 3 have such an answer, the built-in examples go on showing what an answer is.
    """
    if not kind.answer_words:
        return replace(kind, shots=tuple(Shot(item.text, item.question) for item in _diverse(fitting, seed)))
    answered = _diverse([item for item in fitting if item.answer], seed)
    rest = _diverse([item for item in fitting if not item.answer], seed)
    shots = tuple(Shot(item.text, item.question, item.answer) for item in [*answered, *rest][:_MOST])
    showing = tuple(shot for shot in shots if shot.answer)
    return replace(kind, shots=shots, answer_shots=showing if len(showing) >= FEWEST else kind.shots)


def _diverse(examples: Sequence[HumanExample], seed: int) -> list[HumanExample]:
    """At most 5 that ask differently, in a seeded order in which a second example of a document comes after the first
    of every other."""
    order = sorted(examples, key=lambda item: (item.text, item.question))
    random.Random(f"{seed}/shots").shuffle(order)
    seen: dict[str, int] = {}
    ranked = []
    for place, item in enumerate(order):
        home = item.documents[0] if item.documents else item.text
        seen[home] = seen.get(home, 0) + 1
        ranked.append((seen[home], place, item))
    chosen: dict[frozenset[str], HumanExample] = {}
    for _, _, item in sorted(ranked, key=lambda entry: entry[:2]):
        chosen.setdefault(frozenset(words(item.question)), item)
    return list(chosen.values())[:_MOST]


def is_shown(example: HumanExample, kinds: Mapping[str, QuestionKind]) -> bool:
    """Whether an example is a worked example of one of the kinds."""
    return any(
        (shot.text, shot.asked) == (example.text, example.question) for kind in kinds.values() for shot in kind.shots
    )
