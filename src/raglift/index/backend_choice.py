"""The choice of a backend: one that is named and agrees with float32, or the fastest that does.

Backends are compared on a sample of the passages themselves: their vectors with those of torch in float32, and for
"auto" their texts a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from raglift import plugins
from raglift.artifacts import WORK
from raglift.errors import UserError
from raglift.index.agreement import NEAREST, Agreement, agreement
from raglift.index.backend import (
    AUTO,
    FILE,
    GRAPHS,
    KIND,
    TORCH,
    Choice,
    Measured,
    Passages,
    backend_named,
    read_choice,
    source_of,
    write_choice,
)
from raglift.index.encoding import Source
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder

SAMPLE = 256
"""Passages on which backends are compared."""
PROBED_FROM = 4096
"""Passages that have to be encoded for "auto" to compare: it encodes the sample with every backend, and with fewer
passages that takes longer than what the fastest of them saves."""
LEAST_COSINE = 0.99
"""The least mean cosine with float32's vectors."""
LEAST_NEIGHBOURS = {AUTO: 0.95, "named": 0.9}
"""The least share of the nearest ten that must be those of float32. Who names a backend may trade more of them for
time: with MiniLM 0.934 (onnx_int8) came with 0.005 less of nDCG@10, 0.977 (openvino_int8) with nothing less."""
_WARM = 16
"""Texts that are encoded before time is taken."""


def chosen_source(name: str, texts: Sequence[str], passages: Passages, job: Job) -> Source:
    """What gives the texts their vectors: by the backend `name` or, for "auto", by the one that is taken.

    The choice is written as backend.json into the job's folder, and into its work, where the next attempt finds it.

    Raises:
        UserError: The backend that is named is not installed, cannot compute the model, or agrees too little with
            float32.
    """
    work = job.out / WORK
    choice = read_choice(work) if (work / FILE).exists() else _choose(name, texts, passages, job)
    for folder in (work, job.out):
        write_choice(folder, choice)
    return source_of(choice, texts, passages, work / GRAPHS)


def _choose(name: str, texts: Sequence[str], passages: Passages, job: Job) -> Choice:
    if name == AUTO:
        why = _why_torch(texts, passages)
        if not why:
            return _Comparison(texts, passages, job).fastest()
        job.display.say(f"  {TORCH} encodes the passages: {why}")
        return Choice(TORCH, why)
    if name == TORCH or not passages.cache(backend_named(name)).unknown(texts):
        return Choice(name, "named")
    return _Comparison(texts, passages, job).named(name)


def _why_torch(texts: Sequence[str], passages: Passages) -> str:
    """Why "auto" is torch without a comparison; empty where it has to compare."""
    count = len(set(texts))  # known vectors too: what is taken must not hang on what earlier runs left
    if count < PROBED_FROM:
        return f"{count:,} are too few for a comparison to pay"
    return "" if any(_runs(name, passages.runtime) for name in _others()) else "no other backend runs here"


def _others() -> list[str]:
    return [name for name in plugins.names(KIND) if name != TORCH]


def _runs(name: str, runtime: Runtime) -> bool:
    try:
        backend_named(name).check(runtime)
    except UserError:
        return False
    return True


