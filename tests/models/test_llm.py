"""The language model as LlamaIndex sees it, reading exactly what it was trained on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import LLM
from llama_index.core.schema import TextNode

from raglift import plugins
from raglift.index.retriever import LiftRetriever
from raglift.index.store import FaissStore
from raglift.models.device import Runtime
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import LiftLLM, load_causal_lm, load_tokenizer
from raglift.serve.engine import LiftQueryEngine
from raglift.training.examples import Example, encode
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

GROUNDED = plugins.load("prompt", "grounded")
USER = [ChatMessage(role=MessageRole.USER, content=QUESTIONS[0][0])]


class Spy(Generator):
    """Keeps the prompts that it is given."""

    prompts: list[str]

    def generate(self, prompts: Sequence[str], *args: object, **kwargs: object) -> list[str]:
        self.prompts = [*getattr(self, "prompts", []), *prompts]
        return super().generate(prompts, *args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def llm(tiny_llm: Path) -> LiftLLM:
    generator = Spy(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm))
    return LiftLLM(generator, name="tiny@1", max_new_tokens=8)


@pytest.fixture
def index(tiny_embedding: Path) -> VectorStoreIndex:
    embedding = LiftEmbedding(Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME), "tiny@1", tiny_embedding)
    found = VectorStoreIndex.from_vector_store(FaissStore(dimension=32), embed_model=embedding)
    found.insert_nodes([TextNode(id_=f"n{row}", text=text) for row, text in enumerate(SENTENCES)])
    return found


def seen(llm: LiftLLM) -> list[str]:
    assert isinstance(llm.generator, Spy)
    return llm.generator.prompts


def test_chat_reads_the_token_ids_of_training(llm: LiftLLM, tiny_llm: Path) -> None:
    render = tasks.chat_renderer(tiny_llm)
    for (question, answer), text in zip(QUESTIONS, SENTENCES, strict=False):
        messages = GROUNDED.messages(question, [text, SENTENCES[0]])
        llm.chat([ChatMessage(role=turn["role"], content=turn["content"]) for turn in messages])
        tokenizer = llm.generator.tokenizer
        served = tokenizer(seen(llm)[-1], add_special_tokens=False)["input_ids"]
        trained, labels = encode(Example(render(messages), answer), load_tokenizer(tiny_llm))
        assert served == trained[: labels.count(-100)]


def test_complete_is_the_users_turn_unless_it_is_formatted(llm: LiftLLM) -> None:
    text = llm.complete(QUESTIONS[0][0]).text
    assert text == llm.chat(USER).message.content == llm.complete(seen(llm)[0], formatted=True).text
    assert seen(llm)[0] == seen(llm)[1] == seen(llm)[2]
    assert llm.complete(QUESTIONS[0][0], formatted=True).text != ""
    assert seen(llm)[3] == QUESTIONS[0][0]


def test_streams_end_with_the_whole_answer(llm: LiftLLM) -> None:
    whole = llm.complete(QUESTIONS[0][0]).text
    pieces = list(llm.stream_complete(QUESTIONS[0][0]))
    assert pieces[-1].text == whole == "".join(piece.delta or "" for piece in pieces)
    turns = list(llm.stream_chat(USER))
    assert turns[-1].message.content == whole == "".join(turn.delta or "" for turn in turns)


def test_async_calls_give_the_same(llm: LiftLLM) -> None:
    whole = llm.complete(QUESTIONS[0][0]).text

    async def streamed() -> list[str]:
        return [piece.delta or "" async for piece in await llm.astream_chat(USER)]

    assert asyncio.run(llm.acomplete(QUESTIONS[0][0])).text == whole
    assert asyncio.run(llm.achat(USER)).message.content == whole
    assert "".join(asyncio.run(streamed())) == whole


def test_it_says_what_it_is(llm: LiftLLM) -> None:
    assert isinstance(llm, LLM)
    assert llm.class_name() == "LiftLLM"
    assert (llm.metadata.model_name, llm.metadata.num_output) == ("tiny@1", 8)
    assert llm.metadata.is_chat_model


def test_llama_indexs_own_query_engine_takes_it(llm: LiftLLM, index: VectorStoreIndex) -> None:
    engine = index.as_query_engine(llm=llm, similarity_top_k=2)
    response = engine.query(QUESTIONS[1][0])
    assert str(response) == str(asyncio.run(engine.aquery(QUESTIONS[1][0])))
    assert len(response.source_nodes) == 2
    assert all(node.node.get_content() in seen(llm)[0] for node in response.source_nodes)
    streaming = index.as_query_engine(llm=llm, similarity_top_k=2, streaming=True).query(QUESTIONS[1][0])
    assert "".join(streaming.response_gen) == str(response)  # type: ignore[union-attr, arg-type]


def test_our_query_engine_answers_as_the_batch_does(llm: LiftLLM, index: VectorStoreIndex, tiny_llm: Path) -> None:
    engine = LiftQueryEngine(retriever=index.as_retriever(similarity_top_k=3), llm=llm, prompt=GROUNDED)
    responses = [engine.query(question) for question, _ in QUESTIONS]
    render = tasks.chat_renderer(tiny_llm)
    prompts = [
        render(GROUNDED.messages(question, [node.node.get_content() for node in response.source_nodes]))
        for (question, _), response in zip(QUESTIONS, responses, strict=True)
    ]
    assert seen(llm) == prompts
    batched = llm.generator.generate(prompts, Sampling(8))
    assert [str(response) for response in responses] == [text.strip() for text in batched]
    assert str(asyncio.run(engine.aquery(QUESTIONS[0][0]))) == str(responses[0])


def test_our_query_engine_answers_many_questions_as_it_answers_each(llm: LiftLLM, index: VectorStoreIndex) -> None:
    questions = [question for question, _ in QUESTIONS]
    for retriever in (index.as_retriever(similarity_top_k=3), LiftRetriever.from_index(index, top_k=3), None):
        engine = LiftQueryEngine(retriever=retriever, llm=llm, prompt=GROUNDED)
        alone, together = [engine.query(question) for question in questions], engine.query_batch(questions)
        assert [str(response) for response in together] == [str(response) for response in alone]
        nodes = [[found.node.node_id for found in response.source_nodes] for response in together]
        assert nodes == [[found.node.node_id for found in response.source_nodes] for response in alone]


def test_our_query_engine_answers_without_passages_too(llm: LiftLLM) -> None:
    response = LiftQueryEngine(retriever=None, llm=llm, prompt=GROUNDED).query(QUESTIONS[0][0])
    assert response.source_nodes == []
    assert "[1]" not in seen(llm)[0]
    assert QUESTIONS[0][0] in seen(llm)[0]


class Shortened:
    """A prompt approach whose answer is the last word of what was written."""

    quote_tokens = 1

    def __getattr__(self, name: str) -> object:
        return getattr(GROUNDED, name)

    def read(self, written: str) -> str:
        return written.split()[-1]


def test_our_query_engine_reads_the_answer_as_the_prompt_approach_does(llm: LiftLLM) -> None:
    whole = LiftQueryEngine(retriever=None, llm=llm, prompt=GROUNDED).query(QUESTIONS[0][0])
    assert len(str(whole).split()) > 1
    written = llm.generator.tokenizer(str(whole), add_special_tokens=False)["input_ids"]
    assert whole.metadata == {"tokens_in": llm.generator.count(seen(llm))[0], "tokens_out": len(written)}
    read = LiftQueryEngine(retriever=None, llm=llm, prompt=Shortened()).query(QUESTIONS[0][0])
    assert str(read) == str(whole).split()[-1]
    assert read.metadata == {**whole.metadata, "written": str(whole)}


def test_a_tokenizer_without_a_pad_token_pads_with_its_end(tiny_llm: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llm)
    assert tokenizer.pad_token_id is not None
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == tokenizer.eos_token


def test_weights_are_cast_to_the_runs_precision(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, Runtime(RUNTIME.device, torch.bfloat16, 1))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not model.training


@pytest.mark.slow
def test_the_packaged_model_answers_one_by_one_as_in_batches() -> None:
    path = find_model("SmolLM2-135M-Instruct").path
    generator = Generator(load_causal_lm(path, RUNTIME), load_tokenizer(path))
    llm = LiftLLM(generator, name="SmolLM2", max_new_tokens=8)
    asked = [(QUESTIONS[row][0], [SENTENCES[row], SENTENCES[-1]]) for row in range(3)] + [("What is snow?", [])]
    prompts = [generator.chat(GROUNDED.messages(question, passages)) for question, passages in asked]
    batched = generator.generate(prompts, Sampling(8))
    for (question, passages), text in zip(asked, batched, strict=True):
        turns = GROUNDED.messages(question, passages)
        reply = llm.chat([ChatMessage(role=turn["role"], content=turn["content"]) for turn in turns])
        assert reply.message.content == text.strip() != ""
