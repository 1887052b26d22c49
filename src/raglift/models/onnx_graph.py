"""A sentence-transformers model as one ONNX graph: token ids in, vectors of unit length out.

Writing needs onnx and onnxscript beside torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from raglift.models.encoder import Role, features

SAMPLES = ("Where does the keeper write?", "The keeper writes the name of every ship into a book, and the hour too.")
"""Two texts of different lengths, by which a model is traced."""
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


class NoGraphError(Exception):
    """The model cannot be written as a graph; the message is one line that says why."""


class _Graph(nn.Module):
    """The model as a function of its tensors alone; all else that it goes by (a head's task) is fixed."""

    def __init__(self, model: SentenceTransformer, fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.fixed = dict(fixed)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **self.fixed}
        if token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        return nn.functional.normalize(self.model(given)["sentence_embedding"], dim=-1)


def write_graph(model: SentenceTransformer, role: Role, file: Path) -> None:
    """Write the graph of a float32 model for texts in a role: any number of texts and tokens.

    Its inputs are `input_ids`, `attention_mask` and, where the model has them, `token_type_ids`, each int64 of shape
    (texts, tokens); its output is `sentence_embedding`, float32 of shape (texts, dimension), of unit length.

    Raises:
        NoGraphError: The model is no transformer, or torch's exporter cannot write it.
    """
    tensors, fixed = _taken(model, role)
    if not {"input_ids", "attention_mask"} <= set(tensors) <= _INPUTS:
        raise NoGraphError("It is no transformer that takes token ids and an attention mask alone.")
    try:
        with _quiet():
            program = torch.onnx.export(
                _Graph(model, fixed).eval(),
                kwargs=tensors,
                output_names=["sentence_embedding"],
                dynamic_shapes={name: {0: "texts", 1: "tokens"} for name in tensors},
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise NoGraphError(str(error).strip().partition("\n")[0]) from error
    assert program is not None  # without a file, it is returned
    program.save(str(file))


def fixed_features(model: SentenceTransformer, role: Role) -> dict[str, Any]:
    """What the model goes by for texts in a role beside their tensors: roles that have the same share a graph."""
    return _taken(model, role)[1]


def _taken(model: SentenceTransformer, role: Role) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What the model takes for two texts in a role: tensors, and all else."""
    whole = features(model, list(SAMPLES), role)
    tensors = {name: value for name, value in whole.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in whole.items() if name not in tensors}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notices about libraries and names that no user could change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
