"""Teachers give the scores that they say, once, whatever interrupts them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from raglift import plugins
from raglift.artifacts import WORK
from raglift.config import PluginSpec
from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.searchable import Searchable
from raglift.index.stage import build as build_index
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.query_likelihood import load_likelihood_reranker
from raglift.records import Chunk
from raglift.synthesis import teacher_scores
from raglift.synthesis.hard_negatives import load_pairs, save_pairs
from raglift.training.pairs import Pair
from raglift.training.teachers import hybrid, language_model
from raglift.training.teachers._base import Classroom, Score
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import SENTENCES, word_tokenizer


@pytest.fixture(scope="module")
def classroom(tiny_embedding: Path, tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """The eight sentences as chunks, indexed by the tiny model."""
    chunks = [Chunk(f"c{n}", "d", text, 0, len(text)) for n, text in enumerate(SENTENCES[:8])]
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    out = tmp_path_factory.mktemp("index")
    build_index(chunks, encoder, "key", "base", tasks.job(out))
    ids, texts = [c.id for c in chunks], [c.text for c in chunks]
    return Classroom(ids, texts, Searchable(encoder, FaissStore.open(out), Bm25(ids, texts)), RUNTIME)


def mined() -> list[Pair]:
    rows = tasks.pairs()
    wrong = [[(n + 1) % 8, (n + 3) % 8][: 1 + n % 2] for n in range(8)]
    return [
        replace(
            pair,
            negatives=tuple(rows[n].passage for n in numbers),
            negative_ids=tuple(f"c{n}" for n in numbers),
        )
        for pair, numbers in zip(rows, wrong, strict=True)
    ]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with one output, as a cross-encoder's folder."""
    return _classifier(tmp_path_factory.mktemp("reranker"), 1)


def _classifier(folder: Path, labels: int) -> Path:
    tokenizer = word_tokenizer()
    torch.manual_seed(1)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, num_labels=labels, initializer_range=0.4, **size
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scored(spec: dict[str, Any], classroom: Classroom, pairs: Sequence[Pair]) -> list[tuple[float, ...]]:
    name, settings = next(iter(spec.items()))
    found: list[tuple[float, ...]] = plugins.load("teacher", name)(**settings).begin(classroom)(pairs)
    assert [len(row) for row in found] == [1 + len(pair.negatives) for pair in pairs]
    assert all(isinstance(value, float) and math.isfinite(value) for row in found for value in row)
    return found


def test_the_hybrid_is_the_mix_by_hand(classroom: Classroom) -> None:
    pairs = mined()
    found = scored({"hybrid": {"share": 0.7, "scale": 10.0}}, classroom, pairs)
    queries = classroom.base.encoder.encode([pair.query for pair in pairs], "query")
    passages = classroom.base.encoder.encode(list(classroom.texts), "passage")
    bm25 = classroom.base.bm25
    for row, (pair, scores) in enumerate(zip(pairs, found, strict=True)):
        cosines, words = passages @ queries[row], bm25.scores(pair.query)
        assert words.max() > 0
        mixed = 10 * (0.7 * (cosines + 1) / (cosines.max() + 1) + 0.3 * words / words.max())
        expected = [mixed[classroom.ids.index(name)] for name in (pair.chunk_id, *pair.negative_ids)]
        assert scores == pytest.approx(expected, abs=1e-4)


def test_the_hybrids_best_is_the_scale(classroom: Classroom) -> None:
    pair = Pair(SENTENCES[2], SENTENCES[2], "c2", (SENTENCES[3],), ("c3",))
    ((best, other),) = scored({"hybrid": {}}, classroom, [pair])
    assert best == pytest.approx(20.0, abs=1e-3)
    assert 0 <= other < best


@pytest.mark.parametrize("query", ["", "zzz qqq", "the of and"])
def test_a_query_without_a_known_word_has_the_cosine_alone(classroom: Classroom, query: str) -> None:
    pair = replace(mined()[1], query=query)
    words = scored({"hybrid": {"share": 0.0}}, classroom, [pair])
    assert words == [(0.0,) * (1 + len(pair.negatives))]


