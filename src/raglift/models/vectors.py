"""An embedding whose texts are looked up: every text is encoded once, whoever asks for it how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import InputModule

from raglift.models.head import QUERY

if TYPE_CHECKING:
    from raglift.models.encoder import Role

Encode = Callable[[Sequence[str], "Role"], NDArray[np.float32]]


class Vectors(InputModule):
    """Stands for all of an embedding model that is frozen, as the first module of a sentence-transformers model.

    Args:
        encode: Vectors of texts in a role, shape (texts, dimension); asked once for each text and role.
        dimension: Width of a vector.

    Example:
        >>> short = SentenceTransformer(modules=[Vectors(encoder.encode, encoder.dimension)])
        >>> short.encode_query("How do I stop a loop early?")
    """

    def __init__(self, encode: Encode, dimension: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._encode = encode
        self._dimension = dimension
        self._rows: dict[tuple[Role, str], int] = {}
        self._table = np.zeros((0, dimension), dtype=np.float32)
        self.register_buffer("_place", torch.empty(0), persistent=False)  # knows the model's device and precision

    def __deepcopy__(self, memo: dict[int, Any]) -> Vectors:
        """A copy looks up in the same embedding, which may be large, or a client that cannot be copied."""
        made = Vectors(self._encode, self._dimension)
        place: Any = self._place
        made._rows, made._table = dict(self._rows), self._table
        return made.to(place.device, place.dtype).train(self.training)

    def get_embedding_dimension(self) -> int:
        """Width of a vector."""
        return self._dimension

    def preprocess(  # type: ignore[override]
        self, inputs: Sequence[str], prompt: str | None = None, task: str | None = None, **_: Any
    ) -> dict[str, Any]:
        """`vectors` of the texts, (B, dimension), and `task`; without one, the texts are passages.

        The role decides the prompt where the texts are encoded; `prompt` is the same one and not put before them twice.
        """
        role: Role = "query" if task == QUERY else "passage"
        new = [text for text in dict.fromkeys(inputs) if (role, text) not in self._rows]
        if new:
            known, self._table = len(self._table), np.concatenate([self._table, self._encode(new, role)])
            self._rows |= {(role, text): known + place for place, text in enumerate(new)}
        rows = [self._rows[role, text] for text in inputs]
        return {"vectors": torch.from_numpy(self._table[rows]), "task": task}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The looked-up vectors as the sentence's; the same again where a batch is passed twice."""
        place: Any = self._place
        features["sentence_embedding"] = features["vectors"].to(place.device, place.dtype)
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Never: it stands for a model, which is saved instead.

        Raises:
            TypeError: Always.
        """
        raise TypeError("looked-up vectors cannot be saved; save the model that they stand for")
