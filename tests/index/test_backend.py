"""The choice of a backend: by name if it agrees with float32, by speed among those that do, and once for an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from raglift import plugins
from raglift.artifacts import WORK
from raglift.errors import UserError
from raglift.index import backend_choice
from raglift.index.agreement import Agreement
from raglift.index.backend import Choice, Passages, read_choice, source_of, write_choice
from raglift.index.backend_choice import chosen_source
from raglift.index.encoding import Source
from raglift.index.vector_cache import VectorCache
from raglift.job import Job
from raglift.models.backends._base import Backend
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, Role, load_encoder
from raglift.progress import Bar, Progress
from tests.tasks import RUNTIME, job
from tests.tiny import SENTENCES

TEXTS = [f"{sentence} {number}" for number, sentence in enumerate(SENTENCES * 4)]
Change = Callable[[np.ndarray], np.ndarray]


class Changed(Encoder):
    """Torch, whose vectors are changed."""

    name: str
    change: Change

    def encode(self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None) -> Any:
        return self.change(super().encode(texts, role, advance))


class Stand(Backend):
    """A backend that is there for a test."""

    about = "Changes vectors."

    def __init__(self, name: str, change: Change) -> None:
        self.name, self.change = name, change
        self.opened = 0

    def precision(self, runtime: Runtime) -> str:
        return self.name

    def open(self, model: SentenceTransformer, folder: Path, runtime: Runtime) -> Encoder:
        self.opened += 1
        encoder = Changed(model, RUNTIME)
        encoder.name, encoder.change = self.name, self.change
        return encoder


class Missing(Stand):
    def check(self, runtime: Runtime) -> None:
        raise UserError("The encoding backend 'missing' is not installed.", "", "pip install it")


def rounded(vectors: np.ndarray) -> np.ndarray:
    found = vectors + np.float32(1e-2) * np.sign(vectors)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def turned(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, ::-1].copy()


RATES = {"torch": 10.0, "good": 20.0, "quick_good": 30.0, "bad": 90.0}


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> dict[str, Backend]:
    """Torch and stand-ins in the place of all backends, each with a rate of its own."""
    stands: dict[str, Backend] = {
        "bad": Stand("bad", turned),
        "good": Stand("good", rounded),
        "missing": Missing("missing", rounded),
        "quick_good": Stand("quick_good", rounded),
        "torch": plugins.load("encoding backend", "torch"),
    }
    names, load, timed = plugins.names, plugins.load, backend_choice.timed
    monkeypatch.setattr(plugins, "names", lambda kind: sorted(stands) if kind == "encoding backend" else names(kind))
    monkeypatch.setattr(
        plugins, "load", lambda kind, name: stands[name] if kind == "encoding backend" else load(kind, name)
    )

    def at_a_fixed_rate(encoder: Encoder, texts: Sequence[str], advance: Any = lambda _: None) -> Any:
        return timed(encoder, texts, advance)[0], RATES[getattr(encoder, "name", "torch")]

    monkeypatch.setattr(backend_choice, "timed", at_a_fixed_rate)
    monkeypatch.setattr(backend_choice, "PROBED_FROM", 2)
    return stands


@pytest.fixture
def passages(tiny_embedding: Path, tmp_path: Path) -> Passages:
    model = load_encoder(tiny_embedding, RUNTIME)
    caches = tmp_path / "caches"
    return Passages(Encoder(model, RUNTIME), lambda: model, lambda key: VectorCache(caches, key, 32), RUNTIME, "base")


def chosen(name: str, passages: Passages, made: Job, texts: Sequence[str] = TEXTS) -> tuple[Choice, Source]:
    source = chosen_source(name, texts, passages, made)
    return read_choice(made.out), source


def test_auto_takes_the_fastest_that_agrees(backends: dict[str, Backend], passages: Passages, tmp_path: Path) -> None:
    said: list[str] = []
    made = job(tmp_path / "out")
    made.display.say = said.append  # type: ignore[method-assign]
    choice, source = chosen("auto", passages, made)
    assert (choice.backend, choice.sample) == ("quick_good", len(TEXTS))
    assert source.encoder.name == "quick_good"  # type: ignore[attr-defined]
    assert source.cache.path.stem == passages.caches("quick_good").path.stem
    rows = {row.backend: row for row in choice.measured}
    assert set(rows) == set(backends)
    assert {name: row.texts_per_second for name, row in rows.items()} == {**RATES, "missing": None}
    assert not rows["torch"].refused
    assert not rows["good"].refused
    assert rows["torch"].agreement is not None
    assert rows["torch"].agreement.mean_cosine == 1
    assert rows["good"].agreement is not None
    assert 0.99 < rows["good"].agreement.mean_cosine < 1
    assert "mean cosine" in rows["bad"].refused
    assert "not installed" in rows["missing"].refused
    [line] = [line for line in said if "encodes the passages" in line]
    assert "quick_good encodes" in line
    assert "torch 10.0" in line
    assert "of the nearest 10" in line
    table = json.loads((made.out / "backend.json").read_text("utf-8"))
    assert table["measured"][0]["agreement"].keys() == {"mean_cosine", "least_cosine", "neighbours"}


def test_auto_stays_with_torch_where_nothing_is_faster(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RATES, "torch", 50.0)
    choice, source = chosen("auto", passages, job(tmp_path / "out"))
    assert choice.backend == "torch"
    assert source.encoder is passages.encoder


def test_auto_does_not_compare_for_a_few_passages(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_choice, "PROBED_FROM", len(TEXTS) + 1)
    choice, _ = chosen("auto", passages, job(tmp_path / "few"))
    assert (choice.backend, choice.measured) == ("torch", ())
    assert "too few" in choice.why
    monkeypatch.setattr(backend_choice, "PROBED_FROM", len(TEXTS))
    assert chosen("auto", passages, job(tmp_path / "enough"))[0].backend == "quick_good"
    monkeypatch.setattr(backend_choice, "PROBED_FROM", len(TEXTS) - 1)
    passages.caches("torch.float32 cpu").add(TEXTS[:2], passages.encoder.encode(TEXTS[:2], "passage"))
    known = chosen("auto", passages, job(tmp_path / "known"))[0]
    assert known.backend == "quick_good", "what earlier runs left decides nothing"


def test_auto_does_not_compare_torch_with_nothing(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path
) -> None:
    for name in ("good", "quick_good", "bad"):
        del backends[name]
    choice, _ = chosen("auto", passages, job(tmp_path / "out"))
    assert choice == Choice("torch", "no other backend runs here")


def test_a_choice_outlives_an_interruption(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path / "out")
    first = chosen("auto", passages, made)[0]
    (made.out / "backend.json").unlink()  # what an attempt leaves outside of its work is taken away before the next
    monkeypatch.setitem(RATES, "torch", 1000.0)
    assert chosen("auto", passages, made)[0] == first
    assert chosen("auto", passages, job(tmp_path / "other"))[0].backend == "torch"
    assert sorted(path.name for path in made.out.iterdir()) == ["backend.json", WORK]


def test_a_backend_by_name_must_agree(backends: dict[str, Backend], passages: Passages, tmp_path: Path) -> None:
    choice, source = chosen("good", passages, job(tmp_path / "good"))
    assert (choice.backend, choice.why) == ("good", "named")
    assert [row.backend for row in choice.measured] == ["good"]
    assert source.encoder.name == "good"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="'bad' agrees too little with float32") as caught:
        chosen("bad", passages, job(tmp_path / "bad"))
    assert f"On {len(TEXTS)} of the passages the mean cosine is " in caught.value.why
    assert f"at least {backend_choice.LEAST_COSINE}" in caught.value.why
    assert not (tmp_path / "bad" / "backend.json").exists()
    with pytest.raises(UserError, match="'missing' is not installed"):
        chosen("missing", passages, job(tmp_path / "missing"))


@pytest.mark.parametrize("bound", ["cosine", "neighbours"])
def test_both_bounds_hold(
    bound: str,
    backends: dict[str, Backend],
    passages: Passages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if bound == "cosine":
        monkeypatch.setattr(backend_choice, "LEAST_COSINE", 0.99999)
    else:
        monkeypatch.setattr(backend_choice, "LEAST_NEIGHBOURS", {"auto": 1.01, "named": 1.01})
    with pytest.raises(UserError, match="agrees too little"):
        chosen("good", passages, job(tmp_path / "good"))
    assert chosen("auto", passages, job(tmp_path / "auto"))[0].backend == "torch"


def test_auto_asks_for_more_than_a_name_does(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend_choice.LEAST_NEIGHBOURS["auto"] > backend_choice.LEAST_NEIGHBOURS["named"]
    monkeypatch.setattr(backend_choice, "agreement", lambda vectors, exact: Agreement(0.995, 0.99, 0.93))
    choice = chosen("auto", passages, job(tmp_path / "auto"))[0]
    assert choice.backend == "torch"
    assert all(row.refused for row in choice.measured if row.backend != "torch")
    assert chosen("good", passages, job(tmp_path / "good"))[0].backend == "good"


def test_the_same_passages_have_the_same_sample(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_choice, "SAMPLE", 15)
    seen: list[tuple[str, ...]] = []
    timed = backend_choice.timed

    def noting(encoder: Encoder, texts: Sequence[str], *rest: Any) -> Any:
        seen.append(tuple(texts))
        return timed(encoder, texts, *rest)

    monkeypatch.setattr(backend_choice, "timed", noting)
    for name, texts, seed in (("a", TEXTS, 0), ("b", [*TEXTS[::-1], TEXTS[0]], 1)):
        assert chosen("good", passages, job(tmp_path / name, seed), texts)[0].sample == 15
    assert len(seen) == 4
    assert len(set(seen)) == 1, "float32 and the backend have the same sample"
    assert (tmp_path / "a" / "backend.json").read_bytes() == (tmp_path / "b" / "backend.json").read_bytes()
    assert len(set(seen[0])) == 15
    assert set(seen[0]) <= set(TEXTS)


def test_nothing_is_compared_or_opened_where_all_is_known(
    backends: dict[str, Backend], passages: Passages, tmp_path: Path
) -> None:
    good = backends["good"]
    assert isinstance(good, Stand)
    source = chosen("good", passages, job(tmp_path / "one"))[1]
    source.cache.add(TEXTS, source.encoder.encode(TEXTS, "passage"))
    opened = good.opened
    choice, again = chosen("good", passages, job(tmp_path / "two"))
    assert (choice, good.opened) == (Choice("good", "named"), opened)
    assert again.cache.unknown(TEXTS) == []
    source_of(choice, [*TEXTS, "new"], passages, tmp_path / "graphs")
    assert good.opened == opened + 1


def test_half_precision_is_compared_and_never_refused(
    backends: dict[str, Backend], tiny_embedding: Path, passages: Passages, tmp_path: Path
) -> None:
    half = replace(RUNTIME, dtype=torch.bfloat16)
    in_half = replace(passages, encoder=Encoder(load_encoder(tiny_embedding, half), half), runtime=half)
    choice, _ = chosen("auto", in_half, job(tmp_path / "out"))
    row = choice.measured[0]
    assert row.backend == "torch"
    assert row.agreement is not None
    assert 0.99 < row.agreement.mean_cosine < 1
    assert not row.refused


def test_an_index_from_before_there_were_backends_is_torchs(tmp_path: Path) -> None:
    assert read_choice(tmp_path) == Choice("torch", "named")
    choice = Choice("onnx", "named", 3)
    write_choice(tmp_path, choice)
    assert read_choice(tmp_path) == choice


@pytest.mark.parametrize(("name", "dtype"), [("good", "float32"), ("auto", "float32"), ("auto", "bfloat16")])
def test_the_bar_ends_where_it_said(
    name: str,
    dtype: str,
    backends: dict[str, Backend],
    tiny_embedding: Path,
    passages: Passages,
    tmp_path: Path,
) -> None:
    runtime = replace(RUNTIME, dtype=getattr(torch, dtype))
    given = replace(passages, encoder=Encoder(load_encoder(tiny_embedding, runtime), runtime), runtime=runtime)
    display = Progress(stream=StringIO())
    bars: list[Bar] = []
    stage = display.stage

    @contextmanager
    def noting(*arguments: Any) -> Iterator[Bar]:
        with stage(*arguments) as bar:
            bars.append(bar)
            yield bar

    display.stage = noting  # type: ignore[method-assign]
    chosen(name, given, job(tmp_path / "out", display=display))
    assert [bar.done for bar in bars] == [bar.total for bar in bars]
    assert len(bars) == 1
