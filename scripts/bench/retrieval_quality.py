"""What tuning brings to retrieval, from documents alone: every arm of a run against what needs no training.

Each set in BEIR layout is a run of raglift, with the settings that a run has but for these: questions are written about
five sixths of the documents and choose in the rest, and the language model stays as it is. The set's own questions,
which nothing has seen, judge.

    untrained   bm25, base (the embedding model alone), hybrid
    trained     tuned_embedding, tuned_hybrid, reranked

`reranked` is tuned_hybrid, of which a language model puts the first passages in order by the likelihood of the
question, in equal parts with the order that they had (`--first-stage-share`); it is asked a seeded sample of the
questions, since it takes a tenth of a second a passage on a processor.

Where questions repeat across documents and do not say which of them they mean (those of `policyqa-dev` about some
twenty privacy policies), `--within-title` ranks for a question the passages of the documents alone that share the title
of one that answers it, in every arm.

`against` holds the differences of trained arms to untrained ones over the questions that both were asked, paired by
question, with 95% intervals clustered by document.

    python scripts/bench/retrieval_quality.py --beir DIR [DIR ...] --work FOLDER

What is in FOLDER is not made again. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

import raglift
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling, compare
from raglift.index.mixed_order import MixedReranker
from raglift.index.rerankers import LiftReranker
from raglift.index.retriever import LiftRetriever
from raglift.models.find import find_model
from raglift.models.rerankers import open_reranker
from raglift.records import QAPair, Score, read_jsonl

METRICS = ("nDCG@10", "Success@5")
UNTRAINED = ("bm25", "base", "hybrid")
TRAINED = ("tuned_embedding", "tuned_hybrid", "reranked")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Metric -> arm -> question -> value."""


