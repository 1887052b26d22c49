"""A question for a reason, a way or a consequence."""

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
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "Why does freezing water break stones?",
            "water expands by about nine percent when it freezes",
        ),
        Shot(
            "To change the address, send form 12 with a copy of the rental contract to the registry office.",
            "How can I have my address changed?",
            "send form 12 with a copy of the rental contract to the registry office",
        ),
        Shot(
            "When two rules match the same request, the one with the longer path is applied.",
            "How is it decided which of two fitting rules counts?",
            "the one with the longer path is applied",
        ),
        Shot(
            "The council rejected the plan, since the bridge would have blocked the view of the castle.",
            "Why did the council not agree to the bridge?",
            "the bridge would have blocked the view of the castle",
        ),
    ),
    answer_words=16,
)
