"""A finished run with answers of known quality, written without running anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from raglift.artifacts import Store, write_json
from raglift.models.find import find_model
from raglift.records import Answered, Chunk, Document, Evidence, QAPair, Target, TrainedModel, write_jsonl
from raglift.serve.result import RunResult
from raglift.training.outcome import MODEL, write_outcome
from raglift.workspace import STATE
from tests.judging.judges import chance, known_items
from tests.stored_runs import stored_run

RIGHT = {"base": 0.3, "tuned_both": 0.8}
"""Arm -> the share of its answers that are right."""


def judged_run(root: Path, models: Mapping[Target, Path], count: int = 40, name: str = "demo") -> RunResult:
    """A run with `count` test questions about towns, four of them about each document.

    The arms answer with the year, which is right, or with another one; `bm25` only ranks.
    """
    items = known_items(count)
    documents, chunks, questions = [], [], []
    for place, item in enumerate(items):
        document = f"d{place // 4}"
        if place % 4 == 0:
            text = "\n".join(each.contexts[0] for each in items[place : place + 4])
            documents.append(Document(document, f"{document}.md", text, split="test"))
        start = documents[-1].text.index(item.contexts[0])
        chunks.append(Chunk(f"c{place}", document, item.contexts[0], start, start + len(item.contexts[0])))
        evidence = Evidence(document, f"c{place}", start, start + len(item.contexts[0]))
        questions.append(QAPair(item.id, item.question, item.references, (evidence,), "factoid", "test", "synthetic"))

    def corpus(out: Path) -> None:
        write_jsonl(out / "documents.jsonl", documents)
        write_jsonl(out / "chunks.jsonl", chunks)

    def evaluation(out: Path) -> None:
        write_jsonl(out / "synthetic-questions.jsonl", questions)
        answered = []
        for arm, share in RIGHT.items():
            for place, question in enumerate(questions):
                right = chance(arm, question.id) < share
                answer = f"It was built in {question.answers[0] if right else 1900 + place}."
                answered.append(Answered(question.id, arm, (), (chunks[place].text,), answer, 0.1))
        answered += [Answered(question.id, "bm25", (("c0", 1.0),), (), None, 0.1) for question in questions]
        write_jsonl(out / "synthetic-answered.jsonl", answered)

    def untuned(target: Target) -> Callable[[Path], None]:
        return lambda out: write_outcome(out, target, find_model(str(models[target])), [], None, None)

    run = stored_run(root, models, {target: untuned(target) for target in models}, name)
    state = json.loads((run.folder / STATE).read_text("utf-8"))
    for stage, write in (("corpus", corpus), ("evaluation", evaluation)):
        Store(root).build(stage, stage, write)
        state["stages"].append({"name": stage, "key": stage})
    write_json(run.folder / STATE, state)
    return RunResult(run.folder)


def tune_llm(run: RunResult, base: Path) -> RunResult:
    """The run as if a training of the language model had won."""
    found = find_model(str(base))

    def write(out: Path) -> None:
        write_outcome(out, "llm", found, [], None, None)
        shutil.copytree(base, out / MODEL)
        weights = load_file(out / MODEL / "model.safetensors")
        save_file({name: value * 1.01 for name, value in weights.items()}, out / MODEL / "model.safetensors")
        record = TrainedModel("llm", found.name, found.revision, ("full",), MODEL, "", "last")
        write_json(out / "model.json", json.loads(json.dumps(asdict(record))))

    Store(run.workspace).build("llm", "tuned", write)
    state = json.loads((run.folder / STATE).read_text("utf-8"))
    for stage in state["stages"]:
        stage["key"] = "tuned" if stage["name"] == "llm" else stage["key"]
    write_json(run.folder / STATE, state)
    return RunResult(run.folder)
