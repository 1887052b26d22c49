"""BM25 over a corpus's chunks: built once, kept beside the vectors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Sequence
from itertools import count
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from bm25s import stopwords
from numpy.typing import NDArray

from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.plugins import nearest

VERSION = 1
FILE = "bm25.json"
_BLOCK = 1024
_STOPWORDS = {
    "danish": stopwords.STOPWORDS_DANISH,
    "dutch": stopwords.STOPWORDS_DUTCH,
    "english": stopwords.STOPWORDS_EN,
    "french": stopwords.STOPWORDS_FRENCH,
    "german": stopwords.STOPWORDS_GERMAN,
    "italian": stopwords.STOPWORDS_ITALIAN,
    "norwegian": stopwords.STOPWORDS_NORWEGIAN,
    "portuguese": stopwords.STOPWORDS_PORTUGUESE,
    "russian": stopwords.STOPWORDS_RUSSIAN,
    "spanish": stopwords.STOPWORDS_SPANISH,
    "swedish": stopwords.STOPWORDS_SWEDISH,
    "turkish": stopwords.STOPWORDS_TURKISH,
}
"""Other languages keep all words: the commonest weigh next to nothing anyway."""
ANY = "any"
"""Words as they stand, of whatever language."""


class Bm25:
    """Okapi BM25 (Lucene's variant, k1 1.5, b 0.75) over stemmed words, by bm25s.

    Args:
        ids: Of the chunks.
        texts: Of the same chunks.
        language: Of Snowball's stemmers, or "any": words as they stand, in lower case.
        advance: Told how many more texts are cut into words.

    Raises:
        UserError: There is no stemmer for the language.

    References:
        Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".
        Kamphuis et al. 2020, "Which BM25 Do You Mean?"
    """

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        language: str = "english",
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._begin(ids, language)
        words: list[list[str]] = []
        for start in range(0, len(texts), _BLOCK):
            words += self._tokens(texts[start : start + _BLOCK])
            advance(min(_BLOCK, len(texts) - start))
        # Numbered in their order: bm25s's own numbering changes from process to process.
        vocabulary = dict(zip(sorted({word for line in words for word in line}), count(), strict=False))
        self._model: bm25s.BM25 | None = None
        if vocabulary:  # bm25s cannot index a corpus without a single word
            self._model = bm25s.BM25()
            rows = [[vocabulary[word] for word in line] for line in words]
            self._model.index((rows, vocabulary), show_progress=False)

    def _begin(self, ids: Sequence[str], language: str) -> None:
        if language != ANY and language not in Stemmer.algorithms():
            known = [ANY, *Stemmer.algorithms()]
            raise UserError(f"BM25 knows no language {language!r}.", nearest(language, known))
        self._ids, self._language = list(ids), language
        self._allowed: NDArray[np.bool_] | None = None
        self._stemmer = None if language == ANY else Stemmer.Stemmer(language)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def language(self) -> str:
        """Whose stemmer it uses, or "any"."""
        return self._language

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        return list(
            bm25s.tokenize(
                list(texts),
                stopwords=list(_STOPWORDS.get(self._language, ())),
                stemmer=self._stemmer,
                return_ids=False,
                show_progress=False,
            )
        )

    def among(self, ids: Collection[str]) -> Bm25:
        """This index, which finds only chunks with these ids; what it scores stays what it was."""
        found = copy.copy(self)
        found._allowed = np.fromiter((chunk_id in ids for chunk_id in self._ids), np.bool_, len(self._ids))
        return found

    def scores(self, query: str) -> NDArray[np.float32]:
        """The score of every chunk, (chunks,), in the order of the ids; 0 where it shares no word with the query."""
        return self._scores(self._tokens([query])[0])

    def _scores(self, words: list[str]) -> NDArray[np.float32]:
        if not words or self._model is None:
            return np.zeros(len(self._ids), dtype=np.float32)
        found: NDArray[np.float32] = self._model.get_scores(words)
        return found

    def rankings(self, queries: Sequence[str], depth: int) -> list[Ranking]:
        """The best chunks for each query; a chunk that shares no word with it is not in its ranking."""
        return [self._ranking(self._scores(words), depth) for words in self._tokens(queries)]

    def _ranking(self, scores: NDArray[np.float32], depth: int) -> Ranking:
        rows = np.flatnonzero(scores > 0 if self._allowed is None else (scores > 0) & self._allowed)
        if len(rows) > depth:  # sorting all that share a word would cost more than finding them
            least = np.partition(scores[rows], len(rows) - depth)[len(rows) - depth]
            rows = rows[scores[rows] >= least]
        best = rows[np.argsort(-scores[rows], kind="stable")][:depth]
        return tuple((self._ids[row], float(scores[row])) for row in best.tolist())

    def save(self, folder: Path) -> None:
        """Write the index into the folder, as arrays and JSON; the same chunks give the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._model is not None:
            self._model.save(str(folder), show_progress=False, allow_pickle=False)
        write_json(folder / FILE, {"language": self._language, "words": self._model is not None, "ids": self._ids})

    @classmethod
    def load(cls, folder: Path) -> Bm25:
        """The index that `save` wrote.

        Raises:
            UserError: There is none, or it is damaged. Pickled arrays are refused.
        """
        found = cls.__new__(cls)
        try:
            kept = json.loads((folder / FILE).read_text("utf-8"))
            found._begin(kept["ids"], kept["language"])
            found._model = bm25s.BM25.load(str(folder), allow_pickle=False) if kept["words"] else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder} holds no sound BM25 index.", str(error), "Build it anew, from the same chunks."
            ) from error
        return found


def build(ids: Sequence[str], texts: Sequence[str], language: str, job: Job) -> None:
    """Write BM25 over the chunks into the job's folder."""
    with job.display.stage("indexing the words of chunks", len(texts), "chunks") as bar:
        found = Bm25(ids, texts, language, bar.advance)
    found.save(job.out)
