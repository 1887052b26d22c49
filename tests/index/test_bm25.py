"""Rankings against their formulas written out."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import TextNode

from raglift.config_fields import LANGUAGES
from raglift.errors import UserError
from raglift.index.bm25 import ANY, Bm25
from raglift.index.ranking import dense_rankings
from raglift.index.store import FaissStore
from tests.tiny import QUESTIONS, SENTENCES

WORDS = ["lantern", "harbour", "tide", "ships", "shipping", "bakers", "baking", "gear", "the", "of", "snow"]
documents = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=12)


def tokens(text: str) -> list[str]:
    """Words by bm25s's own pattern, without its English stopwords, stemmed."""
    stemmer = Stemmer.Stemmer("english")
    return list(bm25s.tokenize([text], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)[0])


def lucene(texts: list[str], query: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """Kamphuis et al. 2020, table 1, Lucene (accurate)."""
    counted = [Counter(tokens(text)) for text in texts]
    average = sum(counter.total() for counter in counted) / len(texts)
    scores = [0.0] * len(texts)
    for word in tokens(query):
        matching = sum(word in counter for counter in counted)
        weight = math.log(1 + (len(texts) - matching + 0.5) / (matching + 0.5))
        for row, counter in enumerate(counted):
            if counter[word]:
                norm = k1 * (1 - b + b * counter.total() / average)
                scores[row] += weight * counter[word] / (counter[word] + norm)
    return scores


@given(documents, st.lists(st.sampled_from([*WORDS, "unseen"]), max_size=6).map(" ".join), st.integers(1, 15))
def test_bm25_is_lucenes_formula(texts: list[str], query: str, depth: int) -> None:
    ids = [f"d{row}" for row in range(len(texts))]
    ranking = Bm25(ids, texts).rankings([query], depth)[0]
    expected = lucene(texts, query)
    order = sorted((row for row, score in enumerate(expected) if score > 0), key=lambda row: -expected[row])[:depth]
    assert [score for _, score in ranking] == pytest.approx([expected[row] for row in order], rel=1e-4)
    for chunk_id, score in ranking:
        assert score == pytest.approx(expected[ids.index(chunk_id)], rel=1e-4)
    assert len({chunk_id for chunk_id, _ in ranking}) == len(ranking)


def test_bm25_finds_the_sentence_that_shares_the_words() -> None:
    ids = [f"s{row}" for row in range(len(SENTENCES))]
    rankings = Bm25(ids, SENTENCES).rankings([question for question, _ in QUESTIONS], 3)
    assert [ranking[0][0] for ranking in rankings] == ids[: len(QUESTIONS)]


@pytest.mark.parametrize("query", ["", "   ", "?!", "the of and", "zebra", "\U0001f600"])
def test_a_query_that_shares_no_word_finds_nothing(query: str) -> None:
    assert Bm25(["a", "b"], SENTENCES[:2]).rankings([query, "lighthouse"], 5)[0] == ()
    assert Bm25(["a", "b"], SENTENCES[:2]).rankings([query, "lighthouse"], 5)[1][0][0] == "a"


def test_equal_scores_keep_the_order_of_the_chunks() -> None:
    assert [name for name, _ in Bm25(["b", "a", "c"], ["snow", "snow", "snow"]).rankings(["snow"], 3)[0]] == list("bac")


@pytest.mark.parametrize("texts", [["the of and", "?"], [""]])
def test_chunks_without_words_do_no_harm(texts: list[str]) -> None:
    assert Bm25([str(row) for row in range(len(texts))], texts).rankings(["snow", "the"], 5) == [(), ()]


@given(documents, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join))
def test_the_first_ranks_do_not_depend_on_how_many_are_asked_for(texts: list[str], query: str) -> None:
    bm25 = Bm25([str(row) for row in range(len(texts))], texts)
    whole = bm25.rankings([query], len(texts))[0]
    for depth in range(1, len(texts) + 1):
        assert bm25.rankings([query], depth)[0] == whole[:depth]


@pytest.mark.parametrize("texts", [SENTENCES, ["the of and", "?"], [""]])
@pytest.mark.parametrize("language", ["english", "german", "any"])
def test_what_is_saved_ranks_alike_and_holds_no_pickle(texts: list[str], language: str, tmp_path: Path) -> None:
    built = Bm25([f"c{row}" for row in range(len(texts))], texts, language)
    built.save(tmp_path)
    loaded = Bm25.load(tmp_path)
    asked = [question for question, _ in QUESTIONS]
    assert loaded.rankings(asked, 5) == built.rankings(asked, 5)
    assert len(loaded) == len(texts)
    for file in tmp_path.glob("*.npy"):
        np.load(file, allow_pickle=False)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".npy", ".json"}


def test_a_pickled_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sound BM25 index"):
        Bm25.load(tmp_path)
    Bm25(["a"], ["snow"]).save(tmp_path)
    np.save(tmp_path / "data.csc.index.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="no sound BM25 index") as caught:
        Bm25.load(tmp_path)
    assert "allow_pickle" in caught.value.why


def test_the_same_chunks_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from raglift.index.bm25 import Bm25; from tests.tiny import SENTENCES;"
        "Bm25([str(i) for i in range(len(SENTENCES))], SENTENCES).save(Path(sys.argv[1]))"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment, timeout=120)
    first, second = ({f.name: f.read_bytes() for f in (tmp_path / seed).iterdir()} for seed in ("1", "2"))
    assert first == second
    assert len(first) > 4


def test_words_are_stemmed_and_dropped_in_their_own_language() -> None:
    texts = ["Die Häuser stehen am Hafen.", "Der Wind weht über das Meer."]
    german = Bm25(["a", "b"], texts, "german").rankings(["Haus am Meer der Hafens"], 2)[0]
    assert [name for name, _ in german] == ["a", "b"]
    assert Bm25(["a", "b"], texts, "german").rankings(["der die das am"], 2) == [()]
    assert Bm25(["a", "b"], texts, "any").rankings(["Hafens"], 2) == [()]
    assert [name for name, _ in Bm25(["a", "b"], texts, "any").rankings(["die"], 2)[0]] == ["a"]
    with pytest.raises(UserError, match="knows no language 'klingon'"):
        Bm25(["a"], ["x"], "klingon")


def test_the_config_knows_the_languages_that_there_are() -> None:
    assert set(LANGUAGES) == {ANY, *Stemmer.algorithms()} - {"porter"}


def test_how_far_it_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raglift.index.bm25._BLOCK", 4)
    told: list[int] = []
    cut = Bm25([str(row) for row in range(10)], SENTENCES, advance=told.append)
    assert told == [4, 4, 2]
    assert cut.rankings(SENTENCES, 3) == Bm25([str(row) for row in range(10)], SENTENCES).rankings(SENTENCES, 3)


def test_dense_rankings_are_cosines_best_first() -> None:
    vectors = np.array([[1, 0], [0, 2], [3, 3]], dtype=np.float32)
    store = FaissStore(dimension=2)
    store.add_vectors([TextNode(id_=name, text=name) for name in "abc"], vectors)
    found = dense_rankings(store, np.array([[5, 0], [0, -1]], dtype=np.float32), 2)
    assert [name for name, _ in found[0]] == ["a", "c"]
    assert [score for _, score in found[0]] == pytest.approx([1, 0.5**0.5])
    assert [name for name, _ in found[1]] == ["a", "c"]
    assert [score for _, score in found[1]] == pytest.approx([0, -(0.5**0.5)])
    assert dense_rankings(FaissStore(dimension=2), vectors, 3) == [(), (), ()]
