"""Which of several samples is kept: of those that are fit to be asked, the one that says most about its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raglift.models.generation import Generator, Sample

NOTHING = "..."
"""The text of a prompt about no text at all."""


def informative(
    generator: Generator,
    samples: Sequence[Sequence[Sample]],
    empty_prompt: str,
    prefix: str,
    fit: Callable[[int, str], bool],
) -> list[str]:
    """Of each text's samples the one with the greatest pointwise mutual information with its text.

    That is log p(sample | text) - log p(sample | no text): how much likelier the text makes it. Small models ask
    "What is the name of the company?" about anything; such a question is as likely without the text and loses against
    one that could only be asked of it. Where no sample is fit, the likeliest of all is given, and the filters
    have their say.

    Args:
        samples: For each text, what was written about it.
        empty_prompt: The prompt about `NOTHING`.
        prefix: What stands before it.
        fit: Whether a sample of the text with this number may be asked.

    References:
        Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", equation 9.
    """
    candidates = [
        {sample.text: sample.log_probability for sample in drawn if fit(row, sample.text)}
        for row, drawn in enumerate(samples)
    ]
    unique = sorted({text for texts in candidates for text in texts})
    scores = generator.score([empty_prompt] * len(unique), unique, prefix=prefix)
    alone = {
        text: (score.mean_log_probability or 0.0) * score.tokens for text, score in zip(unique, scores, strict=True)
    }
    return [
        max(texts, key=lambda text: (texts[text] - alone[text], text)) if texts else _likeliest(drawn)
        for texts, drawn in zip(candidates, samples, strict=True)
    ]


def _likeliest(samples: Sequence[Sample]) -> str:
    return max(samples, key=lambda sample: (sample.log_probability, sample.text)).text
