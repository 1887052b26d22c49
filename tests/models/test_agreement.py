"""The decode loop writes what transformers' `generate` writes, for every kind of model, and scores what it computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CodeGenConfig,
    CodeGenForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from raglift.errors import UserError
from raglift.models import rows as rows_module
from raglift.models.extraction import SpanConstraint
from raglift.models.find import find_model
from raglift.models.generation import Extract, Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, chat_tokenizer

HEAD = "<|im_start|>user\nAnswer the question in a few words, taken from the passages."
PROMPTS = [f"\n\nText: {text}\nQuestion: {asked}" for text, (asked, _) in zip(SENTENCES, QUESTIONS, strict=False)] + [
    " a"
]
VOCABULARY = len(chat_tokenizer())
SIZES: dict[str, Any] = {"vocab_size": VOCABULARY, "initializer_range": 0.2, "eos_token_id": 2, "pad_token_id": 2}
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS: dict[str, tuple[Callable[[], PreTrainedModel], bool]] = {
    "llama": (lambda: LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **LLAMA, **SIZES)), True),
    "gpt2": (lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, **SIZES)), True),
    "mistral with a window": (
        lambda: MistralForCausalLM(MistralConfig(num_key_value_heads=2, sliding_window=24, **LLAMA, **SIZES)),
        False,
    ),
    "bloom, by distance": (lambda: BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=2, n_head=4, **SIZES)), False),
    "codegen, without the interface": (
        lambda: CodeGenForCausalLM(CodeGenConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=4, **SIZES)),
        False,
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def generator(request: pytest.FixtureRequest) -> Generator:
    build, shared = MODELS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = build().eval()  # type: ignore[no-untyped-call]
    generator = Generator(model, chat_tokenizer(), batch_size=4)
    assert generator.prefixes.shared == shared
    return generator


def by_transformers(generator: Generator, prompt: str, **options: Any) -> list[int]:
    ids = torch.tensor([generator.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    output = generator.model.generate(  # type: ignore[operator]
        ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=2, **options
    )
    found: list[int] = output[0, ids.shape[1] :].tolist()
    return found


def text_of(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def test_greedy_is_what_transformers_writes(generator: Generator) -> None:
    for head in ("", HEAD):
        expected = [
            text_of(generator.tokenizer, by_transformers(generator, head + prompt, max_new_tokens=14))
            for prompt in PROMPTS
        ]
        assert generator.generate(PROMPTS, Sampling(14), prefix=head) == expected
        assert generator.generate(PROMPTS, Sampling(14), prefix=head) == expected
    assert len(set(expected)) > 3


def test_an_extract_is_what_transformers_writes_under_the_constraint(generator: Generator) -> None:
    sources = [Extract(SENTENCES[row % 3]) for row in range(len(PROMPTS))]
    found = generator.generate(PROMPTS, Sampling(9, line=True), prefix=HEAD, extract_from=sources)
    end = generator.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
    for prompt, source, text in zip(PROMPTS, sources, found, strict=True):
        spans = SpanConstraint(generator.tokenizer, [source.text], [source.avoid], end, 8)
        start = len(generator.tokenizer(HEAD + prompt, add_special_tokens=False)["input_ids"])
        expected = by_transformers(
            generator,
            HEAD + prompt,
            max_new_tokens=9,
            eos_token_id=[2, end],
            prefix_allowed_tokens_fn=lambda _, ids, spans=spans, start=start: spans.allowed(0, ids[start:].tolist()),
        )
        assert text == text_of(generator.tokenizer, expected).split("\n")[0] != ""


@settings(max_examples=8)
@given(order=st.permutations(range(len(PROMPTS))), size=st.integers(1, 5), samples=st.integers(1, 3))
def test_a_sample_does_not_depend_on_its_neighbours(
    generator: Generator, order: list[int], size: int, samples: int
) -> None:
    sampling = Sampling(8, temperature=1.5, seed=4)
    alone = [generator.generate_samples([PROMPTS[row]], sampling, 3, prefix=HEAD)[0] for row in order]
    other = Generator(generator.model, generator.tokenizer, size)
    found = other.generate_samples([PROMPTS[row] for row in order], sampling, samples, prefix=HEAD)
    for row, one in zip(found, alone, strict=True):
        assert [sample.text for sample in row] == [sample.text for sample in one[:samples]]
        for sample, same in zip(row, one, strict=False):
            assert math.isclose(sample.log_probability, same.log_probability, abs_tol=1e-3)


def test_samples_differ_and_the_first_is_that_of_generate(generator: Generator) -> None:
    sampling = Sampling(12, temperature=1.0, seed=1)
    drawn = generator.generate_samples([*PROMPTS, PROMPTS[0]], sampling, 4, prefix=HEAD)
    found = [[sample.text for sample in samples] for samples in drawn]
    assert [texts[0] for texts in found] == generator.generate([*PROMPTS, PROMPTS[0]], sampling, prefix=HEAD)
    assert all(len(set(texts)) > 1 for texts in found)
    assert found[0] != found[-1]  # the same prompt asked again is another draw


def test_a_sample_knows_how_likely_it_was(generator: Generator) -> None:
    drawn = generator.generate_samples(PROMPTS, Sampling(1, temperature=1.0, seed=1), 5, prefix=HEAD)
    rows = [(prompt, one) for prompt, samples in zip(PROMPTS, drawn, strict=True) for one in samples]
    scores = generator.score([prompt for prompt, _ in rows], [one.text for _, one in rows], prefix=HEAD)
    whole = [
        (one, score) for (_, one), score in zip(rows, scores, strict=True) if score.tokens == 1 and one.text != "\n"
    ]
    assert len(whole) > 5  # the others are bytes that are no text of their own
    for one, score in whole:
        assert score.mean_log_probability is not None
        assert math.isclose(one.log_probability, score.mean_log_probability, abs_tol=1e-3)


def test_a_text_ends_with_what_it_is_written_until(generator: Generator) -> None:
    drawn = generator.generate_samples(PROMPTS, Sampling(12, temperature=1.0, seed=1, until="e"), 3, prefix=HEAD)
    texts = [one.text for samples in drawn for one in samples]
    assert any("e" in text for text in texts)
    assert all(text.find("e") in (-1, len(text) - 1) for text in texts)


def test_cold_and_narrow_samples_are_greedy(generator: Generator) -> None:
    expected = generator.generate(PROMPTS, Sampling(8))
    assert generator.generate(PROMPTS, Sampling(8, temperature=1e-4)) == expected
    assert generator.generate(PROMPTS, Sampling(8, temperature=1.0, top_p=1e-6)) == expected


def test_scores_are_those_of_a_plain_forward_pass(generator: Generator) -> None:
    continuations = [answer * (1 + row % 2) for row, (_, answer) in enumerate(QUESTIONS)] + [""]
    for head in ("", HEAD):
        counts: list[int] = []
        found = generator.score(PROMPTS, continuations, prefix=head, advance=counts.append)
        assert sum(counts) == len(PROMPTS)
        assert (found[-1].mean_log_probability, found[-1].tokens) == (None, 0)
        for prompt, continuation, score in zip(PROMPTS[:-1], continuations, found, strict=False):
            read = generator.tokenizer(head + prompt, add_special_tokens=False)["input_ids"]
            tokens = generator.tokenizer(continuation, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logs = generator.model(torch.tensor([read + tokens])).logits[0].log_softmax(-1)
            mean = sum(float(logs[len(read) - 1 + at, token]) for at, token in enumerate(tokens)) / len(tokens)
            assert score.tokens == len(tokens)
            assert score.mean_log_probability is not None
            assert math.isclose(score.mean_log_probability, mean, abs_tol=1e-4)


def test_a_prompt_may_be_empty_where_there_is_a_prefix(generator: Generator) -> None:
    expected = generator.generate([HEAD, HEAD + PROMPTS[0]], Sampling(8))
    assert generator.generate(["", PROMPTS[0]], Sampling(8), prefix=HEAD) == expected
    with pytest.raises(UserError, match="empty prompt"):
        generator.generate(["", "a"], Sampling(8))
    with pytest.raises(UserError, match="temperature 0"):
        generator.generate_samples(["a"], Sampling(8), 2)


def test_the_real_model_writes_what_transformers_writes() -> None:
    path = find_model("SmolLM2-135M-Instruct").path
    generator = Generator(load_causal_lm(path, RUNTIME), load_tokenizer(path))
    assert generator.prefixes.shared
    prompts = [f"\n\nText: {text}\nQuestion:" for text in SENTENCES[:3]]
    head = f"After each text stands a question.\n\nText: {SENTENCES[3]}\nQuestion: {QUESTIONS[3][0]}"
    expected = [
        text_of(generator.tokenizer, by_transformers(generator, head + prompt, max_new_tokens=10)) for prompt in prompts
    ]
    assert generator.generate(prompts, Sampling(10), prefix=head) == expected
    assert generator.generate([head + prompt for prompt in prompts], Sampling(10)) == expected


def test_attention_is_the_models_own_again_afterwards(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    before = model.config._attn_implementation
    Generator(model, load_tokenizer(tiny_llm)).generate(PROMPTS, Sampling(2), prefix=HEAD)
    assert model.config._attn_implementation == before != "raglift_shared_prefix"


def test_rows_that_are_read_in_several_passes_are_scored_as_in_one(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    continuations = [" ".join(["the old keeper writes"] * (2 + 3 * row)) for row in range(len(PROMPTS))]
    expected = generator.score(PROMPTS, continuations, prefix=HEAD)
    monkeypatch.setattr(rows_module, "_SLICE_TOKENS", {"cpu": 8})
    found = generator.score(PROMPTS, continuations, prefix=HEAD)
    assert [x.mean_log_probability for x in found] == pytest.approx([x.mean_log_probability for x in expected], 1e-4)