def test_bm25_scores_are_those_of_the_rankings(classroom: Classroom) -> None:
    bm25 = classroom.base.bm25
    for pair in mined():
        scores = bm25.scores(pair.query)
        assert scores.shape == (8,)
        for chunk_id, score in bm25.rankings([pair.query], 8)[0]:
            assert score == pytest.approx(float(scores[classroom.ids.index(chunk_id)]))


def test_a_cross_encoders_scores_are_its_logits(classroom: Classroom, reranker: Path) -> None:
    pairs = mined()
    found = scored({"cross_encoder": {"model": str(reranker), "batch_size": 3}}, classroom, pairs)
    model = AutoModelForSequenceClassification.from_pretrained(reranker).eval()
    tokenizer = AutoTokenizer.from_pretrained(reranker)
    for pair, scores in zip(pairs, found, strict=True):
        for text, score in zip((pair.passage, *pair.negatives), scores, strict=True):
            with torch.no_grad():
                logit = model(**tokenizer(pair.query, text, return_tensors="pt")).logits
            assert score == pytest.approx(float(logit), abs=1e-4)
    assert np.std([score for scores in found for score in scores]) > 0.01
    assert isinstance(CrossEncoder(str(reranker), device="cpu").activation_fn, torch.nn.Sigmoid)  # what is left out


def test_a_classifier_is_no_teacher(classroom: Classroom, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="It gives 3 numbers"):
        plugins.load("teacher", "cross_encoder")(model=str(_classifier(tmp_path, 3))).begin(classroom)


