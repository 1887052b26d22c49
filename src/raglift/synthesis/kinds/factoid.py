"""A question with a short answer that stands in the text."""

from __future__ import annotations

from raglift.synthesis.kinds._base import QuestionKind, Shot

PLUGIN = QuestionKind(
    name="factoid",
    task="After each text stands a question about one fact in it, in the asker's own words.",
    label="Question",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.",
            "How did goods get to land in earlier days?",
            "in flat boats called lighters",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "What share of the price do I get back if I cancel late?",
            "50 percent",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "Which valve is shut when the pressure gets too low?",
            "valve B",
        ),
        Shot(
            "Queen Margaret founded the abbey of Saint Anne in 1214 after the siege had ended.",
            "In which year was the abbey of Saint Anne started?",
            "1214",
        ),
        Shot(
            "The option --quiet is only accepted together with --batch; used alone it raises a ConfigError.",
            "Which error do I get when --quiet is given on its own?",
            "a ConfigError",
        ),
    ),
    answer_words=8,
)
