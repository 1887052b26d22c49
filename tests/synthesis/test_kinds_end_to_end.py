"""A whole run with every question kind, written by an object that writes valid ones and now and then an invalid one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata

import raglift
from raglift import plugins
from raglift.abstention import ABSTAIN, abstains
from raglift.records import Chunk, Document, QAPair, read_jsonl
from raglift.serve.result import RunResult
from raglift.synthesis import training_sets
from raglift.synthesis.asking import Asking
from raglift.synthesis.review import rows_for
from raglift.synthesis.vocabulary import content_words
from tests import tasks

pytestmark = pytest.mark.slow

NEW = ["claim", "comparison", "title", "unanswerable"]
BIRDS = ["kite", "goshawk", "owl", "heron", "stork", "swift", "raven", "plover"]
TREES = ["oaks", "spruces", "alders", "willows", "chimneys", "gables", "quarries", "dunes"]
FOOD = ["mice", "pigeons", "voles", "frogs", "beetles", "flies", "carrion", "snails"]
REASONS = {
    "claim": "claim dropped: not a statement",
    "comparison": "comparison dropped: is about one of its texts at most",
    "title": "title dropped: a sentence, not a title",
    "unanswerable": "unanswerable dropped: may be answered by the documents",
}


class EveryKind(CustomLLM):
    """Knows by the prompt which kind is wanted. A text about flies or frogs gets something invalid."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="every-kind", num_output=64)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        texts = prompt.rpartition("\n\nText: ")[2].rpartition("\n")[0].split("\nSecond text: ")
        if prompt.endswith("Answer:"):
            return CompletionResponse(text=" ".join(texts[0].split()[2:5]))
        name = next(name for name in tasks.asking().kinds if _head(tasks.asking(), name) == _head_of(prompt))
        return CompletionResponse(text=_question(name, texts))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


def _head_of(prompt: str) -> str:
    return prompt.rpartition("\n\nText: ")[0]


def _head(asking: Asking, name: str) -> str:
    return _head_of(asking.style.message(asking.kinds[name], "T."))


