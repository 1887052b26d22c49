from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from raglift.journal import Journal
from raglift.models.generation import Extract, Generator, Sampling
from raglift.records import Chunk
from raglift.synthesis.writer import Assignment, Writing, Written, finished, plan, write
from tests import tasks

SENTENCES = [f"The keeper of tower {n} writes each passing ship into book number {n + 7}." for n in range(6)]
CHUNKS = [
    Chunk(f"c{n}", "d", " ".join(SENTENCES[: n % 6 + 1]).replace("tower", f"tower {n} and"), 0, 1) for n in range(40)
]
KINDS = {"factoid": 2.0, "keyword": 1.0}
WRITING = Writing(batch_size=8, temperature=0.5, seed=3)


class FakeGenerator:
    """Answers every prompt by a text made of the prompt and the seed, and keeps what it was asked."""

    tokenizer = None

    def __init__(self, fail_at: int | None = None) -> None:
        self.prompts: list[str] = []
        self.calls: list[tuple[Sampling, str, Sequence[Extract] | None]] = []
        self._fail_at = fail_at

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        prefix: str = "",
        extract_from: Sequence[Extract] | None = None,
        advance: Any = None,
    ) -> list[str]:
        if len(self.calls) == self._fail_at:
            raise KeyboardInterrupt
        self.calls.append((sampling, prefix, extract_from))
        self.prompts += prompts
        return [f" What of {hash_of(prompt)} at {sampling.seed}? And more. " for prompt in prompts]


def hash_of(prompt: str) -> int:
    return sum(map(ord, prompt))


def run(
    assignments: Sequence[Assignment], fake: FakeGenerator, path: Path, advanced: list[int] | None = None
) -> list[Written]:
    journal = Journal(path)
    try:
        load = lambda: cast("Generator", fake)  # noqa: E731
        seen = [] if advanced is None else advanced
        return list(write(assignments, tasks.asking(), WRITING, load, journal, seen.append))
    finally:
        journal.close()


def test_the_plan_is_the_same_for_the_same_seed() -> None:
    first = plan(CHUNKS, KINDS, 1.5, None, 0)
    assert plan(CHUNKS, KINDS, 1.5, None, 0) == first
    assert plan(CHUNKS, KINDS, 1.5, None, 1) != first
    assert first == sorted(first, key=lambda item: (item.kind, len(item.text), item.text, item.chunk_id))
    assert len(set(first)) == len(first)
    text_of = {chunk.id: chunk.text for chunk in CHUNKS}
    assert all(item.text in text_of[item.chunk_id] for item in first)


@pytest.mark.parametrize(("per_chunk", "fewest", "most"), [(1.0, 40, 40), (0.5, 12, 28), (0.1, 1, 10), (1.5, 52, 68)])
def test_questions_for_a_chunk(per_chunk: float, fewest: int, most: int) -> None:
    found = plan(CHUNKS, KINDS, per_chunk, None, 0)
    assert fewest <= len(found) <= most
    assert max(Counter(item.chunk_id for item in found).values()) <= per_chunk + 1


def test_questions_of_a_chunk_are_about_different_texts_as_long_as_there_are_some() -> None:
    six = CHUNKS[5]
    found = plan([six], {"factoid": 1.0}, 6.0, None, 0)
    assert len({item.text for item in found}) == 6
    one = CHUNKS[0]
    assert len(plan([one], {"factoid": 1.0}, 6.0, None, 0)) == 1  # asking the same again gives the same


def test_kinds_are_drawn_by_weight() -> None:
    counts = Counter(item.kind for item in plan(CHUNKS, {"factoid": 9.0, "keyword": 1.0}, 3.0, None, 0))
    assert counts["factoid"] > 4 * counts["keyword"] > 0


def test_the_limit() -> None:
    everything = plan(CHUNKS, KINDS, 2.0, None, 0)
    some = plan(CHUNKS, KINDS, 2.0, 10, 0)
    assert len(some) == 10
    assert set(some) < set(everything)
    assert some == [item for item in everything if item in some]
    assert plan(CHUNKS, KINDS, 2.0, 10_000, 0) == everything


def test_chunks_without_a_readable_sentence_get_none() -> None:
    chunks = [Chunk("table", "d", "1 | 2 | 3\n4 | 5 | 6", 0, 1), Chunk("short", "d", "Too short.", 0, 1)]
    assert plan(chunks, KINDS, 3.0, None, 0) == []
    assert {item.chunk_id for item in plan([*chunks, CHUNKS[0]], KINDS, 1.0, None, 0)} == {"c0"}


