"""Batched text generation: sorted by length, a shared prefix computed once, stopped at a line end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from raglift.models.chat import render_chat
from raglift.models.extraction import SpanConstraint


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue a prompt: greedily, or sampled at a temperature with a seed; `line` stops at a line end."""

    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0
    line: bool = False


@dataclass(frozen=True, slots=True)
class Extract:
    """A text to copy from, and the words with which the copy does not begin."""

    text: str
    avoid: frozenset[str] = frozenset()


class _StopAtLineEnd(StoppingCriteria):
    """Done as soon as a row's newest token holds a line end."""

    def __init__(self, stops: torch.Tensor) -> None:
        self._stops = stops

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        return torch.isin(input_ids[:, -1], self._stops)


class Generator:
    """A causal language model and its tokenizer, for many prompts at once.

    Args:
        model: In evaluation mode, on its device and in its precision.
        tokenizer: Its tokenizer; prompts are padded on the left with its pad (or end) token.
        batch_size: Prompts a forward pass.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self._prefix: tuple[str, list[int], DynamicCache] | None = None

    @cached_property
    def _line_ends(self) -> torch.Tensor:
        ids = [i for token, i in self.tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token]
        return torch.tensor(sorted(ids), device=self.model.device)

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        """The messages as the model's chat template renders them, up to where the answer begins."""
        return render_chat(self.tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        prefix: str = "",
        extract_from: Sequence[Extract] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """The continuation of each prompt, special tokens removed, in the order given.

        Args:
            prompts: Rendered prompts; special tokens are read where they are written and none are added.
            prefix: Text before every prompt; its keys and values are computed once and kept for the next call.
            extract_from: For each prompt, the text of which its continuation must be a run of tokens.
            advance: Told how many more prompts are done.
        """
        encoded = [self.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda row: (-len(encoded[row]), row))
        texts = [""] * len(prompts)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            sources = None if extract_from is None else [extract_from[row] for row in rows]
            batch = self._batch([encoded[row] for row in rows], sampling, prefix, sources)
            for row, text in zip(rows, batch, strict=True):
                texts[row] = text
            advance(len(rows))
        return texts

    def _batch(
        self, encoded: list[list[int]], sampling: Sampling, prefix: str, sources: list[Extract] | None
    ) -> list[str]:
        head, cache = self._prefix_cache(prefix, len(encoded))
        width = max(len(ids) for ids in encoded)
        pad = int(
            self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        )
        ids = torch.tensor([head + [pad] * (width - len(row)) + row for row in encoded])
        mask = torch.tensor([[1] * len(head) + [0] * (width - len(row)) + [1] * len(row) for row in encoded])
        stopping = StoppingCriteriaList([_StopAtLineEnd(self._line_ends)] if sampling.line else [])
        options: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            torch.manual_seed(sampling.seed)
            options = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
        if sources is not None:
            end = self.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
            options["prefix_allowed_tokens_fn"] = SpanConstraint(
                self.tokenizer,
                [source.text for source in sources],
                [source.avoid for source in sources],
                ids.shape[1],
                end,
                sampling.max_new_tokens - 1,
            )
        with torch.inference_mode():
            output = self.model.generate(  # type: ignore[operator]
                input_ids=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                past_key_values=cache,
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=pad,
                stopping_criteria=stopping,
                **options,
            )
        texts = self.tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.split("\n", 1)[0] if sampling.line else text for text in texts]

    def _prefix_cache(self, prefix: str, rows: int) -> tuple[list[int], DynamicCache | None]:
        if not prefix:
            return [], None
        if self._prefix is None or self._prefix[0] != prefix:
            head: list[int] = self.tokenizer(prefix, add_special_tokens=False)["input_ids"]
            cache = DynamicCache(config=self.model.config)
            with torch.inference_mode():
                self.model(torch.tensor([head], device=self.model.device), past_key_values=cache, logits_to_keep=1)
            self._prefix = (prefix, head, cache)
        _, head, cache = self._prefix
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(rows)
        return head, cache
