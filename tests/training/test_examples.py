"""Exactly the answer and the end of the turn are learned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from raglift.models.llm import load_tokenizer
from raglift.training.examples import Example, ExampleBatches, encode
from raglift.training.objectives.answer_only import IGNORED
from tests import tasks
from tests.tiny import QUESTIONS, chat_tokenizer

DEVICE = torch.device("cpu")
TOKENIZER = chat_tokenizer()


@pytest.fixture(scope="module")
def tokenizer(tiny_llm: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_llm)


def test_what_learns_reads_as_the_answer_and_the_end_of_turn(
    tokenizer: PreTrainedTokenizerBase, tiny_llm: Path
) -> None:
    examples = tasks.examples(tasks.chat_renderer(tiny_llm))
    batches = ExampleBatches(examples, tokenizer, DEVICE, 3, seed=0)
    found = []
    for index in range(len(batches)):
        batch = batches.batch(0, index)
        for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            learned = labels != IGNORED
            assert torch.equal(labels[learned], ids[learned])
            assert bool(mask[learned].all())
            first = int(learned.nonzero()[0])
            assert bool(learned[first:].all())  # one run, up to the last position
            read = ids[mask.bool() & ~learned]
            found.append((str(tokenizer.decode(read)), str(tokenizer.decode(labels[learned]))))
    assert sorted(found) == sorted((example.prompt, example.answer + "<|im_end|>") for example in examples)
    assert {answer for _, answer in QUESTIONS} == {answer.removesuffix("<|im_end|>") for _, answer in found}


@given(st.text(max_size=40), st.text(max_size=20))
def test_prompt_and_answer_are_encoded_apart(prompt: str, answer: str) -> None:
    ids, labels = encode(Example(prompt, answer), TOKENIZER)
    learned = [label for label in labels if label != IGNORED]
    assert len(ids) == len(labels)
    assert ids[: len(ids) - len(learned)] == TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    assert learned == [*TOKENIZER(answer, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id]
    assert ids[len(ids) - len(learned) :] == learned


@given(st.lists(st.integers(0, 40), min_size=1, max_size=50), st.integers(1, 7), st.integers(0, 3))
def test_every_example_is_seen_once_an_epoch(lengths: list[int], size: int, epoch: int) -> None:
    examples = [Example("a" * length, f"{row}") for row, length in enumerate(lengths)]
    batches = ExampleBatches(examples, TOKENIZER, DEVICE, size, seed=1)
    seen: Counter[str] = Counter()
    for index in range(len(batches)):
        labels = batches.batch(epoch, index)["labels"]
        assert len(labels) <= size
        seen.update(str(TOKENIZER.decode(row[row != IGNORED], skip_special_tokens=True)) for row in labels)
    assert seen == Counter(str(row) for row in range(len(lengths)))


def test_rows_of_a_batch_are_of_like_length_and_padded_on_the_left(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = [Example("x " * (row % 40 + 1), "yes") for row in range(64)]
    batches = ExampleBatches(examples, tokenizer, DEVICE, 8, seed=0)
    padded = total = 0
    for index in range(len(batches)):
        batch = batches.batch(0, index)
        mask = batch["attention_mask"]
        assert bool((mask[:, 1:] >= mask[:, :-1]).all())
        assert bool((batch["input_ids"][mask == 0] == tokenizer.pad_token_id).all())
        padded += int((mask == 0).sum())
        total += mask.numel()
    assert padded / total < 0.15


def test_epochs_differ_and_repeat_themselves(tokenizer: PreTrainedTokenizerBase, tiny_llm: Path) -> None:
    examples = tasks.examples(tasks.chat_renderer(tiny_llm))
    one, two = (ExampleBatches(examples, tokenizer, DEVICE, 2, seed=4) for _ in range(2))
    assert torch.equal(one.batch(3, 1)["input_ids"], two.batch(3, 1)["input_ids"])
    order = [[one.batch(epoch, index)["labels"].tolist() for index in range(len(one))] for epoch in (0, 1)]
    assert order[0] != order[1]
