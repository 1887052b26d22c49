"""A passage as claims are held against it: its sentences and their words, taken apart once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from raglift.grounding.spans import negations
from raglift.synthesis.evidence import sentences
from raglift.synthesis.vocabulary import content_stems, stem
from raglift.synthesis.words import words


def stems(text: str) -> list[str]:
    """Its words in order, inflections of a word alike."""
    return [stem(word) for word in words(text)]


@dataclass(frozen=True)
class Sentence:
    """One of them.

    Attributes:
        words: As `stems` gives them.
        content: Stems of the words that say something.
        denies: Whether it says no an odd number of times.
    """

    text: str
    words: tuple[str, ...]
    content: frozenset[str]
    denies: bool


@dataclass(frozen=True)
class Passage:
    """A passage; `sentences` has one at least."""

    text: str
    sentences: tuple[Sentence, ...]

    @cached_property
    def content(self) -> frozenset[str]:
        """Of all sentences."""
        return frozenset().union(*(sentence.content for sentence in self.sentences))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Of all sentences, in order."""
        return tuple(word for sentence in self.sentences for word in sentence.words)

    @cached_property
    def sentence_of(self) -> tuple[int, ...]:
        """Of each word, the number of its sentence."""
        return tuple(number for number, sentence in enumerate(self.sentences) for _ in sentence.words)

    def nearest(self, claim: str) -> Sentence:
        """The sentence that shares most words that say something with a claim, and then most words."""
        said, all_said = content_stems(claim), set(stems(claim))
        return max(self.sentences, key=lambda each: (len(said & each.content), len(all_said.intersection(each.words))))

    def excerpt(self, claim: str) -> str:
        """The two sentences that share most words that say something with a claim, in their order."""
        said = content_stems(claim)
        order = sorted(
            range(len(self.sentences)), key=lambda number: (-len(said & self.sentences[number].content), number)
        )
        return " ".join(" ".join(self.sentences[number].text.split()) for number in sorted(order[:2]))


@lru_cache(maxsize=4096)
def read(text: str) -> Passage:
    """The passage taken apart."""
    parts = sentences(text) or [text]
    return Passage(
        text,
        tuple(
            Sentence(part, tuple(stems(part)), frozenset(content_stems(part)), negations(part) % 2 == 1)
            for part in parts
        ),
    )
