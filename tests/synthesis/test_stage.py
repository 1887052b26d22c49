"""What the filters are given, and what comes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raglift.config import SynthesisConfig, WriterConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.searchable import Searchable
from raglift.index.stage import build as build_index
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.generation import Generator
from raglift.records import Chunk, Document, QAPair, read_jsonl, write_jsonl
from raglift.synthesis import stage
from raglift.synthesis.accepting import Rules, accept
from raglift.synthesis.candidate import Candidate
from raglift.synthesis.closed_book import PREFIX
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.writer import Assignment, Written
from tests import tasks
from tests.synthesis.llm_writing import Local
from tests.tiny import SENTENCES

TEXTS = [f"{one} {two}" for one, two in zip(SENTENCES[:4], SENTENCES[4:8], strict=True)]


@pytest.fixture(scope="module")
def parts(tiny_embedding: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Searchable]:
    """Four documents of one chunk each, and their index."""
    folder = tmp_path_factory.mktemp("corpus")
    write_jsonl(folder / "documents.jsonl", [Document(f"d{n}", f"d{n}", text) for n, text in enumerate(TEXTS)])
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(TEXTS)]
    write_jsonl(folder / "chunks.jsonl", chunks)
    encoder = Encoder(load_encoder(tiny_embedding, tasks.RUNTIME), tasks.RUNTIME)
    index = tmp_path_factory.mktemp("index")
    build_index(chunks, encoder, "key", "base", tasks.job(index))
    bm25 = Bm25([chunk.id for chunk in chunks], TEXTS)
    return Corpus(folder), Searchable(encoder, FaissStore.open(index), bm25)


def no_generator() -> Any:
    raise AssertionError("an LLM that is given writes in the place of the local writer")


def test_a_candidate_carries_its_whole_passage(parts: tuple[Corpus, Searchable]) -> None:
    written = [Written(Assignment(f"c{n}", SENTENCES[n], "keyword"), f"search {n}", "") for n in (2, 0)]
    found = stage._candidates(written, tasks.asking().kinds, *parts, tasks.QUIET)
    assert [(item.chunk_id, item.text, item.passage) for item in found] == [
        ("c2", SENTENCES[2], TEXTS[2]),
        ("c0", SENTENCES[0], TEXTS[0]),
    ]


def test_a_question_is_looked_for_by_the_words_that_the_run_knows(parts: tuple[Corpus, Searchable]) -> None:
    corpus, base = parts
    written = [Written(Assignment("c2", SENTENCES[2], "keyword"), "zzz", "")]

    def rank(word: str) -> int:
        words = Bm25([chunk.id for chunk in corpus.chunks], [word if n == 2 else "other" for n in range(4)])
        known = replace(base, bm25=words)
        return stage._candidates(written, tasks.asking().kinds, corpus, known, tasks.QUIET)[0].rank

    assert rank("zzz") == 1
    assert rank("other") > 1


@pytest.mark.parametrize(("blocked", "kept"), [([], 4), (["LIGHTHOUSE", "may"], 2)])
def test_the_blocked_words_reach_their_filter(
    parts: tuple[Corpus, Searchable], tmp_path: Path, blocked: list[str], kept: int
) -> None:
    settings = SynthesisConfig(
        writer=WriterConfig(kind="python"),
        kinds={"keyword": 1.0},
        filters=["toxicity"],
        blocked_words=blocked,
        questions_per_chunk=1.0,
    )
    (tmp_path / "work").mkdir()
    llm = llm_writer(settings, 0, Local())
    writers = stage.Writers(no_generator, llm)
    stage.build(settings, parts[0], HumanExamples(), writers, parts[1], tasks.job(tmp_path))
    questions = read_jsonl(tmp_path / "questions.jsonl", QAPair)
    assert len(questions) == kept, questions
    funnel = Counter({row["reason"]: row["count"] for row in json.loads((tmp_path / "funnel.json").read_text())})
    assert funnel["keyword dropped: holds a blocked word"] == 4 - kept
    assert not any(word.lower() in pair.question.lower() for pair in questions for word in blocked)


class Fluent:
    """A local writer that asks about every text and answers whatever it is asked; keeps what stood before."""

    tokenizer = None

    def __init__(self) -> None:
        self.prefixes: Counter[str] = Counter()

    def generate(self, prompts: Sequence[str], sampling: Any, *, prefix: str = "", **_: Any) -> list[str]:
        self.prefixes[prefix] += len(prompts)
        return [f" What is it that they say in place number {len(prompt)}?" for prompt in prompts]


def test_who_writes_is_asked_without_the_passages_too(parts: tuple[Corpus, Searchable], tmp_path: Path) -> None:
    settings = SynthesisConfig(kinds={"factoid": 1.0}, filters=["closed_book"], questions_per_chunk=1.0, samples=1)
    (tmp_path / "work").mkdir()
    writer = Fluent()
    writers = stage.Writers(lambda: cast("Generator", writer))
    stage.build(settings, parts[0], HumanExamples(), writers, parts[1], tasks.job(tmp_path))
    assert len(writer.prefixes) == 3  # the question, its answer, and the question alone
    assert writer.prefixes[PREFIX] > 0


def test_two_records_never_share_an_id(parts: tuple[Corpus, Searchable]) -> None:
    corpus = parts[0]
    kind = tasks.asking().kinds["keyword"]
    twice = [Candidate("c0", text, kind, "train", "lighthouse book", "", 1) for text in (SENTENCES[0], SENTENCES[4])]
    pairs, dropped = accept(twice, Rules([], lambda word: True, HumanExamples()), corpus, lambda _: None)
    assert len(pairs) == 1
    assert dropped == {"keyword dropped: asked before": 1}


def test_nothing_but_the_text_of_examples_is_said_to_be_so(parts: tuple[Corpus, Searchable]) -> None:
    corpus = parts[0]
    only_test = cast("Corpus", SimpleNamespace(chunks=corpus.chunks, split_of=dict.fromkeys(corpus.split_of, "test")))
    examples = HumanExamples(tuple(HumanExample(text, "Who?", "", 0, ()) for text in TEXTS))
    with pytest.raises(UserError, match="is that of an example"):
        stage.planned(SynthesisConfig(), only_test, 0, examples)