def test_what_is_written(tmp_path: Path) -> None:
    assignments = plan(CHUNKS, KINDS, 1.0, None, 0)
    fake, advanced = FakeGenerator(), list[int]()
    written = run(assignments, fake, tmp_path / "written.jsonl", advanced)
    assert [item.assignment for item in written] == assignments
    assert sum(advanced) == len(assignments)
    assert max(advanced) == 8
    for item in written:
        if item.assignment.kind == "factoid":
            assert item.question.startswith("What of ")
            assert item.question.endswith("?")  # nothing after the first question mark
            assert item.answer.startswith("What of ")
            assert item.answer.endswith("And more")  # no full stop
        else:
            assert item.question.endswith("And more.")
            assert item.answer == ""
    asking = [sampling for sampling, _, sources in fake.calls if sources is None]
    assert len({sampling.seed for sampling in asking}) == len(asking)
    assert all(sampling.temperature == 0.5 and sampling.line for sampling in asking)


def test_answers_are_copied_from_the_evidence(tmp_path: Path) -> None:
    fake = FakeGenerator()
    written = run(plan(CHUNKS, {"factoid": 1.0}, 1.0, 5, 0), fake, tmp_path / "written.jsonl")
    sampling, prefix, sources = fake.calls[1]
    assert sources is not None
    assert [source.text for source in sources] == [item.assignment.text for item in written]
    assert all({"what", "of", "at"} <= source.avoid for source in sources)
    assert sampling.temperature == 0.0
    assert "Answer:" in prefix


@pytest.mark.parametrize("taken", [0, 1, 8, 9, 25, 39])
def test_an_interrupted_writer_goes_on_and_asks_nothing_twice(tmp_path: Path, taken: int) -> None:
    assignments = plan(CHUNKS, KINDS, 1.0, None, 0)
    whole = FakeGenerator()
    expected = run(assignments, whole, tmp_path / "whole.jsonl")

    path, first, second = tmp_path / "cut.jsonl", FakeGenerator(), FakeGenerator()
    journal = Journal(path)
    units = write(assignments, tasks.asking(), WRITING, lambda: cast("Generator", first), journal, lambda _: None)
    assert list(islice(units, taken)) == expected[:taken]
    assert finished(assignments, 8, journal) >= taken
    journal.close()

    advanced: list[int] = []
    assert run(assignments, second, path, advanced) == expected
    assert first.prompts + second.prompts == whole.prompts
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()

    third = FakeGenerator(fail_at=0)
    assert run(assignments, third, path) == expected
    assert third.calls == []


def test_a_batch_that_was_interrupted_is_written_whole(tmp_path: Path) -> None:
    assignments = plan(CHUNKS, {"factoid": 1.0}, 1.0, None, 0)
    expected = run(assignments, FakeGenerator(), tmp_path / "whole.jsonl")
    for fail_at in range(5):  # even: before the questions of a batch, odd: before its answers
        path = tmp_path / f"{fail_at}.jsonl"
        with pytest.raises(KeyboardInterrupt):
            run(assignments, FakeGenerator(fail_at), path)
        journal = Journal(path)
        assert finished(assignments, 8, journal) == fail_at // 2 * 8
        journal.close()
        assert run(assignments, FakeGenerator(), path) == expected


def test_the_journal_of_another_plan_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "written.jsonl"
    one, other = (plan(CHUNKS, {"factoid": 1.0}, 1.0, None, seed) for seed in (0, 1))
    run(one, FakeGenerator(), path)
    journal = Journal(path)
    assert finished(one, 8, journal) == len(one)
    assert finished(other, 8, journal) < len(other)
    journal.close()
    assert run(other, FakeGenerator(), path) == run(other, FakeGenerator(), tmp_path / "fresh.jsonl")


def test_the_writer_is_not_loaded_where_nothing_is_left(tmp_path: Path) -> None:
    def load() -> Generator:
        raise AssertionError("loaded")

    assignments = plan(CHUNKS, KINDS, 1.0, None, 0)
    expected = run(assignments, FakeGenerator(), tmp_path / "written.jsonl")
    journal = Journal(tmp_path / "written.jsonl")
    assert list(write(assignments, tasks.asking(), WRITING, load, journal, lambda _: None)) == expected
    journal.close()
