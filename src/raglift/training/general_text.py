"""Text outside the training's own questions: the user's, or what the base language model writes by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.models.encoder import role_prompt
from raglift.models.flattened import part_of, rows_of
from raglift.models.llm import load_tokenizer
from raglift.training.fisher import drawn
from raglift.training.lists import Lists, lists_of
from raglift.training.study import Study

_GROUP = 8
"""Texts among which a query chooses: every query is differentiated through all of them."""


def written_by(model: nn.Module, count: int, length: int, generator: torch.Generator) -> list[Tensor]:
    """Texts that a language model writes from its start token on, drawn from its own distribution at temperature 1.

    Not `generate`: that takes no generator, and follows what the model's generation config says about sampling.

    Args:
        count: Texts, written side by side.
        length: Tokens of a text at most; it ends after its end token.

    Returns:
        Token ids, each of shape (1, length).

    Raises:
        UserError: The model has no start token.
    """
    config: Any = model.config
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    start = config.bos_token_id if config.bos_token_id is not None else ends[0]
    if start is None:
        raise UserError(
            "The base language model cannot write general text by itself.",
            "Its config names neither a start token nor an end token to begin with.",
            "Name a text file of your own: elastic_weights: {text: general.txt}.",
        )
    device = next(model.parameters()).device
    ids = torch.full((count, 1), int(start), device=device)
    cache = None
    with torch.no_grad():
        while ids.shape[1] < length:
            output = model(input_ids=ids[:, -1:], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            ids = torch.cat([ids, drawn(torch.log_softmax(output.logits[:, -1].float(), dim=-1), generator)], dim=1)
    return [_up_to_end(row, ends) for row in ids]


def _up_to_end(row: Tensor, ends: list[int | None]) -> Tensor:
    found = [place for place, token in enumerate(row.tolist()) if place and token in ends]
    return row[None, : found[0] + 1 if found else None]


def token_windows(model: nn.Module, text: str, count: int, length: int, seed: int) -> list[Tensor]:
    """Runs of `length` tokens of the user's text, `count` of them drawn without repeats; token ids (1, length)."""
    tokenizer = load_tokenizer(Path(str(getattr(model, "name_or_path", ""))))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    runs = [ids[start : start + length] for start in range(0, len(ids), length)]
    device = next(model.parameters()).device
    return [torch.tensor([run], device=device) for run in _some(runs, count, seed)]


def word_windows(model: nn.Module, text: str, count: int, length: int, seed: int) -> Iterator[tuple[Any, None]]:
    """Groups of runs of `length` words of the user's text, as features of passages; `count` runs in all."""
    assert isinstance(model, SentenceTransformer)
    for group in _groups(text, count, length, seed):
        features = model.preprocess(group, prompt=role_prompt(model, "passage") or None)
        yield (
            {key: value.to(model.device) if isinstance(value, Tensor) else value for key, value in features.items()},
            None,
        )


def word_lists(model: nn.Module, text: str, count: int, length: int, seed: int) -> Iterator[Lists]:
    """As `word_windows` for a cross-encoder: lists in which a run is the question and the others are its passages."""
    assert isinstance(model, CrossEncoder)
    for group in _groups(text, count, length, seed):
        for place, run in enumerate(group):
            others = group[:place] + group[place + 1 :]
            yield lists_of(model, [(run, others, [0.0] * len(others))])


def _groups(text: str, count: int, length: int, seed: int) -> list[list[str]]:
    """`count` runs of `length` words in groups of about `_GROUP`."""
    words = text.split()
    runs = [" ".join(words[start : start + length]) for start in range(0, len(words), length)]
    chosen = _some(runs, count, seed)
    if len(chosen) < 3:  # a text that can only ask for one other has nothing to choose
        raise UserError(
            f"The general text is too short: {len(words)} words.",
            f"At least three passages of {length} words are needed to tell apart.",
            "Name a longer file in elastic_weights' setting text, or lower its setting length.",
        )
    groups = max(1, len(chosen) // _GROUP)
    return [chosen[place::groups] for place in range(groups)]


def training_lists(study: Study, count: int) -> Iterator[Lists]:
    """The training's own lists, `count` of them or a few more where there are as many."""
    found = 0
    for index in range(len(study.batches)):
        if found >= count:
            return
        batch: Lists = study.batches.batch(0, index)
        found += int(batch.owners.max()) + 1
        yield batch


def _some(runs: list[Any], count: int, seed: int) -> list[Any]:
    return random.Random(seed).sample(runs, min(count, len(runs)))


def training_groups(study: Study, count: int) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Queries and passages of the training pairs in small groups, `count` queries in all where there are as many."""
    left = count
    for index in range(len(study.batches)):
        if left < 2:  # with one passage there is nothing to choose
            return
        queries, passages = study.batches.batch(0, index)[:2]
        rows = rows_of(queries)
        for start in range(0, rows, _GROUP):
            kept = slice(start, min(start + _GROUP, rows, start + left))
            if kept.stop - start > 1:
                left -= kept.stop - start
                yield part_of(queries, kept), part_of(passages, kept)
