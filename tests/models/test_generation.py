"""Batched generation gives what one prompt at a time gives."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.models.generation import Extract, Generator, Sampling, _dealt
from raglift.models.llm import load_causal_lm, load_tokenizer
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

FEW_SHOT = "<|im_start|>system\nAnswer the question in a few words.<|im_end|>\n<|im_start|>user\n"
PROMPTS = [
    *(f"{question}<|im_end|>\n<|im_start|>assistant\n" for question, _ in QUESTIONS),
    "Where? ",
    " ".join(SENTENCES[:4]),
    "Where? ",
]


@pytest.fixture(scope="module")
def generator(tiny_llm: Path) -> Generator:
    return Generator(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm), batch_size=4)


def one_by_one(generator: Generator, prompts: list[str], count: int) -> list[str]:
    """A plain greedy loop over logits, without padding or cache."""
    texts = []
    for prompt in prompts:
        ids = generator.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        start = len(ids)
        while len(ids) < start + count and ids[start:][-1:] != [generator.tokenizer.eos_token_id]:
            with torch.no_grad():
                ids.append(int(generator.model(torch.tensor([ids])).logits[0, -1].argmax()))
        texts.append(str(generator.tokenizer.decode(ids[start:], skip_special_tokens=True)))
    return texts


def test_padding_batches_and_the_shared_prefix_change_nothing(generator: Generator) -> None:
    expected = one_by_one(generator, [FEW_SHOT + prompt for prompt in PROMPTS], 12)
    assert len(set(expected)) > 3
    sampling = Sampling(12)
    assert generator.generate([FEW_SHOT + prompt for prompt in PROMPTS], sampling) == expected
    assert generator.generate(PROMPTS, sampling, prefix=FEW_SHOT) == expected
    assert generator.generate(PROMPTS, sampling, prefix=FEW_SHOT) == expected  # from the kept cache


def test_another_prefix_is_not_served_from_the_kept_one(generator: Generator) -> None:
    other = "<|im_start|>system\nWhat closes the mountain pass?<|im_end|>\n"
    first = generator.generate(PROMPTS, Sampling(8), prefix=FEW_SHOT)
    second = generator.generate(PROMPTS, Sampling(8), prefix=other)
    assert second == generator.generate([other + prompt for prompt in PROMPTS], Sampling(8))
    assert first != second
    assert generator.generate(PROMPTS, Sampling(8), prefix=FEW_SHOT) == first


@settings(max_examples=10)
@given(order=st.permutations(range(len(PROMPTS))), size=st.integers(1, 6))
def test_order_and_batch_size_do_not_matter(generator: Generator, order: list[int], size: int) -> None:
    expected = generator.generate(PROMPTS, Sampling(6))
    other = Generator(generator.model, generator.tokenizer, size)
    assert other.generate([PROMPTS[row] for row in order], Sampling(6)) == [expected[row] for row in order]


@given(st.lists(st.integers(1, 99), max_size=40), st.integers(1, 9), st.integers(1, 4))
def test_lanes_get_batches_that_are_alike(lengths: list[int], size: int, lanes: int) -> None:
    lengths.sort(reverse=True)
    batches = _dealt(range(len(lengths)), size, lanes)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    for start in range(0, len(batches), lanes):
        together = batches[start : start + lanes]
        assert max(map(len, together)) - min(map(len, together)) <= 1
        for first, second in pairwise(together):
            assert all(lengths[a] >= lengths[b] for a, b in zip(first, second, strict=False))


def test_nothing_in_nothing_out(generator: Generator) -> None:
    assert generator.generate([], Sampling(4)) == []


def test_progress_counts_every_prompt(generator: Generator) -> None:
    counts: list[int] = []
    generator.generate(PROMPTS, Sampling(2), advance=counts.append)
    assert counts == [4, 4, 3]


def test_a_line_stops_at_its_end(generator: Generator, tiny_llm: Path) -> None:
    """A model that writes line ends: its output layer is bent toward them."""
    generator_with_lines = Generator(load_causal_lm(tiny_llm, RUNTIME), generator.tokenizer)
    written: list[int] = []
    line_end = generator.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]

    def bend(_: object, arguments: object, output: object) -> object:
        logits = output.logits  # type: ignore[attr-defined]
        written.append(1)
        if len(written) > 3:
            logits[..., line_end] += 1000
        return output

    handle = generator_with_lines.model.register_forward_hook(bend)
    whole = generator_with_lines.generate(PROMPTS[:1], Sampling(12))[0]
    written.clear()
    line = generator_with_lines.generate(PROMPTS[:1], Sampling(12, line=True))[0]
    handle.remove()
    assert whole.split("\n")[0] == line != ""
    assert whole.count("\n") == 9
    assert len(written) == 4  # it did not write on past the line


def test_sampling_repeats_itself_by_seed(generator: Generator) -> None:
    found = [generator.generate(PROMPTS, Sampling(8, temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert found[0] != generator.generate(PROMPTS, Sampling(8))


@pytest.mark.parametrize("prefix", ["", FEW_SHOT])
def test_an_extract_is_a_run_of_the_texts_words(generator: Generator, prefix: str) -> None:
    sources = [Extract(SENTENCES[row % len(SENTENCES)]) for row in range(len(PROMPTS))]
    found = generator.generate(PROMPTS, Sampling(10, line=True), prefix=prefix, extract_from=sources)
    for text, source in zip(found, sources, strict=True):
        assert text.strip()
        assert re.search(rf"(?<!\S){re.escape(text.strip())}", source.text), (text, source.text)


def test_an_extract_does_not_begin_with_what_is_to_be_avoided(generator: Generator) -> None:
    words = SENTENCES[0].lower().replace(".", "").split()
    for kept in ("keeper", "blue", "ship"):
        source = Extract(SENTENCES[0], frozenset(words) - {kept})
        found = generator.generate(PROMPTS[:2], Sampling(10, line=True), extract_from=[source, source])
        assert all(text.strip().startswith(kept) for text in found)


def test_the_chat_ends_where_the_answer_begins(generator: Generator) -> None:
    text = generator.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
