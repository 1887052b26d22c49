"""A question about what two texts of different passages share or how they differ; it takes both to answer it.

Valid: it shares a word that says something with each of the two. There is no answer to copy, since it stands in neither
text. Both passages are its evidence and right for it.
"""

from __future__ import annotations

from raglift.synthesis.kinds._base import Draft, QuestionKind, Shot, two_texts
from raglift.synthesis.vocabulary import content_stems


def check(draft: Draft) -> str | None:
    """One of the texts has no part in it."""
    asked = content_stems(draft.question)
    return None if all(asked & content_stems(text) for text in draft.texts) else "is about one of its texts at most"


PLUGIN = QuestionKind(
    name="comparison",
    task="After each two texts stands a question that can only be answered from both: how they differ, or what they "
    "have in common.",
    label="Question",
    shots=(
        Shot(
            two_texts(
                "Cancellations up to 14 days before departure are free of charge.",
                "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            ),
            "How does the refund of an early cancellation differ from that of a late one?",
            about="What cancelling early and late costs, for a traveller who has to choose when to decide.",
        ),
        Shot(
            two_texts(
                "Before then, cargo was carried ashore in flat boats called lighters.",
                "From 1890 on, ships lay at the new pier, where cranes lifted the cargo straight into railway wagons.",
            ),
            "How did the unloading of cargo change once the pier was there?",
            about="How goods were landed before and after, for somebody who writes about the harbour.",
        ),
        Shot(
            two_texts(
                "The red kite builds its nest in tall oaks at the edge of open fields.",
                "The goshawk nests in old spruces, far from any path.",
            ),
            "Do the red kite and the goshawk choose the same trees for their nests?",
            about="Where the two birds breed, for somebody who wants to tell their nests apart.",
        ),
        Shot(
            two_texts(
                "A worker that raises an exception is removed from the pool and its task is retried by another one.",
                "A task that takes longer than its limit is stopped and reported as failed.",
            ),
            "Is a task that runs out of time treated like one whose worker raises an exception?",
            about="What becomes of failed and of slow jobs, for a programmer who has to handle both.",
        ),
        Shot(
            two_texts(
                "Form 12 asks for a copy of the rental contract.",
                "Form 15 has to be sent with a copy of the rental contract and a photograph.",
            ),
            "Which papers do form 12 and form 15 both ask for?",
            about="What the two forms need, for somebody who has to send both.",
        ),
    ),
    description=(
        "Write one question that can only be answered by somebody who has read both texts below: how the two things "
        "they are about differ, or what they have in common. A good question names both things, in the asker's own "
        "words, so that it can be understood without the texts, asks for one comparison, and ends with a question mark."
    ),
    texts=2,
    check=check,
)
