"""The report's data: what report.json holds, and the questions side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from raglift import plugins
from raglift.config import Config
from raglift.corpus import audit
from raglift.corpus.stage import Corpus
from raglift.evaluation.arms import BASE, arms_of, arms_with
from raglift.evaluation.costs import add_costs
from raglift.evaluation.scale import PRICES, scale_of
from raglift.index import fusion_stage, transform_stage
from raglift.records import Answered, QAPair, Score, read_jsonl
from raglift.release.choose import Choice, choose, headline, judging_set, sentence
from raglift.training.outcome import NOT_RERANKED
from raglift.training.provenance import EMBEDDING_PAIRS
from raglift.training.versions import installed

_PASSAGES = 5
_FUNNEL = (
    *("corpus", "writer", "synthesis", "review", "pairs", "hard_negatives", "teacher_scores", "training_sets"),
    "rerank_lists",
)
"""Stages that say what they let through."""
_CHOICES = {
    "fusion_base": fusion_stage.FILE,
    "fusion_tuned": fusion_stage.FILE,
    "transforms": transform_stage.FILE,
}
"""Stages that chose how passages are found, and the file that says what was tried."""
_VERSIONED = (
    "raglift",
    "torch",
    "transformers",
    "sentence-transformers",
    "peft",
    "llama-index-core",
    "faiss-cpu",
    "datasets",
    "ir-measures",
    "bm25s",
    "ragas",
    "rouge-score",
    "sacrebleu",
)


def build(
    config: Config,
    folders: Mapping[str, Path],
    stages: Sequence[Mapping[str, Any]],
    created: str,
    trials: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Everything that report.json holds.

    Args:
        folders: Stage -> its artifact's folder.
        stages: The run's stages with key, seconds and whether they were cached.
        created: When, as ISO 8601 text.
        trials: Target -> what its further trainings came to: `sweep`, `recipe`, `curve` and `test`.
    """
    summary = _read(folders["evaluation"] / "summary.json")
    add_costs(summary["response"], folders["evaluation"], config.evaluation, config.seed)
    training, on_dev = _trainings(folders)
    for target, found in trials.items():
        training[target] |= found
    metrics = {
        "embedding": headline("embedding", config.evaluation.retrieval),
        "llm": headline("llm", config.evaluation.response),
    }
    choice = choose(on_dev, summary["verdicts"], metrics, judging_set(summary["question_sets"]))
    return {
        "run": config.run,
        "verdict": sentence(choice, summary, metrics),
        "created": created,
        "arms": {
            arm.name: {k: v for k, v in asdict(arm).items() if k not in ("name", "reranked", "transform")}
            for arm in arms_of(config)
        },
        "question_sets": summary["question_sets"],
        "retrieval": summary["retrieval"],
        "response": summary["response"],
        "metrics": {
            name: scale_of(name).described()
            for name in (*config.evaluation.retrieval, *config.evaluation.response, *PRICES)
        },
        "verdicts": summary["verdicts"],
        "funnel": _funnel(folders, config.embedding.train_on),
        "audit": audit.report_rows(
            audit.read_documents(folders["corpus"], config.corpus)
            + audit.read_questions(folders["audit"], config.corpus)
        ),
        "training": training,
        "choices": {stage: _read(folders[stage] / file) for stage, file in _CHOICES.items() if stage in folders},
        "stages": [{key: stage[key] for key in ("name", "key", "seconds", "cached")} for stage in stages],
        "chosen": _chosen(choice),
        "settings": config.model_dump(mode="json"),
        "versions": installed(_VERSIONED),
    }


def _funnel(folders: Mapping[str, Path], train_on: str) -> list[dict[str, Any]]:
    """What the stages let through; the pairs of synthetic questions by another name where none of them train."""
    rows = [row for stage in _FUNNEL if stage in folders for row in _read(folders[stage] / "funnel.json")]
    if train_on != "pairs":
        return rows
    unused = {EMBEDDING_PAIRS: "pairs of synthetic questions, on which the embedding model does not train"}
    return [row | {"reason": unused.get(row["reason"], row["reason"])} for row in rows]


def _trainings(folders: Mapping[str, Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the trainings left, with that of the index's vectors where they moved; and target -> what was chosen."""
    targets = [target for target in ("embedding", "llm", "rerank") if target in folders]
    training = {target: _read(folders[target] / "training.json") for target in targets}
    on_dev = {target: training[target]["chosen"] for target in training}
    if "nudge" in folders:
        training["index"] = _read(folders["nudge"] / "nudge.json")
        if training["index"]["chosen"] != "base":
            on_dev["embedding"] = training["index"]["chosen"]
    if "rerank" in on_dev:  # a cross-encoder as it comes may beat the first stage's own order
        names = {NOT_RERANKED: BASE, BASE: "the model as it comes"}
        name, comma, share = on_dev["rerank"].partition(", ")
        on_dev["rerank"] = names.get(name, name) + comma + share
    return training, on_dev


def _chosen(choice: Choice) -> dict[str, Any]:
    return asdict(choice)


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def side_by_side(folder: Path, corpus: Corpus) -> list[dict[str, Any]]:
    """Every answered question with each arm's passages, answer and scores; of a set without answers, every question.

    Args:
        folder: The evaluation's artifact.
    """
    chunks = {chunk.id: chunk for chunk in corpus.chunks}
    rows = []
    for path in sorted(folder.glob("*-questions.jsonl")):
        name = path.name.removesuffix("-questions.jsonl")
        questions = read_jsonl(path, QAPair)
        answered: dict[tuple[str, str], Answered] = {
            (item.qa_id, item.arm): item for item in read_jsonl(folder / f"{name}-answered.jsonl", Answered)
        }
        scores: dict[tuple[str, str], dict[str, float | None]] = {}
        for score in read_jsonl(folder / f"{name}-scores.jsonl", Score):
            scores.setdefault((score.qa_id, score.arm), {})[score.metric] = score.value
        asked = {qa_id for (qa_id, _), item in answered.items() if item.answer is not None}
        for question in questions:
            if not asked or question.id in asked:
                rows.append(_row(name, question, answered, scores, chunks))
    return rows


def _row(
    name: str,
    question: QAPair,
    answered: Mapping[tuple[str, str], Answered],
    scores: Mapping[tuple[str, str], Mapping[str, float | None]],
    chunks: Mapping[str, Any],
) -> dict[str, Any]:
    relevant = {item.chunk_id for item in question.evidence}
    whole = {item.document_id for item in question.evidence if item.chunk_id is None}
    arms = {}
    for arm in arms_with(
        "hybrid", plugins.names("query transform")
    ):  # every arm that there may be; what was not scored is not there
        item = answered.get((question.id, arm.name))
        if item is not None:
            passages = [
                {
                    "chunk_id": chunk_id,
                    "source": chunks[chunk_id].metadata.get("source", ""),
                    "text": chunks[chunk_id].text,
                    "relevant": chunk_id in relevant or chunks[chunk_id].document_id in whole,
                    "score": score,
                }
                for chunk_id, score in item.ranking[:_PASSAGES]
            ]
            arms[arm.name] = {
                "answer": item.answer,
                "passages": passages,
                "scores": dict(scores.get((question.id, arm.name), {})),
            }
    return {
        "id": question.id,
        "question_set": name,
        "question": question.question,
        "answers": list(question.answers),
        "answerable": question.answerable,
        "kind": question.kind,
        "arms": arms,
    }