def _question(name: str, texts: list[str]) -> str:
    first, second = (content_words(text) for text in (texts[0], texts[-1]))
    subject, number = first[0], len(texts[0])
    bad = bool({"flies", "frogs"} & {*first, *second})
    valid = {
        "claim": f"Some {subject} goes with {first[1]} here.",
        "comparison": f"How does what {subject} {first[-1]} does differ from {second[-1]}?",
        "title": f"{subject} and {first[-1]} in brief",
        "unanswerable": f"Which {subject} did Zanzibar sell for {number}{number} ducats?",
        "keyword": f"{subject} {first[-1]} {number}",
    }
    invalid = {
        "claim": f"Is it {subject}?",
        "comparison": "What is there to be told of zeppelins?",
        "title": f"It is the {subject}.",
        "unanswerable": f"What does the {subject} do?",
    }
    if bad and name in invalid:
        return invalid[name]
    return valid.get(name, f"What is said of {subject} {number} and {first[-1]}?")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> RunResult:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "docs").mkdir()
    for n, bird in enumerate(BIRDS * 3):
        tree, food = TREES[(n + n // 8) % 8], FOOD[(3 * n + n // 8) % 8]
        text = (
            f"The {bird} of valley {n} builds its nest in {tree} beside the water. It feeds its young on {food}.\n\n"
            f"In winter the {bird} of valley {n} leaves the {tree} and looks for {food} further south in the plain.\n\n"
            f"Whoever wants to see the {bird} of valley {n} stands still near the {tree} early in the morning.\n"
        )
        (folder / "docs" / f"{n}.md").write_text(text, encoding="utf-8")
    config = {
        "run": "kinds",
        "workspace": str(folder / "indexes"),
        "data": {"documents": str(folder / "docs")},
        "corpus": {"chunk_tokens": 32, "train": 0.5, "dev": 0.25, "test": 0.25, "near_duplicate": 1.0}
        | {"audit_ngrams": 1.0, "audit_questions": 1.0},
        "synthesis": {
            "kinds": dict.fromkeys(plugins.names("question kind"), 1.0),
            "questions_per_chunk": 4,
            "filters": [],
        },
        "embedding": {"model": str(tiny_embedding), "strategies": ["full"], "epochs": 1, "hard_negatives": 2}
        | {"batch_size": 8, "learning_rate": 1e-4, "evaluations": 1},
        "llm": {"model": str(tiny_llm), "strategies": [], "max_new_tokens": 4},
        "evaluation": {"similarity_model": str(tiny_embedding), "resamples": 50, "max_answers": 30},
        "runtime": {"dtype": "float32", "threads": 1},
    }
    return raglift.run(config, quiet=True, writer=EveryKind())


def artifact(run: RunResult, stage: str) -> Path:
    (found,) = Path(run.folder).parents[1].glob(f"{stage}/*")
    return found


@pytest.fixture(scope="module")
def questions(run: RunResult) -> list[QAPair]:
    return read_jsonl(artifact(run, "synthesis") / "questions.jsonl", QAPair)


def of(questions: list[QAPair], kind: str) -> list[QAPair]:
    return [question for question in questions if question.kind == kind]


def test_every_kind_is_kept_and_dropped_by_its_own_check(run: RunResult, questions: list[QAPair]) -> None:
    kept = Counter(question.kind for question in questions)
    assert set(kept) == set(plugins.names("question kind"))
    counts = {row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] == "synthesis"}
    assert {kind: counts[f"{kind} kept"] for kind in kept} == kept
    assert all(counts[REASONS[kind]] > 0 for kind in NEW)
    dropped = sum(count for reason, count in counts.items() if " dropped: " in reason)
    assert dropped + len(questions) == counts["questions written"]


def test_a_comparison_has_two_passages_of_one_split(run: RunResult, questions: list[QAPair]) -> None:
    corpus = artifact(run, "corpus")
    chunks = {chunk.id: chunk for chunk in read_jsonl(corpus / "chunks.jsonl", Chunk)}
    documents = {document.id: document for document in read_jsonl(corpus / "documents.jsonl", Document)}
    text_of = {chunk.id: chunk.text for chunk in chunks.values()}
    for question in of(questions, "comparison"):
        first, second = question.evidence[:2]
        assert first.chunk_id
        assert second.chunk_id
        assert first.chunk_id != second.chunk_id
        for item in (first, second):
            assert documents[item.document_id].split == question.split
            assert documents[item.document_id].text[item.start : item.end].strip()
        assert question.answers == ()
        (row,) = rows_for([question], text_of)
        assert text_of[first.chunk_id].strip() in row.evidence
        assert text_of[second.chunk_id].strip() in row.evidence
    (mined,) = Path(run.folder).parents[1].glob("hard_negatives/*")
    pairs = training_sets.load(mined, "pairs")
    compared = Counter(q.question for q in of(questions, "comparison") if q.split == "train")
    for row in pairs:
        assert bool(row["also"]) == (row["query"] in compared)
        assert not set(row["also"]) & set(row["negative_ids"])
    assert sum(bool(row["also"]) for row in pairs) == 2 * sum(compared.values()) > 0


def test_what_the_corpus_does_not_answer_trains_and_tests_abstention(run: RunResult, questions: list[QAPair]) -> None:
    unanswerable = of(questions, "unanswerable")
    assert {question.split for question in unanswerable} == {"train", "dev", "test"}
    assert all((q.answers, q.evidence, q.answerable) == ((), (), False) for q in unanswerable)
    assert all(question.answerable for question in questions if question.kind != "unanswerable")
    sets = artifact(run, "training_sets")
    asked = Counter(q.question for q in unanswerable if q.split == "train")
    examples = training_sets.load(sets, "examples")
    refused = [row for row in examples if any(text in row["prompt"] for text in asked)]
    assert len(refused) == sum(asked.values()) > 0
    assert {row["answer"] for row in refused} == {ABSTAIN}
    assert all("valley" in row["prompt"] for row in refused)  # with the passages that retrieval brings
    queries = {row["query"] for row in training_sets.load(sets, "pairs")}
    assert not queries & set(asked)
    dev = training_sets.load(sets, "dev")
    assert any(not row["answerable"] for row in dev)
    counts = {row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] == "training sets"}
    assert counts["examples, unanswerable"] == sum(asked.values())


def test_abstention_is_scored(run: RunResult, questions: list[QAPair]) -> None:
    evaluation = artifact(run, "evaluation")
    ids = {question.id for question in questions if question.split == "test" and not question.answerable}
    assert run.report["question_sets"]["synthetic"]["unanswerable"] == len(ids) > 0
    scores = [json.loads(line) for line in (evaluation / "synthetic-scores.jsonl").read_text("utf-8").splitlines()]
    answered = [json.loads(line) for line in (evaluation / "synthetic-answered.jsonl").read_text("utf-8").splitlines()]
    said = {(row["qa_id"], row["arm"]): row["answer"] for row in answered}
    judged = [row for row in scores if row["metric"] == "abstention" and row["qa_id"] in ids]
    assert judged
    for row in judged:
        assert row["value"] == float(abstains(said[row["qa_id"], row["arm"]]))
    ranked = [row for row in scores if row["metric"] == "nDCG@10" and row["qa_id"] in ids]
    assert ranked
    assert all(row["value"] is None and row["reason"] for row in ranked)
