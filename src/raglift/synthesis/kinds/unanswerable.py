"""A question on the subject of a text that no document of the corpus answers: the right reaction is to abstain.

Valid: it shares a word with the text, and asks with at least one word, name or number that stands in no document, in
whatever inflection. That is a rule about words: a synonym of what stands there can pass it.

It has no evidence and makes no retrieval pair; it trains and tests abstention (Rajpurkar et al. 2018, "Know What You
Don't Know: Unanswerable Questions for SQuAD").
"""

from __future__ import annotations

from raglift.synthesis.kinds._base import Draft, QuestionKind, Shot
from raglift.synthesis.vocabulary import content_stems, content_words


def check(draft: Draft) -> str | None:
    """Off its subject, or asked in the corpus's own words alone."""
    if not content_stems(draft.question) & content_stems(draft.texts[0]):
        return "shares nothing with its text"
    if all(draft.known(word) for word in content_words(draft.question)):
        return "may be answered by the documents"
    return None


PLUGIN = QuestionKind(
    name="unanswerable",
    task="After each text stands a question on the same subject that names something else, and that the text cannot "
    "answer.",
    label="Question",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.",
            "What wages were paid to the crews of the flat boats in Rotterdam?",
            about="What the men on the boats earned, which a historian would ask and the text does not say.",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "Does a travel insurance from Zurich pay the administration fee?",
            about="Who else may bear the fee, which a traveller would ask and the text does not say.",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "Which supplier sells spare gaskets for valve B?",
            about="Where parts are to be had, which a mechanic would ask and the text does not say.",
        ),
        Shot(
            "Queen Margaret founded the abbey of Saint Anne in 1214 after the siege had ended.",
            "Which architect drew the windows of the abbey of Saint Anne?",
            about="Who drew the windows, which a visitor would ask and the text does not say.",
        ),
        Shot(
            "The option --quiet is only accepted together with --batch; used alone it raises a ConfigError.",
            "Can --quiet be set in a Kubernetes manifest?",
            about="Another place for the option, which an operator would ask and the text does not say.",
        ),
    ),
    description=(
        "Write one question that somebody who is interested in the subject of the text below might well ask, but that "
        "the text does not answer. A good question names a person, place, product or number that does not occur in "
        "the text, can be understood without it, and ends with a question mark."
    ),
    answerable=False,
    check=check,
)
