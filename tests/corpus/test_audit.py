from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import Config, CorpusConfig, config_from_dict
from raglift.corpus import audit
from raglift.corpus.documents import Reading, document
from raglift.corpus.stage import build
from raglift.errors import UserError
from raglift.job import Job
from raglift.progress import Progress
from raglift.records import Document, QAPair, Split

SHARED = "the fee is paid within thirty days of the request by card"


def made(split: Split, source: str, text: str) -> Document:
    return replace(document(source, text), split=split)


def pair(split: Split, question: str, origin: str = "synthetic") -> QAPair:
    return QAPair(question, question, (), (), "factoid", split, origin)  # type: ignore[arg-type]


def words(name: str, count: int) -> str:
    return " ".join(f"{name}{n}" for n in range(count))


DOCUMENTS = [
    made("train", "train.md", f"{words('a', 20)} {SHARED}"),
    made("train", "other.md", words("b", 20)),
    made("dev", "dev.md", words("c", 20)),
    made("test", "test.md", f"{words('d', 9)} {SHARED} {words('c', 9)}"),
]


def test_shared_ngrams_are_counted_once_and_their_documents_named() -> None:
    rows = {(row["split"], row["against"]): row for row in audit.document_overlap(DOCUMENTS)}
    found = rows["test", "train"]
    assert (found["ngrams"], found["shared"]) == (9 + 12 + 9 - 7, 12 - 7)
    assert found["pairs"] == [{"document": "test.md", "repeats": "train.md", "shared": 5, "ngrams": 23}]
    assert rows["test", "dev"]["shared"] == 2
    assert rows["dev", "train"] == {"split": "dev", "against": "train", "ngrams": 13, "shared": 0, "pairs": []}


@given(
    splits=st.lists(st.sampled_from(["train", "dev", "test"]), max_size=6),
    texts=st.lists(st.lists(st.sampled_from("ab"), max_size=14).map(" ".join), min_size=6, max_size=6),
)
def test_overlap_is_that_of_the_sets(splits: list[Split], texts: list[str]) -> None:
    documents = [made(split, str(n), text) for n, (split, text) in enumerate(zip(splits, texts, strict=False))]

    def grams(split: str) -> set[tuple[str, ...]]:
        found = set()
        for item in documents:
            own = item.text.split()
            width = min(audit.WORDS, len(own))
            if item.split == split and own:
                found |= {tuple(own[i : i + width]) for i in range(len(own) - width + 1)}
        return found

    for row in audit.document_overlap(documents):
        here, there = grams(row["split"]), grams(row["against"])
        assert (row["ngrams"], row["shared"]) == (len(here), len(here & there))
        assert bool(row["pairs"]) == bool(here & there)


def stored(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / audit.FILE).write_text(json.dumps(rows), "utf-8")
    return folder


def test_too_much_shared_text_stops_the_run_and_names_the_pairs(tmp_path: Path) -> None:
    stored(tmp_path, audit.document_overlap(DOCUMENTS))
    said: list[str] = []
    audit.check_documents(audit.read_documents(tmp_path, CorpusConfig(audit_ngrams=0.22)), said.append)
    assert said[1] == "audit: word 8-grams of test documents also in train documents: 5 of 23 (21.7%)"
    assert len(said) == 3
    with pytest.raises(UserError, match=r"test documents also in train documents: 5 of 23 \(21\.7%\)") as caught:
        audit.check_documents(audit.read_documents(tmp_path, CorpusConfig(audit_ngrams=0.2)), said.append)
    assert "test.md and train.md (5 of 23)" in caught.value.why
    assert "corpus.audit_ngrams allows 20.0%" in caught.value.why
    assert "corpus.near_duplicate" in caught.value.fix


def test_a_limit_of_one_never_stops(tmp_path: Path) -> None:
    same = [made("train", "a", SHARED), made("test", "b", SHARED)]
    stored(tmp_path, audit.document_overlap(same))
    with pytest.raises(UserError, match=r"100\.0%"):
        audit.check_documents(audit.read_documents(tmp_path, CorpusConfig(audit_ngrams=0.99)), print)
    audit.check_documents(audit.read_documents(tmp_path, CorpusConfig(audit_ngrams=1.0)), print)


