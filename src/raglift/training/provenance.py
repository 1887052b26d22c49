"""What a training learned from, in numbers: no text, title or path of the documents, which may be private."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.corpus.stage import Corpus
from raglift.records import QAPair, content_id, read_jsonl

_COUNTED = {"embedding": ("pairs", "hard_negatives"), "llm": ("training_sets",), "rerank": ("rerank_lists",)}
"""Target -> the stages between questions and training whose counts belong to it."""
EMBEDDING_PAIRS = "pairs for the embedding model"
"""What the training sets' funnel calls the pairs of synthetic questions: no data of the other trainings."""


def describe(
    folders: Mapping[str, Path], corpus: Corpus, synthesis: SynthesisConfig, target: str, learned: bool = True
) -> dict[str, Any]:
    """The data of a run's training: `facts` by name, and `questions`, a row for each origin and kind.

    Args:
        folders: Stage -> its artifact's folder, of the stages before the training.
        learned: Whether the synthetic questions of the train split were learned from.
    """
    reviewed = "review" in folders
    questions = read_jsonl(folders["review" if reviewed else "synthesis"] / "questions.jsonl", QAPair)
    splits = Counter(document.split for document in corpus.documents)
    facts: dict[str, Any] = {
        "documents": len(corpus.documents),
        "documents that questions for training are about": splits["train"],
        "passages": len(corpus.chunks),
        "hash of the documents": content_id(*sorted(document.id for document in corpus.documents)),
        "questions that raglift's writer wrote": _written(folders["synthesis"]),
        "filters that they had to pass": ", ".join(_filters(synthesis)) or "none",
        "questions that passed": len(questions),
        "reviewed by a person": "yes" if reviewed else "no",
    }
    for stage in _COUNTED.get(target, ()):
        if stage in folders:
            rows = _funnel(folders[stage])
            facts |= {row["reason"]: row["count"] for row in rows if row["reason"] != EMBEDDING_PAIRS}
    counted = [question for question in questions if learned or question.split != "train"]
    return {"facts": facts, "questions": question_rows([*corpus.human, *counted])}


def question_rows(questions: Sequence[QAPair]) -> list[dict[str, Any]]:
    """Origin and kind of the questions -> how many train and choose, and their share of those that train."""
    learned = [question for question in questions if question.split == "train"]
    counts = Counter((q.origin, q.kind, q.split) for q in questions if q.split != "test")
    return [
        {
            "origin": "people" if origin == "human" else "raglift",
            "kind": kind,
            "train": counts[origin, kind, "train"],
            "dev": counts[origin, kind, "dev"],
            "share": f"{counts[origin, kind, 'train'] / max(1, len(learned)):.0%}",
        }
        for origin, kind in sorted({(origin, kind) for origin, kind, _ in counts})
    ]


def _filters(synthesis: SynthesisConfig) -> list[str]:
    return plugins.names("question filter") if synthesis.filters is None else list(synthesis.filters)


def _written(folder: Path) -> int:
    return sum(int(row["count"]) for row in _funnel(folder) if row["reason"] == "questions written")


def _funnel(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "funnel.json").read_text("utf-8"))
    return rows
