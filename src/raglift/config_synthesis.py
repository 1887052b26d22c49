"""The part of the run's schema that says how questions are written."""

from __future__ import annotations

from pydantic import Field, model_validator

from raglift.config_fields import (
    Count,
    Name,
    NotNegative,
    PathName,
    Positive,
    PromptStyle,
    QuestionFilter,
    QuestionKind,
    Section,
    Weight,
    wrong,
)
from raglift.config_writer import WriterConfig

_DRAWN_AT = 0.7
_DRAWN = 4


class SynthesisConfig(Section):
    """How questions and answers are written from the passages."""

    model: Name = "SmolLM2-135M-Instruct"
    """The local language model that writes them: a known name or a folder."""
    writer: WriterConfig | None = None
    """A remote or passed language model that writes them instead; null: `model` writes, and no network is used."""
    examples: PathName | None = None
    """People's examples, which replace the built-in ones that the writer is shown: "dev" for the human questions of the
    development split, or a JSON Lines file of text, question, answer and document; null: the built-in ones."""
    tune_writer: bool = False
    """Whether `model` is tuned on the examples before it writes; needs at least 64 of them."""
    kinds: dict[QuestionKind, Weight] = Field(
        default={"factoid": 2.0, "explanation": 2.0, "keyword": 1.0}, min_length=1
    )
    """Question kind -> its weight in the mixture."""
    style: PromptStyle = "few_shot"
    """How the writer is asked: with "few_shot" examples, with a "walkthrough" of each, or with a "descriptive" text."""
    questions_per_chunk: Positive = 1.0
    """Questions attempted for one passage, on average."""
    max_questions: Count | None = None
    """Most questions attempted in all; null: no limit."""
    filters: list[QuestionFilter] | None = None
    """Filters that a question must pass; null: all of them."""
    blocked_words: list[Name] = Field(default=[])
    """Words and phrases, in any language, that the toxicity filter looks for beside its own."""
    batch_size: Count = 64
    """Questions written at once."""
    temperature: NotNegative | None = None
    """0 writes the likeliest text; above 0 the text is drawn, by the seed. Left out: 0.7 where the local writer draws
    several `samples`, else 0."""
    samples: Count | None = None
    """How often the local writer draws each question, to keep the one that says most about its text. Left out: 4, or 1
    at temperature 0."""
    review: PathName | None = None
    """A file of `raglift review` with a person's verdicts: rejected questions are dropped, corrected ones replaced."""

    @property
    def temperature_or_default(self) -> float:
        """`temperature`, or what it means when it is left out."""
        if self.temperature is not None:
            return self.temperature
        return _DRAWN_AT if self.samples_or_default > 1 and self.writer is None else 0.0

    @property
    def samples_or_default(self) -> int:
        """`samples`, or what it means when it is left out."""
        if self.samples is not None:
            return self.samples
        return 1 if self.temperature == 0 else _DRAWN

    @model_validator(mode="after")
    def _drawable(self) -> SynthesisConfig:
        if self.samples_or_default > 1 and self.temperature == 0 and self.writer is None:
            raise wrong(
                f"synthesis.samples ({self.samples}) needs synthesis.temperature above 0: at 0 all are one text; leave "
                "one of them out",
                "samples",
                "temperature",
            )
        return self

    @model_validator(mode="after")
    def _tunable(self) -> SynthesisConfig:
        if self.tune_writer and self.examples is None:
            raise wrong(
                "synthesis.tune_writer needs synthesis.examples: a file of examples, or 'dev'",
                "tune_writer",
                "examples",
            )
        if self.tune_writer and self.writer is not None:
            raise wrong(
                "synthesis.tune_writer tunes synthesis.model, and synthesis.writer writes in its place: set one of "
                "them to null or false",
                "tune_writer",
                "writer",
            )
        return self
