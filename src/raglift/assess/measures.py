"""What is measured: the metrics of a config that can be had here, and the model behind semantic similarity."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raglift.config import EvaluationConfig, RuntimeConfig
from raglift.errors import UserError
from raglift.evaluation.prices import Rates
from raglift.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raglift.models.encoder import Encoder

_NEEDS_MODEL = "semantic_similarity"


class Measures:
    """The metrics, and vectors of texts from a model that is loaded when the first text needs it.

    Where the config does not ask for semantic similarity in so many words and its model is not installed, the metric
    is left out with a warning; where it does, that is an error.

    Args:
        answers: Whether there are answers to be scored.

    Attributes:
        retrieval: Names of retrieval metrics.
        response: Names of response metrics.
        resamples: Behind every interval and p-value.
        rates: What tokens cost.

    Raises:
        UserError: The similarity model is asked for and is not here.
    """

    def __init__(self, settings: EvaluationConfig, answers: bool, display: Progress) -> None:
        self.retrieval, self.response = list(settings.retrieval), list(settings.response)
        self.resamples = settings.resamples
        self.rates = Rates(settings.price_in, settings.price_out)
        self._model = settings.similarity_model
        if not answers or _NEEDS_MODEL not in self.response:
            return
        from raglift.models.find import find_model

        try:
            find_model(self._model)
        except UserError as error:
            if "response" in settings.model_fields_set:
                raise
            self.response.remove(_NEEDS_MODEL)
            display.warn(f"{_NEEDS_MODEL} is left out. {error.what}")

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """n texts -> (n, d) L2-normalised rows."""
        return self._encoder.encode(texts, "passage")

    @cached_property
    def _encoder(self) -> Encoder:
        from raglift.models.device import resolve
        from raglift.models.encoder import Encoder, load_encoder
        from raglift.models.find import find_model

        # The same number format everywhere: a probe would need a folder to keep its answer in.
        runtime = resolve(RuntimeConfig(dtype="float32"), Path())
        return Encoder(load_encoder(find_model(self._model).path, runtime), runtime)
