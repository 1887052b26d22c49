"""A statement that the text supports, as somebody would put it who looks for what backs it; there is no answer.

Valid: a statement of at least four words on the text's subject, whose numbers and names all stand in the text and that
does not deny where the text does not, nor affirm what it denies. Whether the text really bears it out takes a reader.

References:
    Wadden et al. 2020, "Fact or Fiction: Verifying Scientific Claims" (SciFact).
"""

from __future__ import annotations

import re

from raglift.synthesis.kinds._base import Draft, QuestionKind, Shot
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.words import words

_DENIALS = frozenset(("not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "cannot", "without"))
_ASKING = frozenset(("what", "how", "why", "which", "whose", "whom"))
"""Words that begin a half question and hardly ever a statement."""
_WORD = re.compile(r"(?<=\s)[^\W\d_][\w-]*")


def check(draft: Draft) -> str | None:
    """No statement, off its text, a number or name of its own, or the opposite of what the text says."""
    (text,) = draft.texts
    said, told = words(draft.question), words(text)
    if len(said) < 4 or said[0] in _ASKING or draft.question.rstrip().endswith(("?", ":")):
        return "not a statement"
    if not content_stems(draft.question) & content_stems(text):
        return "shares nothing with its text"
    numbers = {word for word in said if any(character.isdigit() for character in word)}
    names = set(words(" ".join(word for word in _WORD.findall(draft.question) if word[0].isupper())))
    if not numbers | names <= set(told):
        return "names what its text does not"
    if _denies(draft.question, said) != _denies(text, told):
        return "may contradict its text"
    return None


def _denies(text: str, said: list[str]) -> bool:
    return bool(_DENIALS & set(said)) or re.search("n['\u2019]t\\b", text) is not None


PLUGIN = QuestionKind(
    name="claim",
    task="After each text stands one short statement that the text shows to be true, in other words than the text's.",
    label="Claim",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.",
            "Goods once reached land on small boats with a flat bottom.",
            about="How goods used to be landed, for somebody who wants to back what is said of it.",
        ),
        Shot(
            "Mice that were kept in the cold for three weeks gained less weight on the same food.",
            "Animals in a cold room put on less fat than others that eat as much.",
            about="What cold does to body weight, for somebody who looks for evidence of it.",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "Who cancels late gets back about half of the price.",
            about="What a late cancellation costs, for a traveller who wants to rely on it.",
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "Ice takes up more room than the water it was made of.",
            about="What freezing does to water, for a pupil who has to show it.",
        ),
        Shot(
            "The option --quiet is not accepted unless --batch is given too.",
            "Nobody can ask for --quiet without --batch as well.",
            about="What the option needs, for somebody who wants to be sure before writing a script.",
        ),
    ),
    question=False,
    description=(
        "Write one claim that the text below shows to be true. A good claim is a short statement of one fact, in other "
        "words than the text's, that can be understood and checked by somebody who has not seen the text. It names "
        "nothing and no number that the text does not name, and it is not a question."
    ),
    check=check,
)