@pytest.mark.parametrize("size", [1, 5])
def test_a_language_models_score_is_the_log_odds_of_yes(classroom: Classroom, tiny_llm: Path, size: int) -> None:
    pairs = mined()[:3]
    found = scored({"language_model": {"model": str(tiny_llm), "batch_size": size}}, classroom, pairs)
    model, tokenizer = load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm)
    # This tokenizer knows neither word; what begins both, a space of its own, tells nothing.
    first = [
        tokenizer.convert_tokens_to_ids(tokens)
        for tokens in (["Y", "y"], ["N", "n", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}n"])
    ]
    for pair, scores in zip(pairs, found, strict=True):
        for text, score in zip((pair.passage, *pair.negatives), scores, strict=True):
            asked = f"Passage: {text}\n\nQuestion: {pair.query}\n\nDoes the passage answer the question? "
            turns = [{"role": "user", "content": f"{asked}Reply with Yes or No."}]
            prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                chances = model(ids).logits[0, -1].double().softmax(0)
            yes, no = (float(chances[tokens].sum()) for tokens in first)
            assert score == pytest.approx(math.log(yes / no), abs=1e-3)


def test_the_likelihood_of_a_query_is_that_of_the_reranker(classroom: Classroom, tiny_llm: Path) -> None:
    pairs = mined()[:3]
    found = scored({"query_likelihood": {"model": str(tiny_llm)}}, classroom, pairs)
    reranker = load_likelihood_reranker(tiny_llm, RUNTIME)
    for pair, scores in zip(pairs, found, strict=True):
        texts = (pair.passage, *pair.negatives)
        assert scores == pytest.approx(reranker.log_probabilities([(pair.query, text) for text in texts]), rel=1e-5)


def test_a_language_model_that_cannot_tell_yes_from_no(
    classroom: Classroom, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "_NO", ("Yes", "yes"))
    with pytest.raises(UserError, match="one and the same token"):
        plugins.load("teacher", "language_model")(model=str(tiny_llm)).begin(classroom)


def test_a_passage_that_is_too_long_for_the_language_model(classroom: Classroom, tiny_llm: Path) -> None:
    pair = Pair("Where?", "harbour " * 1200, "c0")
    with pytest.raises(UserError, match=r"it reads 1,024\.") as caught:
        scored({"language_model": {"model": str(tiny_llm)}}, classroom, [pair])
    assert "corpus.chunk_tokens" in str(caught.value)


def corpus_of(classroom: Classroom) -> Any:
    chunks = [Chunk(i, "d", text, 0, len(text)) for i, text in zip(classroom.ids, classroom.texts, strict=True)]
    return SimpleNamespace(chunks=chunks)


def build(classroom: Classroom, pairs: Sequence[Pair], out: Path, spec: PluginSpec | None = None) -> list[Pair]:
    (out / WORK).mkdir(parents=True, exist_ok=True)
    last = (classroom.base, RUNTIME, tasks.job(out))
    teacher_scores.build(spec or PluginSpec(name="hybrid"), pairs, corpus_of(classroom), *last)
    return load_pairs(out)


def test_passages_that_are_no_chunks_are_scored_among_the_chunks(classroom: Classroom, tmp_path: Path) -> None:
    foreign = {"text-a": "The keeper counts every ship of the harbour.", "text-b": "No ship has a name in a blue book."}
    query, texts = "Where does the keeper write the names of ships?", {"text-a": foreign["text-a"], "c1": SENTENCES[1]}
    negatives = {"c1": SENTENCES[1], "text-b": foreign["text-b"]}
    pair = Pair(query, foreign["text-a"], "text-a", tuple(negatives.values()), tuple(negatives), given=2)
    known = mined()[3]
    found = build(classroom, [pair, known], tmp_path, PluginSpec(name="hybrid", settings={"share": 0.7}))
    texts |= negatives
    words = Bm25([*classroom.ids, *foreign], [*classroom.texts, *foreign.values()])
    lexical = dict(zip([*classroom.ids, *foreign], words.scores(query), strict=True))
    encoder = classroom.base.encoder
    vector = encoder.encode([query], "query")[0]
    best = float((encoder.encode(list(classroom.texts), "passage") @ vector).max())
    cosines = dict(zip(texts, encoder.encode(list(texts.values()), "passage") @ vector, strict=True))
    highest = max(lexical.values())
    expected = [20 * (0.7 * (cosines[n] + 1) / (best + 1) + 0.3 * lexical[n] / highest) for n in texts]
    assert found[0].scores == pytest.approx(expected, abs=1e-4)
    assert lexical["text-a"] > 0 < lexical["text-b"]
    assert len(found[1].scores) == 1 + len(known.negatives)


def test_an_interrupted_teacher_goes_on_and_asks_nothing_twice(
    classroom: Classroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_scores, "_BLOCK", 3)
    pairs = mined()
    pairs[4] = tasks.pairs()[4]  # without a hard negative, there is nothing to compare
    whole = build(classroom, pairs, tmp_path / "whole")
    assert [bool(pair.scores) for pair in whole] == [row != 4 for row in range(8)]
    assert [replace(pair, scores=()) for pair in whole] == pairs
    asked: list[str] = []
    begin = hybrid.Hybrid.begin

    def watched(self: hybrid.Hybrid, room: Classroom) -> Score:
        score = begin(self, room)

        def one(block: Sequence[Pair]) -> list[tuple[float, ...]]:
            if len(asked) == 3:
                asked.append("killed")
                raise KeyboardInterrupt
            asked.extend(pair.query for pair in block)
            return score(block)

        return one

    monkeypatch.setattr(hybrid.Hybrid, "begin", watched)
    with pytest.raises(KeyboardInterrupt):
        build(classroom, pairs, tmp_path / "cut")
    assert build(classroom, pairs, tmp_path / "cut") == whole
    asked.remove("killed")
    assert sorted(asked) == sorted(pair.query for row, pair in enumerate(pairs) if row != 4)


def test_what_decides_the_scores_is_in_their_key(reranker: Path, tiny_llm: Path) -> None:
    def key(name: str, **settings: Any) -> list[Any]:
        return teacher_scores.settings_of(PluginSpec(name=name, settings=settings))

    assert key("hybrid") == ["hybrid", 1, {"share": 0.8, "scale": 20.0}]
    assert key("cross_encoder", model=str(reranker))[-1] == find_model(str(reranker)).revision
    assert key("language_model", model=str(tiny_llm))[-1] == find_model(str(tiny_llm)).revision


def test_sets_without_scores_keep_their_bytes(tmp_path: Path) -> None:
    save_pairs(mined(), tmp_path / "pairs")
    columns = json.loads((tmp_path / "pairs" / "dataset_info.json").read_text("utf-8"))["features"]
    assert sorted(columns) == ["chunk_id", "negative_ids", "negatives", "passage", "query", "spared"]
    assert load_pairs(tmp_path) == mined()
