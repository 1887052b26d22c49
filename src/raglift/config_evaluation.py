"""A run's section `evaluation`: what is measured."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from raglift.config_fields import Count, Name, NotNegative, ResponseMetric, RetrievalMetric, Section, wrong


class EvaluationConfig(Section):
    """What is measured."""

    retrieval: list[RetrievalMetric] = Field(
        default=["nDCG@10", "RR@10", "R@5", "R@10", "Success@5", "AP"], min_length=1
    )
    """Retrieval metrics, in the notation of ir_measures; also SpanRecall@k and SpanPrecision@k."""
    response: list[ResponseMetric] = Field(
        default=["exact_match", "token_f1", "rouge_l", "semantic_similarity", "abstention"]
    )
    """Response metrics."""
    similarity_model: Name = "all-MiniLM-L6-v2"
    """The untuned embedding model behind semantic_similarity."""
    max_answers: Count | None = 200
    """Questions of a set that the arms answer (all are ranked); null: all."""
    price_in: NotNegative | None = None
    """What a million tokens of prompts cost, in any currency; with `price_out` the report says what answers cost."""
    price_out: NotNegative | None = None
    """What a million tokens of answers cost."""
    resamples: Count = 2000
    """Bootstrap and permutation resamples behind every interval and p-value."""

    @model_validator(mode="after")
    def _prices_belong_together(self) -> Self:
        if (self.price_in is None) != (self.price_out is None):
            raise wrong("evaluation.price_in and price_out belong together", "price_in", "price_out")
        return self
