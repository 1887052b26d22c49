"""What whole runs with the tiny models run on: eight documents, and what the config says to keep everything small."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tiny import SENTENCES

AUDIT = {"audit_ngrams": 1.0, "audit_questions": 1.0}
"""The documents are alike, and to a random embedding model all questions are."""


def write_documents(folder: Path) -> None:
    """Eight pages of eight passages or so, each with a sentence of its own."""
    for number, sentence in enumerate(SENTENCES[:8]):
        more = " ".join(f"In year {year} of volume {number} this was written down again." for year in range(8))
        (folder / f"{number}.md").write_text(f"# Page {number}\n\n{sentence} {more}\n", encoding="utf-8")


def write_questions(folder: Path, answered: Sequence[tuple[str, str | None]]) -> Path:
    """questions.jsonl: question `i` is of document `i`; one without an answer is of none."""
    rows = [
        {"id": f"q{i}", "question": asked, "answer": answer}
        | ({"topics": [f"{i}.md"], "quotes": [SENTENCES[i]]} if answer else {})
        for i, (asked, answer) in enumerate(answered)
    ]
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def small_config(folder: Path, llm: Path, embedding: Path) -> dict[str, Any]:
    """Sections of a config over the folder's documents and questions, with no filter: a random writer writes nonsense.

    The models are the bases, and how they are tuned is left open.
    """
    return {
        "data": {"documents": str(folder), "questions": str(folder / "questions.jsonl")},
        "corpus": {"chunk_tokens": 40, "train": 0.5, "dev": 0.25, "test": 0.25, **AUDIT},
        "synthesis": {"model": str(llm), "filters": [], "batch_size": 4},
        "embedding": {"model": str(embedding), "batch_size": 4},
        "llm": {"model": str(llm), "max_new_tokens": 6},
        "evaluation": {"similarity_model": str(embedding), "resamples": 200},
        "runtime": {"dtype": "float32", "threads": 1},
    }
