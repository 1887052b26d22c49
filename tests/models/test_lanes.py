"""Batches side by side: the same results in the same order, with the caller's context, and threads put back."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.generation import Generator, Sampling
from raglift.models.lanes import lane_count, side_by_side
from raglift.models.llm import load_causal_lm, load_tokenizer
from tests.tiny import QUESTIONS, SENTENCES

CPU = torch.device("cpu")
HELD: contextvars.ContextVar[str] = contextvars.ContextVar("HELD", default="nothing")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_batches_whatever_each_takes() -> None:
    gate = threading.Event()

    def work(batch: int) -> int:
        if batch == 0:
            assert gate.wait(10)  # the first is not done before the second has run beside it
        if batch == 1:
            gate.set()
        return batch * batch

    assert list(side_by_side(work, range(7), CPU)) == [(batch, batch * batch) for batch in range(7)]


def test_lanes_share_the_threads_and_a_lone_batch_has_them_all() -> None:
    assert [found for _, found in side_by_side(lambda _: torch.get_num_threads(), range(5), CPU)] == [1] * 5
    assert torch.get_num_threads() == 2
    assert [found for _, found in side_by_side(lambda _: torch.get_num_threads(), [0], CPU)] == [2]
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [2]


@pytest.mark.parametrize("count", [1, 4])
def test_work_is_done_in_inference_mode_and_in_the_callers_context(count: int) -> None:
    token = HELD.set("the caller's")
    try:
        found = list(side_by_side(lambda _: (torch.is_inference_mode_enabled(), HELD.get()), range(count), CPU))
    finally:
        HELD.reset(token)
    assert [value for _, value in found] == [(True, "the caller's")] * count
    assert not torch.is_inference_mode_enabled()


def test_a_failure_reaches_the_caller_and_what_has_not_begun_never_does() -> None:
    begun: list[int] = []

    def work(batch: int) -> int:
        begun.append(batch)
        if batch == 1:
            raise RuntimeError("broken")
        return batch

    with pytest.raises(RuntimeError, match="broken"):
        list(side_by_side(work, range(50), CPU))
    assert len(begun) < 10
    assert torch.get_num_threads() == 2


def test_batches_are_taken_a_few_before_their_turn() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(100):
            taken.append(batch)
            yield batch

    found = side_by_side(lambda batch: batch, batches(), CPU)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert len(taken) < 10
    assert torch.get_num_threads() == 2


def test_another_device_has_one_lane() -> None:
    found = side_by_side(lambda _: threading.current_thread().name, range(3), torch.device("meta"))
    assert {name for _, name in found} == {threading.current_thread().name}
    assert lane_count(torch.device("meta")) == 1


def test_lanes_write_score_and_encode_what_one_thread_does(tiny_llm: Path, tiny_embedding: Path) -> None:
    runtime = Runtime(CPU, torch.float32, 2, batch_tokens=64)
    generator = Generator(load_causal_lm(tiny_llm, runtime), load_tokenizer(tiny_llm), batch_size=4)
    encoder = Encoder(load_encoder(tiny_embedding, runtime), runtime)
    asked, answers = [question for question, _ in QUESTIONS], [answer for _, answer in QUESTIONS]
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        drawn = generator.generate_samples(asked, Sampling(8, temperature=0.7), 2, prefix="Question: ")
        likely = generator.score(asked, answers)
        found.append((drawn, likely, encoder.encode(SENTENCES, "passage")))
    (drawn, likely, vectors), (drawn2, likely2, vectors2) = found
    assert [[sample.text for sample in row] for row in drawn] == [[sample.text for sample in row] for row in drawn2]
    assert [x.mean_log_probability for x in likely2] == pytest.approx([x.mean_log_probability for x in likely], 1e-4)
    np.testing.assert_allclose(vectors2, vectors, atol=1e-5)
