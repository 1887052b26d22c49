"""A question for a reason, a way or a consequence.

Valid: the filters `form` and `answer_in_evidence` see to it, and a local writer can only copy its answer.
"""

from __future__ import annotations

from raglift.synthesis.kinds._base import QuestionKind, Shot

PLUGIN = QuestionKind(
    name="explanation",
    task="After each text stands a question that asks how, why or what happens, in the asker's own words.",
    label="Question",
    shots=(
        Shot(
            "A worker that raises an exception is removed from the pool and its task is retried by another one.",
            "What happens to a job when the worker that runs it fails?",
            "its task is retried by another one",
            about="What becomes of a failed job, for a programmer who relies on the pool.",
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "Why does freezing water break stones?",
            "water expands by about nine percent when it freezes",
            about="What frost does to rock and why, for a pupil who wonders about broken stones.",
        ),
        Shot(
            "To change the address, send form 12 with a copy of the rental contract to the registry office.",
            "How can I have my address changed?",
            "send form 12 with a copy of the rental contract to the registry office",
            about="How an address is changed, for somebody who has moved.",
        ),
        Shot(
            "When two rules match the same request, the one with the longer path is applied.",
            "How is it decided which of two fitting rules counts?",
            "the one with the longer path is applied",
            about="Which of two rules wins, for somebody whose rules overlap.",
        ),
        Shot(
            "The council rejected the plan, since the bridge would have blocked the view of the castle.",
            "Why did the council not agree to the bridge?",
            "the bridge would have blocked the view of the castle",
            about="What spoke against the bridge, for a citizen who had hoped for it.",
        ),
    ),
    answer_words=16,
    description=(
        "Write one question that asks how, why or what happens, and that the text below answers. A good question is "
        "what somebody might ask who has not seen the text: it is in the asker's own words, names what it is about, "
        "has an answer that stands in the text word for word, and ends with a question mark."
    ),
)
