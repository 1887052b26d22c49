"""Query transforms: what they ask for, what they make of it, who writes, and that nothing is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.schema import BaseNode

from raglift import plugins
from raglift.config_fields import PluginSpec
from raglift.errors import UserError
from raglift.index import transform_stage
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search
from raglift.index.encoding import node
from raglift.index.first_stage import FirstStage
from raglift.index.fusions.convex import Convex
from raglift.index.retriever import LiftRetriever
from raglift.index.rewording import (
    KIND,
    LiftQueryTransform,
    by_generator,
    by_llm,
    journalled,
    reworded,
    transform_key,
    transform_of,
)
from raglift.index.store import FaissStore
from raglift.index.transforms._base import QueryTransform, distinct
from raglift.journal import Journal
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.generation import Generator
from raglift.models.llm import LiftLLM, load_causal_lm, load_tokenizer
from raglift.records import Chunk, Evidence, QAPair
from tests import tasks
from tests.tasks import QUIET, RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

NAMES = plugins.names(KIND)
ASKED = [question for question, _ in QUESTIONS]
CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate(SENTENCES)]
NODES: dict[str, BaseNode] = {chunk.id: node(chunk) for chunk in CHUNKS}
every = pytest.mark.parametrize("name", NAMES)


class Scripted:
    """Writes the next sentences in the place of a question, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, transform: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
        self.asked += questions
        return [
            [SENTENCES[(ASKED.index(question) + 1 + n) % 10] for n in range(transform.samples)]
            for question in questions
        ]


@pytest.fixture(scope="module")
def generator(tiny_llm: Path) -> Generator:
    return Generator(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm))


@pytest.fixture(scope="module")
def index(tiny_embedding: Path) -> VectorStoreIndex:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    store = FaissStore(dimension=32)
    store.add_vectors(list(NODES.values()), encoder.encode(SENTENCES, "passage"))
    return VectorStoreIndex.from_vector_store(store, embed_model=LiftEmbedding(encoder, "tiny", tiny_embedding))


def transform(name: str, **settings: Any) -> QueryTransform:
    return transform_of(PluginSpec(name=name, settings={"max_new_tokens": 6, **settings}))


def test_what_each_searches_for() -> None:
    assert transform("rewriting").searches("why?", [' "low tide" ']) == (Search("low tide"),)
    many = transform("multi_query", samples=3).searches("Why?", ["How so?", "why?", " 'How so?' "])
    assert many == (Search("Why?"), Search("How so?"))
    (hyde,) = transform("hyde").searches("Why?", ["Because.", "Since then."])
    assert hyde == Search("Why?", passages=("Because.", "Since then."))
    assert hyde.texts("query") == ("Why?",)


@every
@pytest.mark.parametrize("written", ["", "  ", '""', "'"])
def test_where_nothing_was_written_the_question_is_searched_for(name: str, written: str) -> None:
    found = transform(name)
    assert found.searches("Why?", [written] * found.samples) == (Search("Why?"),)
    assert found.searches(" ", [written] * found.samples), "even where nothing was asked"


def test_texts_that_are_alike_count_once() -> None:
    assert distinct(["A b", "c", "a B", " ", "'c'"]) == ["A b", "c"]


