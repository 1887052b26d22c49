"""How easy an answer is to read."""

from __future__ import annotations

import re

from raglift.evaluation.metrics._base import AnswerMetric, Value
from raglift.evaluation.reasons import NO_WORD
from raglift.evaluation.scale import Scale
from raglift.records import QAPair

_WORD = re.compile(r"[A-Za-z]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][A-Za-z]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
_VOWELS = re.compile(r"[aeiouy]+")
# An e that is not spoken: the last ("make"), unless an l after a consonant carries it ("table"), that of "-es" except
# after a hiss ("names", but "choices"), of "-ed" except after t and d ("jumped", but "wanted"), before an ending.
_SILENT = re.compile(
    r"(?<=[^aeiouy])(?<![^aeiouy]l)e$|(?<=[^aeiouycgsxz])(?<![^aeiouy]l)(?<!ch|sh)es$|(?<=[^aeiouytd])ed$"
    r"|(?<=[gq])ues?$|(?<=[^aeiouyl])e(?=(?:ly|ful|less|ments?|ty)$)|(?<=som)e(?=t)"
)
# Vowels that stand together and are spoken apart, and those that look so and are not, after the rules of Perl's
# Lingua::EN::Syllable (Fast 1999).
_APART = re.compile(
    r"i[aou]|rie[tn]|[dl]ien|scie|yee|quie|diet|iet[iy]|ea$|[rn]eat|[sn]eu|eo|ua[lt]|uou|(?:ee|o|e)ing|ii|uee|[hs]m$"
)
_TOGETHER = re.compile(r"[cstgx]i[ao](?![t])|[cstgxn]iou|[cgnst]ion|llion|qua[lt]|eop|eou|eye")


class Readability(AnswerMetric):
    """Flesch's reading ease: 206.835 - 0.846 (syllables in 100 words) - 1.015 (words a sentence).

    Flesch 1948, "A New Readability Yardstick". 0 is practically unreadable, 100 easy for any literate person, 60 to 70
    plain English; values beyond are cut off. English alone: other words are not counted, and syllables by the groups of
    vowels of their spelling, which is right for about nine words in ten. It says little of answers of a few words.
    """

    name = "readability"
    scale = Scale(0.0, 100.0)

    def value(self, question: QAPair, answer: str) -> float | Value:
        words = _WORD.findall(answer)
        if not words:
            return Value(None, NO_WORD)
        sentences = sum(bool(_WORD.search(part)) for part in _SENTENCE_END.split(answer))
        ease = reading_ease(sum(map(syllables, words)) / len(words), len(words) / sentences)
        return min(max(ease, self.scale.low), self.scale.high)


def reading_ease(syllables_a_word: float, words_a_sentence: float) -> float:
    """Flesch's formula."""
    return 206.835 - 84.6 * syllables_a_word - 1.015 * words_a_sentence


def syllables(word: str) -> int:
    """About how many syllables an English word has, at least one."""
    spelt = _SILENT.sub("", re.sub("[^a-z]", "", word.lower()))
    return max(1, len(_VOWELS.findall(spelt)) + len(_APART.findall(spelt)) - len(_TOGETHER.findall(spelt)))


PLUGIN = Readability()
