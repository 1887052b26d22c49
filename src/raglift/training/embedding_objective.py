"""What the objectives of embedding models share: from a batch of columns to vectors, and from vectors to a loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext, has_static_embedding_input
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from raglift.config_fields import PluginSpec
from raglift.errors import UserError
from raglift.models.flattened import part_of, rows_of
from raglift.records import Target
from raglift.training.objective import Objective

Compare = Callable[[list[Tensor], Any], Tensor]
"""The loss of a batch, given each column's vectors, (B, D) or fewer rows for hard negatives, and the batch itself."""


class EmbeddingObjective(Objective):
    """A loss over vectors: it compares them, how they are computed is not its business.

    Attributes:
        in_batch: Whether the passages of other questions are compared with a question too, so that those that are right
            for it must not meet it in a batch.
        mini_batch_size: Texts that are held in memory with their activations at once, by GradCache; None: the batch.
    """

    target: ClassVar[Target] = "embedding"
    in_batch: ClassVar[bool] = True

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors; `model` is the base, before a strategy has changed it."""
        raise NotImplementedError

    def needs_teacher(self) -> PluginSpec | None:
        """The teacher whose scores of passages and hard negatives it learns, None for most."""
        return None

    def compares_batch(self) -> bool:
        """Whether questions are compared with other questions' passages."""
        return self.in_batch

    def chunk(self) -> int | None:
        """Texts that go through the model at once; None: a whole column."""
        return None

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch.

        Raises:
            UserError: The model's batches cannot be parted.
        """
        compare, size = self.compare(model), self.chunk()
        if size is not None and has_static_embedding_input(model):
            raise UserError(
                "mini_batch_size cannot be used with this embedding model.",
                "It looks up words in a table: its batches are one row of them, which cannot be parted.",
                "Use an objective without mini_batch_size; without a transformer it needs little memory anyway.",
            )

        def compute(model: nn.Module, batch: Any) -> Tensor:
            columns = [dict(column) for column in batch]  # the model writes what it computes into them
            if size is not None:
                value: Tensor = _Cached(model, compare, batch, size).forward_cached(columns)
                return value
            return compare(embed_columns(model, columns), batch)

        return compute


class _Cached(CachedLossMixin):
    """One batch under sentence-transformers' gradient cache, for any loss over vectors.

    All texts are embedded without a graph, the loss is taken back to their vectors, and when the loop goes backward
    each mini-batch is embedded again, with the same dropout, and given its vectors' gradient. Memory is that of a
    mini-batch. The backward pass fills the weights' `.grad`; `torch.autograd.grad` gets nothing from it.

    References:
        Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    """

    def __init__(self, model: nn.Module, compare: Compare, batch: Any, mini_batch_size: int) -> None:
        self.model = model
        self.mini_batch_size = mini_batch_size
        self._compare = compare
        self._batch = batch
        kind = next(model.parameters()).device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        self._precision = partial(torch.autocast, kind, dtype=dtype, enabled=enabled)

    def embed_minibatch(
        self,
        sentence_feature: dict[str, Tensor],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[Tensor, RandContext | None]:
        """As the library does it, in the same precision both times: the loop goes backward outside of its autocast.

        Weights that autocast rounds without a graph must not be kept, or what uses them next gets no gradient.
        """
        part = part_of(sentence_feature, slice(begin, end))
        with self._precision(cache_enabled=with_grad):
            return super().embed_minibatch(part, 0, rows_of(part), with_grad, copy_random_state, random_state)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss of the mini-batches' vectors, taken back to them where that is asked for."""
        value = self._compare([torch.cat(column) for column in reps], self._batch)
        if with_backward:
            value.backward()  # type: ignore[no-untyped-call]
            value = value.detach()
        return value


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosines (N, M) of rows, in float32 also under autocast.

    Times 20, bfloat16's eight bits would move the logits by a tenth.
    """
    with torch.autocast(left.device.type, enabled=False):
        cosines: Tensor = cos_sim(left.float(), right.float())
    return cosines