@every
def test_the_question_is_asked_last_and_word_for_word(name: str) -> None:
    found = transform(name)
    asked = "What is “low water”, {really}?"
    messages = found.messages(asked)
    assert messages[-1] == {"role": "user", "content": asked}
    assert messages[0]["role"] == "system"
    assert [m["role"] for m in messages[1:]] == ["user", "assistant"] * (len(messages) // 2 - 1) + ["user"]
    assert found.paper
    assert found.when
    key = transform_key(PluginSpec(name=name, settings={"max_new_tokens": 6}))
    assert key == [name, found.version, found.model_dump(mode="json")]


@every
def test_a_question_gets_the_same_texts_whatever_stands_beside_it(name: str, generator: Generator) -> None:
    found = transform(name)
    write = by_generator(generator, 3)
    together = reworded(found, [*ASKED[:3], ASKED[0]], write)
    assert together[0] == together[3]
    assert [reworded(found, [question], write)[0] for question in ASKED[:3]] == together[:3]
    assert reworded(found, ASKED[:3], by_generator(generator, 4)) != together[:3]
    assert reworded(found, [], write) == []


@every
def test_what_is_in_the_journal_is_not_written_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raglift.index.rewording._BATCH", 3)
    transforms = {name: transform(name), "again": transform(name, temperature=1.0)}
    whole = Scripted()
    journal = Journal(tmp_path / "whole")
    expected = journalled(transforms, [*ASKED, ASKED[0]], whole, journal, QUIET)
    assert expected[name] == reworded(transforms[name], [*ASKED, ASKED[0]], Scripted())
    assert whole.asked == [*ASKED, *ASKED], "once for each of the two, repeated questions or not"

    class Stopping(Scripted):
        def __call__(self, transform: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
            if len(self.asked) >= 9:
                raise KeyboardInterrupt
            return super().__call__(transform, questions)

    cut = Journal(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        journalled(transforms, [*ASKED, ASKED[0]], Stopping(), cut, QUIET)
    cut.close()
    rest = Scripted()
    assert journalled(transforms, [*ASKED, ASKED[0]], rest, Journal(tmp_path / "cut"), QUIET) == expected
    assert len(rest.asked) == 16 - 11, "four batches, of 3, 3, 2 and 3 questions, were finished"
    assert journalled({}, ASKED, rest, journal, QUIET) == {}


@every
def test_a_retriever_searches_for_what_was_written(name: str, index: VectorStoreIndex) -> None:
    found = transform(name)
    plain = LiftRetriever.from_index(index, 10, fusion=Convex())
    moved = plain.with_transform(found, Scripted())
    first = FirstStage(Dense.of_index(index), Bm25(list(NODES), SENTENCES), 100, Convex())
    expected = first.rankings(reworded(found, ASKED, Scripted()), 10)
    hits = moved.retrieve_batch(ASKED)
    for ranking, one in zip(expected, hits, strict=True):
        assert [hit.node.node_id for hit in one] == [chunk_id for chunk_id, _ in ranking]
    assert [[h.node.node_id for h in one] for one in hits] != [
        [h.node.node_id for h in one] for one in plain.retrieve_batch(ASKED)
    ]


def test_a_question_with_a_vector_of_its_own_is_left_alone(index: VectorStoreIndex) -> None:
    from llama_index.core.schema import QueryBundle

    write = Scripted()
    retriever = LiftRetriever.from_index(index, 3).with_transform("hyde", write)
    given = QueryBundle(ASKED[0], embedding=[1.0] * 32)
    plain = LiftRetriever.from_index(index, 3).retrieve(given)
    assert [hit.node.node_id for hit in retriever.retrieve(given)] == [hit.node.node_id for hit in plain]
    assert write.asked == []
    assert len(retriever.retrieve_batch([given, ASKED[1]])) == 2
    assert write.asked == [ASKED[1]]


@every
def test_any_llama_index_model_writes(name: str, index: VectorStoreIndex, generator: Generator) -> None:
    mock = by_llm(MockLLM(max_tokens=4))(transform(name), ["Why?"])
    assert len(mock) == 1
    assert len(mock[0]) == transform(name).samples
    assert all(mock[0])
    lift = LiftLLM(generator, name="tiny")
    assert by_llm(lift)(transform(name), ASKED[:2]) == by_generator(generator, 0)(transform(name), ASKED[:2])
    assert len(LiftRetriever.from_index(index, 2).with_transform(transform(name), lift).retrieve(ASKED[0])) == 2


def test_as_llama_indexs_own_transform(index: VectorStoreIndex) -> None:
    bundle = LiftQueryTransform("hyde", MockLLM(max_tokens=4)).run("Why?")
    assert bundle.query_str == "Why?"
    assert bundle.embedding_strs[0] == "Why?"
    assert len(bundle.embedding_strs) == 2
    assert LiftQueryTransform("rewriting", MockLLM(max_tokens=4)).run("Why?").query_str != "Why?"
    engine = RetrieverQueryEngine.from_args(LiftRetriever.from_index(index, 2), llm=MockLLM())
    wrapped = TransformQueryEngine(engine, LiftQueryTransform("hyde", MockLLM(max_tokens=4)))
    assert len(wrapped.query(ASKED[0]).source_nodes) == 2
    with pytest.raises(UserError, match="searches several times"):
        LiftQueryTransform("multi_query", MockLLM())
    with pytest.raises(UserError, match="There is no query transform called 'hide'"):
        LiftQueryTransform("hide", MockLLM())


def _questions(split: str = "dev") -> list[QAPair]:
    """Thirty questions of the eight, each answered by its sentence."""
    return [
        QAPair(f"{split}{i}", ASKED[i % 8], (), (Evidence(f"d{i % 8}", f"c{i % 8}"),), "factoid", split, "human")  # type: ignore[arg-type]
        for i in range(30)
    ]


def test_a_transform_must_gain_more_than_chance(index: VectorStoreIndex, tmp_path: Path) -> None:
    first = FirstStage(Dense.of_index(index), None, 10)
    document_of = {chunk.id: chunk.document_id for chunk in CHUNKS}

    def telling(_: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
        return [[SENTENCES[ASKED.index(question)]] for question in questions]

    def misleading(transform: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
        return Scripted()(transform, questions)

    rewriting = {"rewriting": transform("rewriting")}
    found = {}
    for name, write in (("telling", telling), ("misleading", misleading)):
        job = tasks.job(tmp_path / name)
        sets = {"human": [*_questions("test"), *_questions()]}
        transform_stage.build(rewriting, sets, first, write, document_of, job)
        found[name] = tasks.read_json(job.out / transform_stage.FILE)
        assert found[name]["questions"] == 30
        assert [row["name"] for row in found[name]["candidates"]] == ["as it is", "rewriting"]
    assert found["misleading"]["chosen"] == "as it is"
    assert found["misleading"]["candidates"][1]["behind"] > 0
    plain, best = found["telling"]["candidates"]
    assert found["telling"]["chosen"] == "rewriting"
    assert plain["behind"] > plain["error"]
    assert best["dev"] == 1.0
    few = {"human": _questions()[:5]}
    transform_stage.build(rewriting, few, first, telling, document_of, tasks.job(tmp_path / "few"))
    assert tasks.read_json(tmp_path / "few" / transform_stage.FILE)["chosen"] == "as it is"
