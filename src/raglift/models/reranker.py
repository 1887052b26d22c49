"""Cross-encoders: a question and a passage read together, one score. The path that training and serving share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from raglift.errors import UserError
from raglift.models import quiet as quiet
from raglift.models.attach import attach, difference
from raglift.models.device import Runtime
from raglift.models.encoder import in_half_precision, load_encoder

if TYPE_CHECKING:
    from raglift.index.ranking import Ranking

_BLOCK = 4096
"""Pairs tokenised at once."""
_SEED = 0
"""Of a new head: the base must be the same model whenever it is loaded."""


def is_cross_encoder(folder: Path) -> bool:
    """Whether the folder holds a model that scores pairs of texts already; an encoder has to be given a head."""
    saved = folder / "config_sentence_transformers.json"
    if saved.exists() and json.loads(saved.read_text("utf-8")).get("model_type") == "CrossEncoder":
        return True
    return _has_architecture(folder, "ForSequenceClassification")


def is_language_model(folder: Path) -> bool:
    """Whether the folder holds a causal language model and nothing that makes a model of texts' vectors of it."""
    return _has_architecture(folder, "ForCausalLM") and not (folder / "modules.json").exists()


def _has_architecture(folder: Path, ending: str) -> bool:
    config = folder / "config.json"
    architectures = json.loads(config.read_text("utf-8")).get("architectures") if config.exists() else None
    return any(name.endswith(ending) for name in architectures or ())


def load_reranker(base: Path, runtime: Runtime, tuned: Path | None = None) -> CrossEncoder:
    """A cross-encoder in float32 on the run's device, from safetensors, without remote code.

    Of a model that embeds texts, a cross-encoder is made: its transformer and its pooling, and above them a new linear
    layer to one score, the same at every call.

    Args:
        base: The base model's folder.
        tuned: A folder with a difference, which is put onto the base, or with a whole tuned model, which takes its
            place.

    Raises:
        UserError: The model scores more than one label, or cannot be made a cross-encoder.
    """
    if tuned is not None and difference(tuned) is None:
        base, tuned = tuned, None
    if is_cross_encoder(base):
        model: CrossEncoder = CrossEncoder(
            str(base),
            device=str(runtime.device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
    else:
        model = _with_new_head(base, runtime)
    if model.num_labels != 1:
        raise UserError(
            f"The model in {base} cannot re-order passages.",
            f"It gives {model.num_labels} numbers for a question and a passage; a reranker gives one.",
            "Name a cross-encoder for reranking, or an embedding model, which is given a new head.",
        )
    if tuned is not None:
        attach(model, tuned)
    return model


def _with_new_head(base: Path, runtime: Runtime) -> CrossEncoder:
    """An embedding model's transformer and pooling under a new linear layer."""
    transformer, pooling = (*load_encoder(base, runtime), None, None)[:2]
    if not isinstance(transformer, Transformer) or not isinstance(pooling, Pooling):
        raise UserError(
            f"The model in {base} cannot be made a reranker.",
            "It has no transformer and pooling, on top of which a head could be put.",
            "Name a cross-encoder, or an embedding model that is a transformer.",
        )
    # A pair is longer than the texts that the model is cut at. RoBERTa and its kin count positions that no token has.
    positions = getattr(transformer.model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None:
        transformer.max_seq_length = positions - positions % 8
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        head = Dense(
            pooling.get_embedding_dimension(), 1, activation_function=nn.Identity(), module_output_name="scores"
        )
    made: CrossEncoder = CrossEncoder(modules=[transformer, pooling, head], device=str(runtime.device))
    return made


def inner_head(model: nn.Module) -> list[str]:
    """The names, within a cross-encoder's transformers model, of the modules above its encoder."""
    inner: Any = model[0].model  # type: ignore[index]
    encoder = getattr(inner, "base_model_prefix", "")
    if not encoder or not hasattr(inner, encoder):  # an encoder alone: the head is a module of its own
        return []
    return [name for name, part in inner.named_children() if name != encoder and any(True for _ in part.parameters())]


def head(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters, by name, that make a cross-encoder's score out of what its encoder says; of any other model none.

    They learn under every strategy: where the base embeds texts they are new, and say nothing before they have.
    """
    if not isinstance(model, CrossEncoder):
        return {}
    inside = tuple(f"0.model.{name}." for name in inner_head(model))
    return {
        name: value for name, value in model.named_parameters() if name.startswith(inside) or not name.startswith("0.")
    }


class Reranker(ABC):
    """Puts passages in the order in which a model finds them to answer a question."""

    @abstractmethod
    def scores(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Scores of (question, passage) pairs, shape (pairs,), in the order given. They order the passages of one
        question, and compare with nothing else.

        Args:
            advance: Told how many more pairs are done.
        """

    def rerank(
        self,
        asked: Sequence[tuple[str, Ranking]],
        text_of: Mapping[str, str],
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Ranking]:
        """For each question its passages, the highest score first; equal ones stay in the order in which they came.

        Args:
            asked: Questions with what a first stage found for them.
            text_of: Chunk id -> text.
            advance: Told how many more pairs are done.
        """
        pairs = [(question, text_of[chunk_id]) for question, ranking in asked for chunk_id, _ in ranking]
        scores = iter(self.scores(pairs, advance).tolist())
        return [
            tuple(sorted(((chunk_id, next(scores)) for chunk_id, _ in ranking), key=lambda found: -found[1]))
            for _, ranking in asked
        ]


class CrossEncoderReranker(Reranker):
    """A cross-encoder in one precision.

    Pairs are sorted by length and batched by a budget of padded tokens. Scores are the model's own, before any
    activation.

    Args:
        model: A float32 model; it is copied when the run's precision is another, and left as it is.
        runtime: Device, precision and batch size.
    """

    def __init__(self, model: CrossEncoder, runtime: Runtime) -> None:
        if runtime.dtype != torch.float32:
            last = [name for name, part in model.named_modules() if _is_scorer(name, part, model)]
            # In eight bits many passages of a question would score alike.
            model = in_half_precision(model, runtime, lambda copied: copied.set_keep_in_fp32_modules(last))
        self.model = model.eval()
        self._batch_tokens = runtime.batch_tokens

    def scores(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """See `Reranker`."""
        order = sorted(range(len(pairs)), key=lambda row: -sum(map(len, pairs[row])))
        found = np.zeros(len(pairs), dtype=np.float32)
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            for places, scores in self._block([pairs[row] for row in rows]):
                found[[rows[place] for place in places]] = scores
                advance(len(places))
        return found

    def _block(self, pairs: list[tuple[str, str]]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Tokenised at once, then forwarded longest first: places in `pairs`, and their scores."""
        whole = self.model.preprocess(pairs)
        lengths = whole["attention_mask"].sum(dim=1).numpy()
        left = self.model.tokenizer.padding_side == "left"
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            longest = max(1, int(lengths[order[start]]))
            places = order[start : start + max(1, self._batch_tokens // longest)]
            kept = slice(-longest, None) if left else slice(0, longest)
            batch = {
                name: value[places, kept].to(self.model.device) if isinstance(value, torch.Tensor) else value
                for name, value in whole.items()
            }
            with torch.inference_mode():
                yield places, self.model(batch)["scores"].view(-1).float().cpu().numpy()
            start += len(places)


def _is_scorer(name: str, part: nn.Module, model: nn.Module) -> bool:
    """Whether a module is a plain linear layer of the head."""
    return type(part) is nn.Linear and f"{name}.weight" in head(model)