def config(beir: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A run over a set."""
    return {
        "run": Path(beir).name,
        "workspace": str(arguments.work / Path(beir).name),
        "seed": arguments.seed,
        "data": {"beir": beir},
        "corpus": {"train": 0.83, "dev": 0.17, "test": 0.0},
        "synthesis": {"max_questions": arguments.questions},
        "llm": {"strategies": []},
        "evaluation": {"retrieval": list(METRICS), "response": [], "max_answers": 1},
        "runtime": {"threads": arguments.threads, "trackers": []},
    }


def values_of(run: raglift.RunResult) -> tuple[Values, Resampling]:
    """What each of the set's questions scored in each arm, and how questions hang together."""
    folder = run.artifact("evaluation").path
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for score in read_jsonl(folder / "human-scores.jsonl", Score):
        if score.value is not None:
            found[score.metric][score.arm][score.qa_id] = score.value
    return found, Resampling(clusters(read_jsonl(folder / "human-questions.jsonl", QAPair)))


def asked_of(run: raglift.RunResult, arguments: argparse.Namespace) -> dict[str, list[QAPair]]:
    """The set's questions by the title that they are to be asked of; all under "" where they are asked of all."""
    questions = read_jsonl(run.artifact("evaluation").path / "human-questions.jsonl", QAPair)
    if run.config.run not in arguments.within_title:
        return {"": questions}
    of = _titles(run)
    groups: dict[str, list[QAPair]] = defaultdict(list)
    for question in questions:
        groups[of[question.evidence[0].document_id]].append(question)
    return groups


def _titles(run: raglift.RunResult) -> dict[str, str]:
    return {document.id: document.metadata.get("title", "") for document in run.corpus.documents}


def ranked(
    run: raglift.RunResult, retriever: LiftRetriever, groups: Mapping[str, Sequence[QAPair]]
) -> dict[str, list[tuple[str, float]]]:
    """Question -> what the retriever finds among the documents of its title."""
    of, rankings = _titles(run), {}
    for title, asked in groups.items():
        within = retriever
        if title:
            ids = [document for document, own in of.items() if own == title]
            only = MetadataFilter(key="doc_id", value=ids, operator=FilterOperator.IN)
            within = retriever.with_filters(MetadataFilters(filters=[only]))
        hits = within.retrieve_batch([question.question for question in asked])
        for question, each in zip(asked, hits, strict=True):
            rankings[question.id] = [(hit.node.node_id, hit.score or 0.0) for hit in each]
    return rankings


def scored(run: raglift.RunResult, arm: str, rankings: Mapping[str, list[tuple[str, float]]], values: Any) -> None:
    """Put an arm's scores into `values`."""
    chunk_document = {chunk.id: chunk.document_id for chunk in run.corpus.chunks}
    questions = read_jsonl(run.artifact("evaluation").path / "human-questions.jsonl", QAPair)
    asked = [question for question in questions if question.id in rankings]
    for score in score_rankings(asked, rankings, METRICS, chunk_document, arm):
        if score.value is not None:
            values[score.metric][arm][score.qa_id] = score.value


def add_reranked(run: raglift.RunResult, arguments: argparse.Namespace, values: Any) -> None:
    """The tuned hybrid's first passages in the order of a language model, on a sample of the questions."""
    groups = asked_of(run, arguments)
    every = sorted(question.id for asked in groups.values() for question in asked)
    sample = set(random.Random(arguments.seed).sample(every, min(len(every), arguments.rerank_questions)))
    some = {title: [question for question in asked if question.id in sample] for title, asked in groups.items()}
    model = find_model(arguments.reranker).path
    order = MixedReranker(open_reranker(model, run.runtime), arguments.first_stage_share)
    reranker = LiftReranker(order, arguments.depth, str(model))
    retriever = run.retriever("tuned_hybrid", top_k=arguments.depth).with_reranker(reranker, arguments.depth)
    scored(run, "reranked", ranked(run, retriever, {title: asked for title, asked in some.items() if asked}), values)


def differences(values: Values, resampling: Resampling) -> dict[str, Any]:
    """Metric -> trained arm -> untrained arm -> difference and its interval."""
    return {
        metric: {
            arm: {other: _lift(by_arm[arm], by_arm[other], resampling) for other in UNTRAINED}
            for arm in TRAINED
            if arm in by_arm
        }
        for metric, by_arm in values.items()
    }


def _lift(arm: Mapping[str, float], other: Mapping[str, float], resampling: Resampling) -> list[float]:
    found = compare(arm, other, resampling)
    return [round(value, 4) for value in (found.delta, found.ci_low, found.ci_high)]


def measured(beir: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One set's figures."""
    run = raglift.run(config(beir, arguments))
    values, resampling = values_of(run)
    if run.config.run in arguments.within_title:
        values = defaultdict(lambda: defaultdict(dict))
        for arm in [name for name in (*UNTRAINED, *TRAINED) if name in run.arms]:
            scored(run, arm, ranked(run, run.retriever(arm, top_k=arguments.depth), asked_of(run, arguments)), values)
    if arguments.reranker:
        add_reranked(run, arguments, values)
    means = {
        metric: {arm: round(sum(found.values()) / len(found), 4) for arm, found in by_arm.items()}
        for metric, by_arm in values.items()
    }
    chosen = {name: found["chosen"] for name, found in run.report["training"].items()}
    return {
        "questions": len(values[METRICS[0]]["base"]),
        "chosen": chosen,
        "means": means,
        "against": differences(values, resampling),
        "seconds": {stage["name"]: round(stage["seconds"]) for stage in run.report["stages"] if stage["seconds"] >= 1},
    }


def main() -> None:
    """Run the sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--questions", type=int, help="most questions written for a set; all passages otherwise")
    parser.add_argument("--reranker", default="SmolLM2-135M-Instruct", help="a language model, or '' for none")
    parser.add_argument("--depth", type=int, default=20, help="passages that are put in order")
    parser.add_argument("--first-stage-share", type=float, default=0.5, help="weight of the order that they had")
    parser.add_argument("--rerank-questions", type=int, default=200, help="most questions that the reranker is asked")
    parser.add_argument("--within-title", nargs="*", default=[], help="sets (folder names) that are ranked by title")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = {}
    for beir in arguments.beir:
        name = Path(beir).name
        sets[name] = measured(beir, arguments)
        print(name, json.dumps(sets[name]), flush=True)
    print(json.dumps({"bench": "retrieval_quality", "seed": arguments.seed, "depth": arguments.depth, "sets": sets}))


if __name__ == "__main__":
    main()
