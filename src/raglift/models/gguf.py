"""A GGUF file as a plain transformers folder of safetensors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from raglift.artifacts import disk_errors
from raglift.models import quiet as quiet


def convert(gguf: Path, target: Path) -> None:
    """Write `gguf`, dequantised to float32, into the folder `target`: whole, or not at all.

    One process at a time may call it for one target: what an interrupted call left beside it is thrown away.

    The quantisation settings are dropped and the weights loaded into a fresh model, because a model that was loaded
    from a GGUF otherwise refuses to be saved.

    Raises:
        UserError: The disk is full or may not be written.
    """
    folder, name = str(gguf.parent), gguf.name
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_errors(target.parent, "another cache with RAGLIFT_CACHE"):
            plain.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # half a model fills the disk for nothing
        raise
