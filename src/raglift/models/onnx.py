"""A sentence-transformers model as ONNX graphs: token ids in, vectors of unit length out.

ONNX Runtime and the model's tokenizer.json serve them, without torch, transformers or sentence-transformers. Writing
needs onnx and onnxscript beside torch, and the check onnxruntime: `pip install 'raglift[onnx]'`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from raglift.artifacts import disk_errors, write_json
from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, Role, load_encoder, role_prompt
from raglift.models.onnx_graph import SAMPLES, NoGraphError, fixed_features, write_graph

SERVING = "serving.json"
CLOSE = 0.9999
"""The least cosine between a text's two vectors with which a folder is written."""
_ROLES: tuple[Role, ...] = ("query", "passage")
_BATCH = 32
_CHECKED = (*SAMPLES, "1914", "Ça coûte 5 € ou 日本語?", "A long text, word after word, is cut alike. " * 60)


class OnnxEncoder:
    """Encodes texts with the folder that `export` wrote; `raglift.models.encoder.Encoder` without torch.

    Args:
        folder: What `export` wrote.
        options: Further arguments of onnxruntime's `InferenceSession`, such as `providers`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._serving = json.loads((folder / SERVING).read_text("utf-8"))
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        options.setdefault("providers", ["CPUExecutionProvider"])
        files = {value["file"] for value in self._serving.values()}
        self._sessions = {file: onnxruntime.InferenceSession(str(folder / file), **options) for file in files}

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), L2-normalised, in the order given."""
        serving = self._serving[role]
        session = self._sessions[serving["file"]]
        found = []
        for start in range(0, len(texts), _BATCH):
            rows = self._tokenizer.encode_batch([serving["prompt"] + text for text in texts[start : start + _BATCH]])
            whole = {
                "input_ids": [row.ids for row in rows],
                "attention_mask": [row.attention_mask for row in rows],
                "token_type_ids": [row.type_ids for row in rows],
            }
            taken = {item.name: np.array(whole[item.name], dtype=np.int64) for item in session.get_inputs()}
            found.append(session.run(None, taken)[0])
        return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)


def export(model_folder: Path, target: Path) -> None:
    """Write the model in `model_folder` into the new folder `target`: whole, or not at all.

    It holds one graph for queries and passages, or one for each where the model treats them differently (a head above
    queries alone); tokenizer.json, which cuts and pads as the model does; and serving.json with file and prompt of each
    role.

    Args:
        model_folder: A plain sentence-transformers folder.

    Raises:
        UserError: The target exists, the model is no transformer with a fast tokenizer or cannot be written as a graph,
            or the graph gives other vectors (a cosine below 0.9999).
    """
    if target.exists():
        raise UserError(f"{target} is there already.", "An export does not write over anything.", "Name a new folder.")
    runtime = Runtime(torch.device("cpu"), torch.float32, 1)
    model = load_encoder(model_folder, runtime).eval()
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_errors(target.parent, "another folder"):
            partial.mkdir(parents=True)
            _write(model, model_folder, partial)
            _check(Encoder(model, runtime), partial)
            os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(model: SentenceTransformer, source: Path, folder: Path) -> None:
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise _refused(source, "It is no transformer with a fast tokenizer.")
    alike = fixed_features(model, "query") == fixed_features(model, "passage")
    file_of = {role: "model.onnx" if alike else f"{role}.onnx" for role in _ROLES}
    for file, role in {file: role for role, file in file_of.items()}.items():
        try:
            write_graph(model, role, folder / file)
        except NoGraphError as error:
            raise _refused(source, str(error)) from error
    _write_tokenizer(model, tokenizer, folder)
    write_json(folder / SERVING, {role: {"file": file_of[role], "prompt": role_prompt(model, role)} for role in _ROLES})


def _write_tokenizer(model: SentenceTransformer, tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json, which cuts and pads as the model's tokenizer does when it is told to."""
    own = Tokenizer.from_str(tokenizer.to_str())
    own.enable_truncation(model.max_seq_length or model.tokenizer.model_max_length)
    side, number, token = (getattr(model.tokenizer, name) for name in ("padding_side", "pad_token_id", "pad_token"))
    own.enable_padding(direction=side, pad_id=number, pad_token=token)
    own.save(str(folder / "tokenizer.json"))


def _check(encoder: Encoder, folder: Path) -> None:
    written = OnnxEncoder(folder)
    for role in _ROLES:
        cosines = (written.encode(_CHECKED, role) * encoder.encode(_CHECKED, role)).sum(axis=1)
        if not cosines.min() > CLOSE:
            raise UserError(
                f"The ONNX graph gives a {role} other vectors than the model.",
                f"The cosine of one of {len(_CHECKED)} texts is {cosines.min():.6f}.",
                "Other versions of onnx, onnxscript and onnxruntime may do better.",
            )


def _refused(source: Path, why: str) -> UserError:
    return UserError(f"The model in {source} cannot be written as ONNX.", why)
