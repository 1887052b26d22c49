"""A question with a short answer that stands in the text.

Valid: the filters `form` and `answer_in_evidence` see to it, and a local writer can only copy its answer.
"""

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
            about="How goods used to be landed, for somebody who is curious about the old harbour.",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "What share of the price do I get back if I cancel late?",
            "50 percent",
            about="What a late cancellation costs, for a traveller who may have to stay at home.",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "Which valve is shut when the pressure gets too low?",
            "valve B",
            about="Which valve reacts to low pressure, for a technician at the machine.",
        ),
        Shot(
            "Queen Margaret founded the abbey of Saint Anne in 1214 after the siege had ended.",
            "In which year was the abbey of Saint Anne started?",
            "1214",
            about="When the abbey began, for a visitor who wants to know its age.",
        ),
        Shot(
            "The option --quiet is only accepted together with --batch; used alone it raises a ConfigError.",
            "Which error do I get when --quiet is given on its own?",
            "a ConfigError",
            about="What goes wrong with the option, for somebody who met the error.",
        ),
    ),
    answer_words=8,
    description=(
        "Write one question about a single fact in the text below. A good question is what somebody might ask who has "
        "not seen the text: it is in the asker's own words, names what it is about, has a short answer that stands in "
        "the text word for word, does not give it away, and ends with a question mark."
    ),
)
