"""The stage of the pairs that a user brings: those that may train, their passages known among the run's chunks.

What is held out trains nothing, whoever wrote it. A pair does not train where its query is a development or test
question, or where its passage or its query is, as a document would be, a near-duplicate of a development or test
document, or holds one of its chunks.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from raglift.artifacts import write_json
from raglift.corpus.near_duplicates import containing_sets
from raglift.corpus.stage import Corpus
from raglift.job import Job
from raglift.records import QAPair, content_id
from raglift.synthesis.hard_negatives import save_pairs
from raglift.synthesis.human_examples import squeezed
from raglift.synthesis.words import words
from raglift.training.pairs import Pair, asked

VERSION = 1
TRAINING = "given pairs that train"
_TELLING = 12
"""Words from which on a query, or a chunk within a passage, is taken for a text of its own."""
_BLOCK = 1000
"""Texts compared with what is held out at once: words that very many texts share would count for boilerplate."""
_LEFT_OUT = "given pairs left out: "
_ASKED = "their query is a development or test question"
_HELD_OUT = "their passage repeats a development or test document"
_REPEATED = "they stand there twice; the negatives of both count"


@dataclass(frozen=True, slots=True)
class GivenPairs:
    """The pairs of a file, as they stand there.

    Attributes:
        left_out: How many were of no use, by reason.
    """

    items: tuple[Pair, ...]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def key(self) -> str:
        """All of it, hashed."""
        return content_id([asdict(item) for item in self.items], sorted(self.left_out.items()))


def given_pair(query: str, passage: str, negatives: Sequence[str] = ()) -> Pair:
    """A pair whose texts are named by what they say, however their white space runs, so that equal ones are one."""
    texts = tuple(negatives)
    return Pair(query, passage, _name(passage), texts, tuple(map(_name, texts)), given=len(texts))


def _name(text: str) -> str:
    return f"text-{content_id(squeezed(text))}"


def build(given: GivenPairs, corpus: Corpus, questions: Sequence[QAPair], near_duplicate: float, job: Job) -> None:
    """Write the dataset `pairs`, those that may train, and funnel.json.

    Args:
        questions: The synthetic questions of every split; the human ones come with the corpus.
        near_duplicate: Share of the smaller of a passage and a document whose word 5-grams stand in the other, from
            which on they are the same text (`corpus.near_duplicate`).
    """
    with job.display.stage("looking for what is held out among the pairs", len(given.items), "pairs") as bar:
        kept, counts = learnable(given.items, corpus, questions, near_duplicate)
        bar.advance(len(given.items))
    for reason, count in given.left_out.items():
        counts[_LEFT_OUT + reason] += count
    counts["given pairs read"] = len(given.items) + given.left_out.total()
    counts[TRAINING] = len(kept)
    counts["given pairs that train, about a passage of the documents"] = sum(p.chunk_id in corpus.text_of for p in kept)
    counts["negatives that came with them"] = sum(pair.given for pair in kept)
    save_pairs(kept, job.out / "pairs")
    rows = [{"stage": "pairs", "reason": reason, "count": count} for reason, count in sorted(counts.items())]
    write_json(job.out / "funnel.json", rows)


def learnable(
    pairs: Sequence[Pair], corpus: Corpus, questions: Sequence[QAPair], near_duplicate: float
) -> tuple[list[Pair], Counter[str]]:
    """The pairs that may train, with the other passages of a query that has several, and how many may not, by reason.

    A text that is a chunk's gets the chunk's id. Of a pair's negatives those are left out that are held out
    themselves, that are right for its query, or that stand there twice.
    """
    judging = {_folded(q.question) for q in (*corpus.human, *questions) if q.split != "train"}
    named = _named(corpus)
    texts = {text for pair in pairs for text in (pair.query, pair.passage, *pair.negatives)}
    held_out = _held_out(texts, corpus, near_duplicate)
    counts: Counter[str] = Counter()
    kept: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        pair = replace(pair, chunk_id=named(pair.passage), negative_ids=tuple(map(named, pair.negatives)))
        if _folded(pair.query) in judging:
            counts[_LEFT_OUT + _ASKED] += 1
        elif pair.passage in held_out or (pair.query in held_out and len(words(pair.query)) >= _TELLING):
            counts[_LEFT_OUT + _HELD_OUT] += 1
        elif (first := kept.get((asked(pair.query), pair.chunk_id))) is not None:  # as triplets often do
            counts[_LEFT_OUT + _REPEATED] += 1
            kept[asked(pair.query), pair.chunk_id] = _with_negatives_of(first, pair)
        else:
            kept[asked(pair.query), pair.chunk_id] = pair
    right: defaultdict[str, list[str]] = defaultdict(list)
    for query, name in kept:
        right[query].append(name)
    found = []
    for (query, name), pair in kept.items():
        own = _with_sound_negatives(pair, set(right[query]), held_out)
        counts["negatives left out: held out, right, or twice there"] += pair.given - own.given
        found.append(replace(own, also=tuple(other for other in right[query] if other != name)))
    return found, +counts


def _with_negatives_of(pair: Pair, other: Pair) -> Pair:
    return replace(
        pair,
        negatives=pair.negatives + other.negatives,
        negative_ids=pair.negative_ids + other.negative_ids,
        given=pair.given + other.given,
    )


def _with_sound_negatives(pair: Pair, right: set[str], held_out: set[str]) -> Pair:
    sound = {
        name: text
        for name, text in zip(pair.negative_ids, pair.negatives, strict=True)
        if name not in right and text not in held_out
    }
    return replace(pair, negatives=tuple(sound.values()), negative_ids=tuple(sound), given=len(sound))


def _folded(text: str) -> str:
    """The words of a text, whatever their case, their punctuation, and the form of their letters."""
    return " ".join(words(unicodedata.normalize("NFKC", text.casefold())))


def _named(corpus: Corpus) -> Callable[[str], str]:
    """Text -> the id of the chunk of the train split that it is, else its own."""
    chunks = {_name(c.text): c.id for c in corpus.chunks if corpus.split_of[c.document_id] == "train"}
    return lambda text: chunks.get(_name(text), _name(text))


def _held_out(texts: Iterable[str], corpus: Corpus, near_duplicate: float) -> set[str]:
    """Those that repeat a development or test document, are one of its chunks, or hold one."""
    documents = {document.id: document.text for document in corpus.documents if document.split != "train"}
    chunks = {chunk.id: chunk.text for chunk in corpus.chunks if chunk.document_id in documents}
    same = {squeezed(text) for text in chunks.values()}
    # Words that a chunk of a line has are anybody's.
    judged = {**documents, **{name: text for name, text in chunks.items() if len(words(text)) >= _TELLING}}
    ordered, found = sorted(texts), set()
    for start in range(0, len(ordered), _BLOCK):
        names = {f"given {place}": text for place, text in enumerate(ordered[start : start + _BLOCK])}
        alike = containing_sets({**names, **judged}, near_duplicate)
        found |= {text for name, text in names.items() if not judged.keys().isdisjoint(alike.get(name, ()))}
        found |= {text for text in names.values() if squeezed(text) in same}
    return found


def said_of(folder: Path) -> tuple[int, list[str]]:
    """How many of the pairs that `build` wrote into `folder` train, and in words how many do not."""
    rows = json.loads((folder / "funnel.json").read_text("utf-8"))
    counts = {row["reason"]: row["count"] for row in rows}
    left_out = {reason.removeprefix(_LEFT_OUT): n for reason, n in counts.items() if reason.startswith(_LEFT_OUT)}
    return counts[TRAINING], [f"{count} ({reason})" for reason, count in left_out.items()]