class _Comparison:
    """Backends on one sample of the passages.

    The same passages have the same sample, whatever their order and the run's seed, which are not in an index's key.
    """

    def __init__(self, texts: Sequence[str], passages: Passages, job: Job) -> None:
        distinct = sorted(set(texts))
        self._sample = random.Random(0).sample(distinct, min(SAMPLE, len(distinct)))
        self._passages = passages
        self._graphs = job.out / WORK / GRAPHS
        self._display = job.display
        self._reference: tuple[NDArray[np.float32], float] | None = None

    def named(self, name: str) -> Choice:
        """The backend of that name, if it agrees with float32.

        Raises:
            UserError: It cannot run, cannot compute the model, or agrees too little.
        """
        backend_named(name).check(self._passages.runtime)
        with self._display.stage(f"comparing {name} with float32", 2 * len(self._sample), "passages") as bar:
            found = self._measured(name, LEAST_NEIGHBOURS["named"], bar.advance)
        if found.refused:
            raise UserError(
                f"The encoding backend {name!r} agrees too little with float32.",
                f"On {len(self._sample)} of the passages {found.refused}.",
                "Set index.backend to 'torch', or to 'auto', which takes none that agrees too little.",
            )
        # A time is never the same twice, and what is named is not chosen by it.
        return self._said(Choice(name, "named", len(self._sample), (replace(found, texts_per_second=None),)))

    def fastest(self) -> Choice:
        """The fastest that is installed, computes the model and agrees with float32; torch is always one of them."""
        names = [TORCH, *_others()]
        passes = sum(_runs(name, self._passages.runtime) for name in names) + (not self._in_float32)
        measured = []
        with self._display.stage("comparing encoding backends", passes * len(self._sample), "passages") as bar:
            for name in names:
                try:
                    backend_named(name).check(self._passages.runtime)
                    measured.append(self._measured(name, LEAST_NEIGHBOURS[AUTO], bar.advance))
                except UserError as error:
                    measured.append(Measured(name, None, None, error.what))
        taken = [row for row in measured if not row.refused]
        best = max(taken, key=lambda row: row.texts_per_second or 0.0)
        return self._said(Choice(best.backend, "the fastest that agrees", len(self._sample), tuple(measured)))

    def _said(self, choice: Choice) -> Choice:
        found = next(each.agreement for each in choice.measured if each.backend == choice.backend)
        agrees = f": compared with float32 {_figures(found)}" if found else ""
        rates = [f"{row.backend} {row.texts_per_second:,.1f}" for row in choice.measured if row.texts_per_second]
        speed = f" ({', '.join(rates)} passages a second)" if rates else ""
        self._display.say(f"  {choice.backend} encodes the passages{speed}{agrees}")
        return choice

    def _measured(self, name: str, neighbours: float, advance: Callable[[int], None]) -> Measured:
        exact, rate = self._exact(advance)
        vectors = exact
        if name != TORCH:
            encoder = backend_named(name).open(self._full, self._graphs, self._passages.runtime)
            vectors, rate = timed(encoder, self._sample, advance)
        elif not self._in_float32:
            vectors, rate = timed(self._passages.encoder, self._sample, advance)
        found = agreement(vectors, exact)
        # Torch's precision is the run's own, in which the questions are encoded too.
        return Measured(name, round(rate, 1), found, "" if name == TORCH else _refusal(found, neighbours))

    @property
    def _in_float32(self) -> bool:
        return self._passages.runtime.dtype == torch.float32

    @cached_property
    def _full(self) -> SentenceTransformer:
        return self._passages.full()

    def _exact(self, advance: Callable[[int], None]) -> tuple[NDArray[np.float32], float]:
        """The sample's vectors by torch in float32, and texts a second; computed by the first call."""
        if self._reference is None:
            runtime = replace(self._passages.runtime, dtype=torch.float32)
            self._reference = timed(Encoder(self._full, runtime), self._sample, advance)
        return self._reference


def timed(
    encoder: Encoder, texts: Sequence[str], advance: Callable[[int], None] = lambda _: None
) -> tuple[NDArray[np.float32], float]:
    """Vectors of passages, and texts a second once the encoder is warm."""
    encoder.encode(texts[:_WARM], "passage")
    began = time.perf_counter()
    vectors = encoder.encode(texts, "passage", advance)
    return vectors, len(texts) / (time.perf_counter() - began)


def _refusal(found: Agreement, neighbours: float) -> str:
    """Why vectors are not taken; empty where they are."""
    if found.mean_cosine >= LEAST_COSINE and found.neighbours >= neighbours:
        return ""
    return f"{_figures(found)}, where at least {LEAST_COSINE} and {neighbours:.0%} are asked for"


def _figures(found: Agreement) -> str:
    return (
        f"the mean cosine is {found.mean_cosine:.4f} and {found.neighbours:.1%} of the nearest {NEAREST} are the same"
    )