QUESTIONS = [
    pair("train", "How high is the fee?"),
    pair("train", "Who bakes bread?"),
    pair("test", "What is the fee?"),
    pair("test", "Where is the harbour?"),
    pair("test", "How high is the fee, please?", "human"),
    pair("dev", "When does the tide turn?", "human"),
]
VECTORS = np.array([[1, 0, 0], [0, 1, 0], [0.96, 0.28, 0], [0, 0, 1], [1, 0, 0], [0, 0.6, 0.8]], dtype=np.float32)


class Fixed:
    """Stands in for an encoder: knows the questions above."""

    def encode(self, texts: list[str], role: str, advance: Any) -> np.ndarray[Any, Any]:
        assert role == "query"
        advance(len(texts))
        known = {item.question: vector for item, vector in zip(QUESTIONS, VECTORS, strict=True)}
        return np.array([known[text] for text in texts])


def test_questions_are_compared_with_those_of_training(tmp_path: Path) -> None:
    audit.build(QUESTIONS, Fixed(), Job(tmp_path, 0, Progress(quiet=True)))  # type: ignore[arg-type]
    rows = json.loads((tmp_path / audit.FILE).read_text("utf-8"))
    assert [(row["question"], row["training"], row["cosine"]) for row in rows] == [
        ("How high is the fee, please?", "How high is the fee?", 1.0),
        ("What is the fee?", "How high is the fee?", 0.96),
        ("When does the tide turn?", "Who bakes bread?", 0.6),
        ("Where is the harbour?", "How high is the fee?", 0.0),
    ]
    found = audit.read_questions(tmp_path, CorpusConfig(audit_similarity=0.95, audit_questions=1.0))
    assert [(item.what, item.count, item.total) for item in found] == [
        ("human dev questions", 0, 1),
        ("human test questions", 1, 1),
        ("synthetic test questions", 1, 2),
    ]
    audit.check_questions(found, print)
    stricter = audit.read_questions(tmp_path, CorpusConfig(audit_similarity=0.97, audit_questions=0.5))
    with pytest.raises(UserError, match=r"human test questions also in training questions: 1 of 1") as caught:
        audit.check_questions(stricter, print)
    assert "'How high is the fee, please?' and 'How high is the fee?' (1.00)" in caught.value.why
    assert [row["share"] for row in audit.report_rows(stricter)] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("splits", [[], ["train"], ["test", "test"]])
def test_without_two_sides_there_is_nothing_to_compare(tmp_path: Path, splits: list[Split]) -> None:
    questions = [replace(item, split=split) for item, split in zip(QUESTIONS, splits, strict=False)]
    audit.build(questions, Fixed(), Job(tmp_path, 0, Progress(quiet=True)))  # type: ignore[arg-type]
    assert audit.read_questions(tmp_path, CorpusConfig()) == []
    rows = audit.document_overlap([made(split, str(n), SHARED) for n, split in enumerate(splits)])
    assert all(row["shared"] == 0 for row in rows)


def config(**corpus: Any) -> Config:
    return config_from_dict({"data": {"documents": "python-reference"}, "corpus": {"chunk_tokens": 40, **corpus}})


@pytest.mark.parametrize("chunker", ["sentence", "token", "markdown"])
def test_the_corpus_stage_writes_the_audit_and_no_group_straddles_a_split(tmp_path: Path, chunker: str) -> None:
    documents = [document(f"{n}.md", f"# Page {n}\n\n{words(f'w{n // 2}x', 60)} {n}") for n in range(12)]
    build(config(chunker=chunker), Reading(documents), [], Job(tmp_path, 0, Progress(quiet=True)))
    rows = [json.loads(line) for line in (tmp_path / "documents.jsonl").read_text("utf-8").splitlines()]
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())
    audit.check_documents(audit.read_documents(tmp_path, CorpusConfig(audit_ngrams=0.0)), print)
