"""The run's models, loaded when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from sentence_transformers import SentenceTransformer

from raglift import plugins
from raglift.config import Config
from raglift.evaluation.arms import Arm, arms_of
from raglift.index.backend import Passages
from raglift.index.mixed_order import MixedReranker
from raglift.index.rewording import transform_of
from raglift.index.transforms._base import QueryTransform
from raglift.index.vector_cache import VectorCache, cache_key
from raglift.models.chat import render_chat
from raglift.models.device import Runtime
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder, role_prompt
from raglift.models.find import FoundModel, find_model, revision_of
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import LiftLLM, context_window, load_causal_lm, load_tokenizer
from raglift.models.reranker import Reranker
from raglift.models.rerankers import open_reranker
from raglift.models.switching import Adapters
from raglift.prompting._base import Prompt
from raglift.records import Target, content_id
from raglift.training.outcome import NOT_RERANKED, Outcome

GENERATION_BATCH = 32


class Models:
    """Base and tuned variants of the run's two models, and its reranker.

    One language model is held at a time: the arms are scored model by model, and two would need twice the memory.
    """

    def __init__(self, config: Config, runtime: Runtime) -> None:
        self._config = config
        self._runtime = runtime
        self._outcomes: dict[str, Outcome] = {}
        self._encoders: dict[str, Encoder] = {}
        self._generator: tuple[str, Generator] | None = None
        self._reranker: Reranker | None = None

    @cached_property
    def embedding(self) -> FoundModel:
        """The base embedding model."""
        return find_model(self._config.embedding.model)

    @cached_property
    def llm(self) -> FoundModel:
        """The base language model."""
        return find_model(self._config.llm.model)

    @cached_property
    def rerank(self) -> FoundModel | None:
        """The base of the reranker; None where the run has none."""
        return find_model(self._config.rerank.model) if self._config.rerank is not None else None

    def base(self, target: Target) -> FoundModel:
        """What the training of a target begins with."""
        found = {"embedding": self.embedding, "llm": self.llm, "rerank": self.rerank}[target]
        assert found is not None  # what a run does not have is not trained
        return found

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What the run compares."""
        return arms_of(self._config)

    @cached_property
    def transforms(self) -> dict[str, QueryTransform]:
        """What puts questions in other words, by name."""
        return {spec.name: transform_of(spec) for spec in self._config.retrieval.transforms}

    def add(self, outcome: Outcome) -> None:
        """Make a training's outcome known: from now on there is a tuned variant."""
        self._outcomes[outcome.record.target] = outcome

    def embedding_key(self, which: str) -> str:
        """What decides the vectors: the weights of "base" or "tuned", which are the same where the base won."""
        return self._key("embedding", which, self.embedding)

    def passages_key(self, which: str) -> str:
        """What decides the vectors of passages: the base's weights also where only those of queries were tuned."""
        outcome = self._outcomes.get("embedding")
        same = outcome is not None and outcome.record.same_passages
        return self.embedding_key("base" if same else which)

    def llm_key(self, which: str) -> str:
        """What decides the answers, likewise."""
        return self._key("llm", which, self.llm)

    def rerank_key(self) -> str:
        """What decides the order of passages; empty where nothing puts them in order."""
        outcome = self._outcomes.get("rerank")
        if outcome is None or outcome.record.chosen == NOT_RERANKED:
            return ""
        if outcome.tuned is not None:
            return outcome.record.key
        share = outcome.record.first_stage_share
        return f"{outcome.record.base_revision}, {share:g} first stage" if share else outcome.record.base_revision

    def _key(self, target: str, which: str, base: FoundModel) -> str:
        outcome = self._outcomes.get(target)
        return outcome.record.key if which == "tuned" and outcome is not None and outcome.tuned else base.revision

    def path(self, target: str, which: str) -> Path:
        """The folder of a model; a tuned language model's may hold an adapter alone."""
        outcome = self._outcomes.get(target)
        if which == "tuned" and outcome is not None and outcome.tuned is not None:
            return outcome.tuned
        if target == "rerank" and self.rerank is not None:
            return self.rerank.path
        return self.embedding.path if target == "embedding" else self.llm.path

    def encoder(self, which: str) -> Encoder:
        """The embedding model, "base" or "tuned"."""
        key = self.embedding_key(which)
        if key not in self._encoders:
            self._encoders[key] = Encoder(self._in_float32(which), self._runtime)
        return self._encoders[key]

    def _in_float32(self, which: str) -> SentenceTransformer:
        tuned = self.path("embedding", which)
        return load_encoder(self.embedding.path, self._runtime, None if tuned == self.embedding.path else tuned)

    def passages(self, which: str, caches: Path, warn: Callable[[str], None] = lambda _: None) -> Passages:
        """What encodes passages with the embedding model "base" or "tuned", and what is known of their vectors.

        The weights enter a cache's key by their content: a model that was trained anew under the same key has caches
        of its own.

        Args:
            caches: Folder of the caches.
            warn: Told when a damaged cache is begun anew.
        """
        folder, weights = self.path("embedding", which), self.embedding.revision
        if folder != self.embedding.path and self.passages_key(which) != self.passages_key("base"):
            weights = content_id(weights, revision_of(folder))
        encoder = self.encoder(which)

        def cache(precision: str) -> VectorCache:
            key = cache_key(weights, role_prompt(encoder.model, "passage"), "passage", precision)
            return VectorCache(caches, key, encoder.dimension, warn)

        return Passages(encoder, lambda: self._in_float32(which), cache, self._runtime, which)

    def llama_embedding(self, which: str, adapter: Path | None = None) -> LiftEmbedding:
        """The embedding model, "base" or "tuned", as LlamaIndex sees it.

        Args:
            adapter: A folder with a bottleneck adapter, which acts in this object alone.

        Raises:
            UserError: The adapter is damaged, or belongs to another base.
        """
        name = f"{self._config.embedding.model}@{self.embedding_key(which)}"
        name, encoder = _adapted(name, self.encoder(which), adapter)
        # The encoder makes its own batches: the more texts it is given at once, the less goes into padding.
        return LiftEmbedding(encoder, name, adapter or self.path("embedding", which), embed_batch_size=2048)

    def reranker(self) -> Reranker | None:
        """What puts passages in order; None where there is none, or none was chosen."""
        if self.rerank is None or not self.rerank_key():
            return None
        if self._reranker is None:
            outcome = self._outcomes["rerank"]
            found = open_reranker(self.rerank.path, self._runtime, outcome.tuned)
            self._reranker = MixedReranker(found, outcome.record.first_stage_share)
        return self._reranker

    def generator(self, which: str) -> Generator:
        """The language model, "base" or "tuned"."""
        key = self.llm_key(which)
        if self._generator is None or self._generator[0] != key:
            self._generator = None
            tuned = self.path("llm", which)
            model = load_causal_lm(self.llm.path, self._runtime, None if tuned == self.llm.path else tuned)
            self._generator = (key, Generator(quicken(model), load_tokenizer(self.llm.path), GENERATION_BATCH))
        return self._generator[1]

    def llama_llm(self, which: str, adapter: Path | None = None) -> LiftLLM:
        """The language model, "base" or "tuned", as LlamaIndex sees it.

        Args:
            adapter: A folder with a bottleneck adapter, which acts in this object alone.

        Raises:
            UserError: The adapter is damaged, or belongs to another base.
        """
        name = f"{self._config.llm.model}@{self.llm_key(which)}"
        name, generator = _adapted(name, self.generator(which), adapter)
        return LiftLLM(
            generator,
            name=name,
            max_new_tokens=self._config.llm.new_tokens,
            context_window=self.window,
            source=adapter or self.path("llm", which),
        )

    @cached_property
    def prompt(self) -> Prompt:
        """The prompt approach."""
        prompt: Prompt = plugins.load("prompt", self._config.llm.prompt)
        return prompt

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.llm.path)

    def render(self, question: str, passages: Sequence[str]) -> str:
        """The prompt's text, the same in training, evaluation and serving."""
        return render_chat(self._tokenizer, self.prompt.messages(question, passages))

    @cached_property
    def window(self) -> int:
        """Tokens that the language model can read and write in all."""
        return context_window(self.llm.path)

    def token_count(self, text: str) -> int:
        """Tokens of a text, by the language model's tokenizer."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])


class _Switchable(Protocol):
    """What serves one model's weights to several objects, an adapter acting in each."""

    @property
    def model(self) -> Any:
        """The model in memory."""

    def with_adapter(self, name: str | None) -> Self:
        """This, on the same weights, with the named adapter acting."""


_Serving = TypeVar("_Serving", bound=_Switchable)


def _adapted(name: str, serving: _Serving, folder: Path | None) -> tuple[str, _Serving]:
    """A model and its name, as they are, or with the bottleneck adapter in a folder acting.

    Raises:
        UserError: The adapter is damaged, or belongs to another base.
    """
    if folder is None:
        return name, serving
    acting = Adapters(serving.model).ensure(folder)
    return f"{name}+{acting}", serving.with_adapter(acting)
