"""A pull toward the starting weights, as strong on each weight as the base needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, PrivateAttr, field_serializer, field_validator
from torch import nn

from raglift.errors import UserError
from raglift.training import general_text
from raglift.training.fisher import diagonal_fisher, told_orders, told_passages, told_tokens
from raglift.training.parameters import trainable
from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from raglift.training.fisher import Said
    from raglift.training.study import Study


class ElasticWeights(Strategy):
    """Elastic weight consolidation: the penalty `0.5 * strength * sum(F * (w - w0)^2)` on the weights' distance from
    their start `w0`, where `F` is the diagonal of the base's Fisher information on general text.

    `F` is estimated once before the first step, from per-example gradients of outcomes drawn from the model itself:

    - Language model: the next token after every place of a text. The texts are cut out of the file `text`, or, without
      one, are what the base writes from its start token on, at temperature 1: the nearest thing to its training text
      that there is offline.
    - Embedding model: a passage for a query, drawn from the softmax of 20 times their cosines, in groups of eight. With
      `text` every run of its words asks for one of the others, which is how near each text is to each. Without it,
      there is nothing that an embedding model could write: the queries and passages of the training pairs are taken,
      so that what is kept is how the base ranks them, whatever the pairs say is right.
    - Reranker: a passage for a question likewise, drawn from the softmax of its scores; a new head has none to keep.

    Divided by the number of outcomes, so that at strength 1 the penalty is, to second order, what a diagonal sees of
    KL(base || tuned) a token or a query. The diagonal sees little of it, since weights move together: hence a strength
    far above 1. With an adapter the weights are the adapter's own; a LoRA's first factor has no influence at the start
    and so none of the penalty.

    The penalty enters as its exact gradient, before the gradient is clipped; the loss that is logged does not hold it.

    References:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", equation 3.
    """

    axis: ClassVar[Axis] = "anchor"
    family: ClassVar[str] = "regularised fine-tuning"
    approach: ClassVar[str] = "elastic weight consolidation"
    when: ClassVar[str] = "the model must keep its skills on text of another kind, of which you have a sample"
    paper: ClassVar[str] = "Kirkpatrick et al. 2017, EWC, equation 3"

    strength: float = Field(300.0, gt=0, description="lambda: what the penalty counts beside the objective")
    text: Path | None = Field(None, description="a file of general text in UTF-8; null: see the docs")
    samples: int = Field(32, ge=1, description="texts (queries) that the importance of weights is estimated from")
    length: int = Field(128, ge=2, description="tokens of a text (words, for an embedding model)")

    _start: Mapping[str, Tensor] = PrivateAttr(default_factory=dict)
    _fisher: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    @field_validator("text")
    @classmethod
    def _readable(cls, text: Path | None) -> Path | None:
        if text is not None:
            try:
                empty = not text.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{text} cannot be read as UTF-8 text: {error}") from error
            if empty:
                raise ValueError(f"{text} is empty")
        return text

    @field_serializer("text")
    def _content(self, text: Path | None) -> str | None:
        """What the text holds decides the result, not where it lies."""
        return hashlib.sha256(text.read_bytes()).hexdigest() if text is not None else None

    def begin(self, model: nn.Module, study: Study) -> None:
        """Estimate how much each weight matters to what the base says.

        Raises:
            UserError: There is too little text to estimate it from.
        """
        self._start = study.base
        training = model.training
        model.eval()
        try:
            with study.display.stage("weighing the base's parameters", self.samples, "examples") as bar:

                def counted() -> Iterator[Said]:
                    for said in self._examples(model, study):
                        yield said
                        bar.advance(1)

                self._fisher = diagonal_fisher(trainable(model), counted())
                if not bar.done:
                    raise UserError(
                        "elastic_weights found nothing to weigh the base's parameters by.",
                        "A query is needed that has two passages of a batch to choose from, and two such queries.",
                        "Raise samples or the batch size, or name a file of general text in its setting text.",
                    )
        finally:
            model.train(training)

    def _examples(self, model: nn.Module, study: Study) -> Iterator[Said]:
        generator = torch.Generator().manual_seed(study.seed)
        text = self.text.read_text("utf-8") if self.text is not None else None
        if study.target == "llm":
            if text is None:
                with study.precision():
                    texts = general_text.written_by(model, self.samples, self.length, generator)
            else:
                texts = general_text.token_windows(model, text, self.samples, self.length, study.seed)
            return told_tokens(model, texts, study.precision, generator)
        if study.target == "rerank":
            lists = (
                general_text.training_lists(study, self.samples)
                if text is None
                else general_text.word_lists(model, text, self.samples, self.length, study.seed)
            )
            return told_orders(model, lists, study.precision, generator)
        if text is None:
            return told_passages(model, general_text.training_groups(study, self.samples), study.precision, generator)
        groups = general_text.word_windows(model, text, self.samples, self.length, study.seed)
        return told_passages(model, groups, study.precision, generator)

    def after_backward(self, model: nn.Module) -> None:
        """Add the penalty's gradient."""
        for name, parameter in trainable(model).items():
            if parameter.grad is not None:
                distance = parameter.detach() - self._start[name]
                parameter.grad.addcmul_(self._fisher[name].to(distance.dtype), distance, value=self.strength)


PLUGIN = ElasticWeights
