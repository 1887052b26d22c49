"""A language model's yes or no as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raglift.errors import UserError
from raglift.models.chat import render_chat
from raglift.models.find import find_model
from raglift.models.llm import context_window, load_causal_lm, load_tokenizer
from raglift.training.pairs import Pair
from raglift.training.teachers._base import Classroom, Score, Teacher

_PROMPT = "Passage: {passage}\n\nQuestion: {query}\n\nDoes the passage answer the question? Reply with Yes or No."
_YES, _NO = ("Yes", " Yes", "yes", " yes"), ("No", " No", "no", " no")


class LanguageModelTeacher(Teacher):
    """How much likelier than No a language model finds Yes when it is asked whether the passage answers the question.

    The score is the difference of the logarithms of the two probabilities, each summed over the word's spellings.

    References:
        Nogueira et al. 2020, "Document Ranking with a Pretrained Sequence-to-Sequence Model" (a label's probability as
        the score); Liang et al. 2022, "Holistic Evaluation of Language Models" (asked for a yes or no).
    """

    when: ClassVar[str] = "an instruction-following language model of some size is at hand, and no cross-encoder"
    paper: ClassVar[str] = "Nogueira et al. 2020"

    model: str = Field(min_length=1, description="the language model: a known name, a folder or a Hugging Face id")
    batch_size: int = Field(default=16, ge=1, description="prompts at once")

    def depends(self) -> list[Any]:
        """The language model's weights."""
        return [find_model(self.model).revision]

    def begin(self, room: Classroom) -> Score:
        """Load the model in the run's precision."""
        path = find_model(self.model).path
        tokenizer = load_tokenizer(path)
        yes, no = (_first_tokens(tokenizer, words) for words in (_YES, _NO))
        labels = sorted(yes - no), sorted(no - yes)  # a space of its own begins both
        if not all(labels):
            raise UserError(
                f"{self.model!r} cannot teach.",
                "Its tokenizer begins 'Yes' and 'No' with one and the same token.",
                "Name another language model as the teacher, or a cross-encoder.",
            )
        window, model = context_window(path), load_causal_lm(path, room.runtime)

        def score(pairs: Sequence[Pair]) -> list[tuple[float, ...]]:
            asked = [(pair.query, text) for pair in pairs for text in (pair.passage, *pair.negatives)]
            rows = [self._encoded(tokenizer, query, passage, window) for query, passage in asked]
            scores = torch.zeros(len(rows), dtype=torch.float64)
            order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
            for start in range(0, len(order), self.batch_size):
                places = order[start : start + self.batch_size]
                logits = _next_token(model, [rows[row] for row in places], int(tokenizer.pad_token_id))
                odds = [logits[:, tokens].logsumexp(1) for tokens in labels]
                scores[places] = (odds[0] - odds[1]).double().cpu()
            found = iter(scores.tolist())
            return [tuple(next(found) for _ in range(1 + len(pair.negatives))) for pair in pairs]

        return score

    def _encoded(self, tokenizer: PreTrainedTokenizerBase, query: str, passage: str, window: int) -> list[int]:
        turns = [{"role": "user", "content": _PROMPT.format(passage=passage, query=query)}]
        ids: list[int] = tokenizer(render_chat(tokenizer, turns), add_special_tokens=False)["input_ids"]
        if len(ids) > window:
            raise UserError(
                f"{self.model!r} cannot teach.",
                f"A question with a passage takes {len(ids):,} of its tokens; it reads {window:,}.",
                "Lower corpus.chunk_tokens (or shorten those of embedding.pairs), or name one with a longer context.",
            )
        return ids


def _first_tokens(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> set[int]:
    return {int(tokenizer(word, add_special_tokens=False)["input_ids"][0]) for word in words}


def _next_token(model: PreTrainedModel, rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Logits (B, V) of the token after each row, in float32."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    with torch.inference_mode():
        found = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=1,
        )
    logits: Tensor = found.logits[:, -1].float()
    return logits


PLUGIN = LanguageModelTeacher
