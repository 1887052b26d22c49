"""A local language model as a LlamaIndex LLM, with the batched generation that evaluation uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.custom import CustomLLM
from pydantic import PrivateAttr
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from raglift.models import quiet as quiet
from raglift.models.attach import attach, difference
from raglift.models.device import Runtime
from raglift.models.generation import Generator, Sampling


def load_causal_lm(base: Path, runtime: Runtime, tuned: Path | None = None) -> PreTrainedModel:
    """A causal language model in the run's precision, from safetensors, without remote code.

    Args:
        base: The base model's folder.
        tuned: A folder with an adapter, which is put onto the base in float32 before the weights are cast, or with a
            whole tuned model, which takes the base's place.
    """
    if tuned is not None and difference(tuned) is None:
        base, tuned = tuned, None
    dtype = torch.float32 if tuned is not None else runtime.dtype
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True
    )
    if tuned is not None:
        model = attach(model, tuned)  # type: ignore[assignment]
    model.to(runtime.device, runtime.dtype)  # type: ignore[arg-type]
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a pad token (its end token where it has none of its own)."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        base, trust_remote_code=False, local_files_only=True
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context_window(base: Path) -> int:
    """Tokens that the language model in `base` can read and write in all; 2048 where its config does not say."""
    config = AutoConfig.from_pretrained(base, trust_remote_code=False, local_files_only=True)
    return int(getattr(config, "max_position_embeddings", None) or 2048)


class LiftLLM(CustomLLM):
    """A (tuned) local language model behind LlamaIndex's interface; greedy, so that answers can be repeated.

    Example:
        >>> llm = raglift.open_run("quickstart").llm("tuned_both")
        >>> llm.complete("Which keyword ends a loop early?").text
    """

    name: str
    max_new_tokens: int = 48
    context_window: int = 2048
    source: Path = Path()
    """The model's folder: an adapter, or a whole model."""
    _generator: Generator = PrivateAttr()

    def __init__(self, generator: Generator, **fields: Any) -> None:
        super().__init__(**fields)
        self._generator = generator

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises the component."""
        return "LiftLLM"

    @property
    def generator(self) -> Generator:
        """The batched generator underneath."""
        return self._generator

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex wants to know: window, output length, that it speaks in chat turns."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.max_new_tokens,
            is_chat_model=True,
            model_name=self.name,
            system_role=MessageRole.SYSTEM,
        )

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Continue `prompt`: as it stands if `formatted`, else as the user's turn of a chat."""
        rendered = prompt if formatted else self._generator.chat([{"role": "user", "content": prompt}])
        return CompletionResponse(text=self._answers([rendered])[0])

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """`complete` as a stream of one piece."""
        response = self.complete(prompt, formatted, **kwargs)
        response.delta = response.text
        yield response

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a chat, rendered by the model's own chat template."""
        return self.chat_batch([messages])[0]

    def chat_batch(self, chats: Sequence[Sequence[ChatMessage]]) -> list[ChatResponse]:
        """The answers to several chats, in order, written side by side, with their tokens as LlamaIndex counts them."""
        turns = [[{"role": turn.role.value, "content": turn.content or ""} for turn in chat] for chat in chats]
        prompts = [self._generator.chat(each) for each in turns]
        texts = self._answers(prompts)
        counts = zip(self._generator.count(prompts), self._generator.count(texts), strict=True)
        return [
            ChatResponse(
                message=ChatMessage(role=MessageRole.ASSISTANT, content=text),
                additional_kwargs={"prompt_tokens": read, "completion_tokens": written},
            )
            for text, (read, written) in zip(texts, counts, strict=True)
        ]

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream of one piece."""
        response = self.chat(messages, **kwargs)
        response.delta = response.message.content
        yield response

    def _answers(self, rendered: Sequence[str]) -> list[str]:
        return [text.strip() for text in self._generator.generate(rendered, Sampling(self.max_new_tokens))]
