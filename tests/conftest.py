"""What all tests share: one thread, and tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from raglift.records import Target

settings.register_profile("raglift", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("raglift")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A run sets its own number of threads, and the batches of the next test would hang on it."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with SmolLM2's chat template, as a transformers folder."""
    from tests.tiny import build_llm

    return build_llm(tmp_path_factory.mktemp("tiny") / "llm")


@pytest.fixture(scope="session")
def tiny_embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT as a sentence-transformers folder."""
    from tests.tiny import build_embedding

    return build_embedding(tmp_path_factory.mktemp("tiny") / "embedding")


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that scores pairs of texts, as a sentence-transformers CrossEncoder folder."""
    from tests.tiny import build_cross_encoder

    return build_cross_encoder(tmp_path_factory.mktemp("tiny") / "cross_encoder")


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path, tiny_cross_encoder: Path) -> dict[Target, Path]:
    """Target -> folder of its tiny model."""
    return {"embedding": tiny_embedding, "llm": tiny_llm, "rerank": tiny_cross_encoder}
