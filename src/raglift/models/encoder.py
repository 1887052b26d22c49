"""Texts to vectors: the one path that training's dev scores, index building and serving share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from torch import nn
from transformers import PreTrainedModel

from raglift.models import quiet as quiet
from raglift.models.attach import attach, difference
from raglift.models.bottleneck import using
from raglift.models.device import Runtime
from raglift.models.head import DOCUMENT, QUERY, Head
from raglift.models.lanes import lane_count, side_by_side
from raglift.models.packed import can_pack, pack_linears
from raglift.models.vectors import Vectors

Role = Literal["query", "passage"]
Whole = TypeVar("Whole", bound=nn.Module)
_BLOCK = 4096
"""Texts tokenised at once."""
_PROMPT_NAMES: dict[Role, tuple[str, ...]] = {"query": ("query",), "passage": ("document", "passage")}


def load_encoder(base: Path, runtime: Runtime, tuned: Path | None = None) -> SentenceTransformer:
    """A sentence-transformers model in float32 on the run's device, from safetensors, without remote code.

    Args:
        base: The base model's folder.
        tuned: A folder with an adapter, which is put onto the base, or with a whole tuned model, which takes its place.
    """
    if tuned is not None and difference(tuned) is None:
        base, tuned = tuned, None
    model = SentenceTransformer(
        str(base),
        device=str(runtime.device),
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    if tuned is not None:
        attach(model, tuned)
    return model


def role_prompt(model: SentenceTransformer, role: Role) -> str:
    """The prompt that the model was saved with for a query or a passage; empty where it has none."""
    prompts = model.prompts or {}
    return next((prompt for name in _PROMPT_NAMES[role] if (prompt := prompts.get(name))), "")


def features(model: SentenceTransformer, texts: list[str], role: Role) -> dict[str, Any]:
    """What the model takes for texts in a role: their tokens behind the role's prompt, and the role's task where a
    module of the model goes by it (a `Router`, a head above the queries alone)."""
    prompt = role_prompt(model, role) or None
    if not any(isinstance(module, Router | Head | Vectors) for module in model.modules()):
        return dict(model.preprocess(texts, prompt=prompt))
    task = QUERY if role == "query" else DOCUMENT
    return {**model.preprocess(texts, prompt=prompt, task=task), "task": task}


class Encoder:
    """Encodes texts with one model in one precision.

    A text that stands several times is encoded once, and texts are sorted by length and batched by a budget of padded
    tokens, so that little is spent on repeats and padding; vectors are L2-normalised float32, so that their inner
    product is the cosine. Memory does not grow with the number of texts, but for their vectors.

    Args:
        model: A float32 model; it is copied when the run's precision is another, and left as it is.
        runtime: Device, precision and batch size.
    """

    def __init__(self, model: SentenceTransformer, runtime: Runtime) -> None:
        if runtime.dtype != torch.float32:
            model = in_half_precision(model, runtime)
        self.model = model.eval()
        self._batch_tokens = runtime.batch_tokens
        self._acting: Callable[[], AbstractContextManager[None]] = nullcontext

    def with_adapter(self, name: str | None) -> Encoder:
        """This encoder, on the same weights, with the named adapter of its model acting whatever acts elsewhere."""
        found = copy.copy(self)
        found._acting = partial(using, self.model, name)
        return found

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def encode(
        self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), in the order given.

        Args:
            role: Whether the texts are queries or passages; the model's prompt for it is put before each.
            advance: Told how many more texts are done.
        """
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            rows.setdefault(text, []).append(row)
        order = sorted(rows, key=lambda text: -len(text))
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(order), _BLOCK):
            block = order[start : start + _BLOCK]
            for places, found in self._block(block, role):
                copies = [rows[block[place]] for place in places]
                vectors[[row for group in copies for row in group]] = np.repeat(found, [len(g) for g in copies], axis=0)
                advance(sum(map(len, copies)))
        return vectors

    def _block(self, texts: list[str], role: Role) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Tokenised at once, then forwarded longest first: places in `texts`, and their vectors."""
        whole = features(self.model, texts, role)
        if "attention_mask" not in whole:  # a static embedding model looks words up and pads nothing
            batch = {k: v.to(self.model.device) if isinstance(v, torch.Tensor) else v for k, v in whole.items()}
            yield np.arange(len(texts)), self._forward(batch)
            return
        parts = side_by_side(lambda part: self._forward(part[1]), self._parts(whole), self.model.device)
        yield from ((places, vectors) for (places, _), vectors in parts)

    def _parts(self, whole: dict[str, Any]) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
        """Places of texts, and what the model takes for them, cut to the longest."""
        lengths = whole["attention_mask"].sum(dim=1).numpy()
        left = self.model.tokenizer.padding_side == "left"
        order = np.argsort(-lengths, kind="stable")
        budget = min(self._batch_tokens, -(-int(lengths.sum()) // lane_count(self.model.device)))
        start = 0
        while start < len(order):
            longest = max(1, int(lengths[order[start]]))
            places = order[start : start + max(1, budget // longest)]
            kept = slice(-longest, None) if left else slice(0, longest)
            yield (
                places,
                {
                    name: value[places, kept].to(self.model.device) if isinstance(value, torch.Tensor) else value
                    for name, value in whole.items()
                },
            )
            start += len(places)

    def _forward(self, batch: dict[str, Any]) -> NDArray[np.float32]:
        with torch.inference_mode(), self._acting():
            pooled = self.model(batch)["sentence_embedding"].float()
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors


def in_half_precision(model: Whole, runtime: Runtime, before: Callable[[Whole], None] = lambda _: None) -> Whole:
    """A copy in the run's precision that is quick on its device, for inference alone.

    On the processor attention is two plain matrix products: torch's fused kernel reaches a tenth of their speed at the
    small head widths of embedding models.

    Args:
        before: Called with the copy before its layers are packed.
    """
    model = copy.deepcopy(model).to(runtime.dtype)
    before(model)
    if runtime.device.type == "cpu":
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                module.set_attn_implementation("eager")
        if can_pack():
            pack_linears(model, runtime.batch_tokens)
    return model
