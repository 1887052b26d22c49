"""In-batch negatives without those that a guide finds nearer than the right passage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import has_static_embedding_input
from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder, role_prompt
from raglift.models.find import find_model
from raglift.training.columns import Columns
from raglift.training.embedding_objective import Compare, EmbeddingObjective, cosine


class Gist(EmbeddingObjective):
    """GISTEmbed: a frozen guide says which negatives of the batch are likely right, and these do not count.

    A passage (or another query) does not count for a query where the guide's cosine of the two exceeds that of the
    query and its own passage, less `margin`. Without a name the guide is the base as it was before training.

    References:
        Solatorio 2024, "GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning".
    """

    when: ClassVar[str] = "many passages answer the same question, so that some in-batch negatives are right"
    paper: ClassVar[str] = "Solatorio 2024, GISTEmbed"

    guide: str | None = Field(default=None, description="an embedding model: a known name or a folder; null: the base")
    temperature: float = Field(default=0.01, gt=0, description="what cosines are divided by")
    margin_strategy: Literal["absolute", "relative"] = Field(
        default="absolute", description="whether `margin` is taken off the cosine, or is a share of it"
    )
    margin: float = Field(default=0.0, description="how far below the own passage a negative must be to count")
    contrast_anchors: bool = Field(default=True, description="whether other queries are negatives of a query")
    contrast_positives: bool = Field(default=True, description="whether other passages are negatives of a passage")
    mini_batch_size: int | None = Field(
        default=None, ge=1, description="texts in memory at once, by GradCache; null: the whole batch"
    )

    def chunk(self) -> int | None:
        """Texts that go through the model at once."""
        return self.mini_batch_size

    def depends(self) -> list[Any]:
        """The guide's weights."""
        return [] if self.guide is None else [find_model(self.guide).revision]

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors.

        Raises:
            UserError: The model is no transformer.
        """
        assert isinstance(model, SentenceTransformer)
        guide = self._guide(model)
        if has_static_embedding_input(model):
            raise UserError(
                "gist cannot train this embedding model.",
                "It looks up words in a table, and sentence-transformers' GISTEmbed needs a transformer.",
                "Use multiple_negatives.",
            )
        loss = _Guided(self)
        guided = _once_a_batch(lambda batch: _vectors(guide, batch, own_words=self.guide is not None))

        def compute(vectors: list[Tensor], batch: Any) -> Tensor:
            loss.mini_batch_size = len(vectors[0])
            value: Tensor = loss.calculate_loss([[found] for found in vectors], [[found] for found in guided(batch)])
            return value

        return compute

    def _guide(self, model: SentenceTransformer) -> SentenceTransformer:
        if self.guide is None:
            guide = copy.deepcopy(model)
        else:
            runtime = Runtime(model.device, torch.float32, torch.get_num_threads())
            guide = load_encoder(find_model(self.guide).path, runtime)
        return guide.eval().requires_grad_(False)


class _Guided(CachedGISTEmbedLoss):
    """The library's loss stage, which takes any number of hard negatives; cosines in float32 by one matrix product.

    The library's own constructor asks both models for a tokenizer, which the loss stage does not use and an embedding
    that is looked up does not have.
    """

    def __init__(self, settings: Gist) -> None:
        nn.Module.__init__(self)
        self.temperature = settings.temperature
        self.margin_strategy = settings.margin_strategy
        self.margin = settings.margin
        self.contrast_anchors = settings.contrast_anchors
        self.contrast_positives = settings.contrast_positives
        self.gather_across_devices = False
        self.show_progress_bar = False
        self.cross_entropy_loss = nn.CrossEntropyLoss()

    def sim_matrix(self, embed1: Tensor, embed2: Tensor) -> Tensor:
        """Cosines (N, M) of rows."""
        return cosine(embed1, embed2)


def _vectors(guide: SentenceTransformer, batch: Any, own_words: bool) -> list[Tensor]:
    """The guide's vectors of each column; with `own_words` by its own tokenizer and prompts."""
    with torch.no_grad():
        if not own_words:
            return [guide(dict(column))["sentence_embedding"].float() for column in batch]
        assert isinstance(batch, Columns), "another model reads texts, which a plain list of columns does not hold"
        found = []
        for place, texts in enumerate(batch.texts):
            prompt = role_prompt(guide, "passage" if place else "query")
            features = guide.preprocess(list(texts), prompt=prompt or None)
            moved = {name: v.to(guide.device) if isinstance(v, Tensor) else v for name, v in features.items()}
            found.append(guide(moved)["sentence_embedding"].float())
        return found


def _once_a_batch(call: Callable[[Any], list[Tensor]]) -> Callable[[Any], list[Tensor]]:
    """Remembers the last batch: a loss that is computed at several dimensions asks for each."""
    last: list[tuple[Any, list[Tensor]]] = []

    def remembered(batch: Any) -> list[Tensor]:
        if not last or last[0][0] is not batch:
            last[:] = [(batch, call(batch))]
        return last[0][1]

    return remembered


PLUGIN = Gist
