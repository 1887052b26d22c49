"""No batch holds a passage that is right for another query of the batch."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from raglift.models.encoder import load_encoder
from raglift.training.pairs import Pair, PairBatches, asked, hard_columns, pack
from tests.tasks import RUNTIME, pairs
from tests.tiny import build_embedding


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Pair], dict[str, set[str]]]:
    """Pairs that share passages and questions here and there, and which passages repeat each other."""
    chunks = draw(st.integers(1, 12))
    rows = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, chunks - 1)), min_size=1, max_size=60))
    spellings = draw(st.lists(st.sampled_from(["what is {}", "What  is {}", "WHAT IS {} "]), min_size=60, max_size=60))
    similar: dict[str, set[str]] = {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, chunks - 1), st.integers(0, chunks - 1)), max_size=6)):
        if left != right:
            similar.setdefault(f"c{left}", set()).add(f"c{right}")
            similar.setdefault(f"c{right}", set()).add(f"c{left}")
    made = [
        Pair(spelling.format(asked), f"text {chunk}", f"c{chunk}")
        for (asked, chunk), spelling in zip(rows, spellings, strict=False)
    ]
    return made, similar


@given(collections(), st.integers(2, 16), st.integers(0, 3))
def test_no_two_pairs_of_a_batch_share_passage_or_question(
    made: tuple[list[Pair], dict[str, set[str]]], size: int, seed: int
) -> None:
    rows, similar = made
    batches = pack(rows, similar, size, random.Random(seed))
    used = [row for batch in batches for row in batch]
    assert len(used) == len(set(used))
    assert all(0 < len(batch) <= size for batch in batches)
    for batch in batches:
        for left, right in combinations([rows[row] for row in batch], 2):
            assert left.chunk_id != right.chunk_id
            assert right.chunk_id not in similar.get(left.chunk_id, set())
            assert left.query.lower().split() != right.query.lower().split()


@given(st.integers(1, 200), st.integers(2, 40), st.integers(0, 9))
def test_distinct_pairs_are_all_used_and_spread_evenly(count: int, size: int, seed: int) -> None:
    rows = [Pair(f"question {row}", f"text {row}", f"c{row}") for row in range(count)]
    batches = pack(rows, {}, size, random.Random(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    assert max(map(len, batches)) - min(map(len, batches)) <= max(1, len(batches))
    assert max(map(len, batches)) <= size
    assert len(batches) == -(-count // size)  # no more of them than that takes


@given(st.integers(60, 300), st.integers(2, 3), st.integers(0, 9))
def test_nearly_all_pairs_are_used_where_every_passage_has_a_few_questions(count: int, each: int, seed: int) -> None:
    rows = [Pair(f"question {row}", f"text {row // each}", f"c{row // each}") for row in range(count)]
    used = Counter(row for batch in pack(rows, {}, 16, random.Random(seed)) for row in batch)
    assert len(used) >= 0.9 * count


def test_a_pair_that_fits_nowhere_sits_out() -> None:
    rows = [Pair(f"question {row}", "text", "c") for row in range(5)]
    assert [len(batch) for batch in pack(rows, {}, 4, random.Random(0))] == [1, 1]
    assert [len(batch) for batch in pack(rows, {}, 5, random.Random(0))] == [1]


def test_epochs_differ_and_repeat_themselves(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)

    def shown(batches: PairBatches, epoch: int) -> list[list[int]]:
        return [batches.batch(epoch, index)[0]["input_ids"].tolist() for index in range(len(batches))]

    one, two = (PairBatches(pairs(), {}, model, 4, seed=7) for _ in range(2))
    assert len(one) == 2
    assert shown(one, 1) == shown(two, 1)
    assert shown(one, 0) != shown(one, 1)
    assert shown(one, 0) != shown(PairBatches(pairs(), {}, model, 4, seed=8), 0)


def _texts(model: SentenceTransformer, column: dict[str, torch.Tensor]) -> list[str]:
    return list(model.tokenizer.batch_decode(column["input_ids"], skip_special_tokens=True))


def test_columns_carry_the_prompts_of_their_role(tmp_path: Path) -> None:
    prompts = {"query": "question ", "document": "every "}
    model = load_encoder(build_embedding(tmp_path / "model", prompts=prompts), RUNTIME)
    queries, passages = PairBatches(pairs(), {}, model, 8, seed=0).batch(0, 0)
    assert all(text.startswith("question ") for text in _texts(model, queries))
    assert all(text.startswith("every ") for text in _texts(model, passages))
    assert len(queries["input_ids"]) == len(passages["input_ids"]) == 8


@st.composite
def mined(draw: st.DrawFn) -> tuple[list[Pair], dict[str, set[str]]]:
    """Pairs with hard negatives drawn at random, right ones among them, and with passages that are to be spared."""
    rows, similar = draw(collections())
    made = []
    for row in rows:
        wrong = draw(st.lists(st.integers(0, 14), unique=True, max_size=3))
        spared = tuple(f"c{n}" for n in draw(st.lists(st.integers(0, 14), max_size=3)))
        texts, ids = tuple(f"text {n}" for n in wrong), tuple(f"c{n}" for n in wrong)
        made.append(replace(row, negatives=texts, negative_ids=ids, spared=spared))
    return made, similar


@given(mined(), st.integers(2, 16), st.integers(0, 3))
def test_no_hard_negative_of_a_batch_is_right_for_a_query_of_it(
    made: tuple[list[Pair], dict[str, set[str]]], size: int, seed: int
) -> None:
    rows, similar = made
    for batch in pack(rows, similar, size, random.Random(seed)):
        inside = [rows[row] for row in batch]
        columns = hard_columns(inside, similar)
        assert all(0 < len(column) <= len(inside) for column in columns)
        shown = [text for column in columns for text in column]
        assert len(set(shown)) == len(shown)
        spared = {f"text {name[1:]}" for pair in inside for name in (pair.chunk_id, *pair.spared)}
        spared |= {f"text {other[1:]}" for pair in inside for other in similar.get(pair.chunk_id, ())}
        assert not spared & set(shown)
        repeats = {f"text {r[1:]}" for pair in inside for name in pair.spared for r in similar.get(name, ())}
        offered = {text for pair in inside for text in pair.negatives}
        assert set(shown) == offered - spared - repeats  # nothing else is left out


@given(mined(), st.integers(2, 16), st.integers(0, 3))
def test_which_pairs_share_a_batch_does_not_depend_on_hard_negatives(
    made: tuple[list[Pair], dict[str, set[str]]], size: int, seed: int
) -> None:
    rows, similar = made
    bare = [Pair(row.query, row.passage, row.chunk_id) for row in rows]
    assert pack(rows, similar, size, random.Random(seed)) == pack(bare, similar, size, random.Random(seed))
    assert hard_columns(bare, similar) == []


def test_a_given_negative_stays_however_like_its_passage_it_is_unless_it_is_right_for_another() -> None:
    own = Pair("fee?", "the fee is twelve euros", "a", ("the fee is nine euros",), ("b",), given=1)
    other = Pair("who?", "the crew", "c")
    similar = {"a": {"b"}, "b": {"a"}}
    assert hard_columns([own, other], similar) == [["the fee is nine euros"]]
    assert hard_columns([replace(own, spared=("b",)), other], {}) == [["the fee is nine euros"]]
    assert hard_columns([replace(own, given=0), other], similar) == []
    for right in (replace(other, spared=("b",)), replace(other, also=("b",)), replace(other, chunk_id="b")):
        assert hard_columns([own, right], similar) == []
    assert hard_columns([own, other], {"c": {"b"}}) == []
    assert hard_columns([own, replace(other, passage="the fee is nine euros")], {}) == []


def test_what_asks_the_same() -> None:
    assert asked(" What  IS\tit? ") == asked("what is it?") != asked("what was it?")


def test_hard_negatives_are_further_columns_with_the_prompt_of_passages(tmp_path: Path) -> None:
    model = load_encoder(build_embedding(tmp_path / "model", prompts={"document": "every "}), RUNTIME)
    first, second, third, *_ = pairs()
    outside = [pair.passage for pair in pairs()[4:7]]
    rows = [
        replace(first, negatives=tuple(outside[:2]), negative_ids=("c4", "c5")),
        replace(second, negatives=(outside[2],), negative_ids=("c6",)),
        third,
    ]
    batch = PairBatches(rows, {}, model, 4, seed=0).batch(0, 0)
    assert [len(column["input_ids"]) for column in batch] == [3, 3, 2, 1]
    assert all(text.startswith("every ") for column in batch[1:] for text in _texts(model, column))


@st.composite
def multi_positive(draw: st.DrawFn) -> tuple[list[Pair], dict[str, set[str]]]:
    """Pairs of which some have a second passage, which has a pair of its own."""
    rows, similar = draw(collections())
    others = draw(st.lists(st.none() | st.integers(0, 11), min_size=len(rows), max_size=len(rows)))
    found = []
    for number, (pair, other) in enumerate(zip(rows, others, strict=True)):
        if other is None or f"c{other}" == pair.chunk_id:
            found.append(pair)
            continue
        query = f"compare {number}"
        found.append(replace(pair, query=query, also=(f"c{other}",)))
        found.append(Pair(query, f"text {other}", f"c{other}", also=(pair.chunk_id,)))
    return found, similar


@given(multi_positive(), st.integers(2, 16), st.integers(0, 3))
def test_a_passage_that_is_right_too_is_never_a_negative(
    made: tuple[list[Pair], dict[str, set[str]]], size: int, seed: int
) -> None:
    rows, similar = made
    for batch in pack(rows, similar, size, random.Random(seed)):
        members = [rows[row] for row in batch]
        for pair in members:
            right = {own for other in pair.also for own in (other, *similar.get(other, ()))}
            assert not right & {other.chunk_id for other in members if other is not pair}


def test_both_passages_of_a_query_are_trained() -> None:
    rows = [
        pair
        for n in range(40)
        for pair in (
            Pair(f"compare {n}", f"a{n}", f"a{n}", also=(f"b{n}",)),
            Pair(f"compare {n}", f"b{n}", f"b{n}", also=(f"a{n}",)),
        )
    ]
    batches = pack(rows, {}, 8, random.Random(0))
    assert len({row for batch in batches for row in batch}) >= 0.95 * len(rows)
