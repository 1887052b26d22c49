"""Whether synthetic questions train a better retriever: raglift's against a naive prompt and against no model at all.

For each set in BEIR layout, from its documents alone: questions are written in three ways, the embedding model is tuned
on each by the same plain `full` strategy with no development split, and people's questions, which nothing has seen,
judge the last state of each against the base.

    raglift        what the synthesis stage keeps, by the settings that a run has
    naive          one question a passage from one instruction, unfiltered
    pseudo_queries titles, and first sentences against the rest of their passages; no language model

    python scripts/bench/synthesis_quality.py --beir DIR [DIR ...] --work FOLDER

What is in FOLDER is not made again. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from documents import Documents
from torch import nn

from raglift.artifacts import write_json
from raglift.config import config_from_dict
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.statistics import Resampling, compare
from raglift.index.encoding import node
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.store import FaissStore
from raglift.journal import Journal
from raglift.models.encoder import Encoder
from raglift.models.flattened import flatten_inputs
from raglift.models.generation import Sampling
from raglift.records import Chunk, QAPair, read_jsonl
from raglift.strategies.full import Full
from raglift.synthesis import stage as synthesis_stage
from raglift.synthesis.human_examples import HumanExamples
from raglift.synthesis.inverse_cloze import with_inverse_clozes
from raglift.synthesis.training_sets import embedding_pairs
from raglift.training import recipe
from raglift.training.embedding_stage import ready_to_train
from raglift.training.loop import Task, fit
from raglift.training.outcome import objective_of
from raglift.training.pairs import Pair, PairBatches

METRICS = ("nDCG@10", "Success@5")
DEPTH = 100
NAIVE = "Write a question that the following text answers. Reply with the question alone.\n\n{text}"


class Bench(Documents):
    """One set: its corpus, its base index, and the three ways to pairs."""

    def __init__(self, beir: str, questions: int | None, seed: int, work: Path, within_title: bool) -> None:
        settings: dict[str, Any] = {
            "data": {"beir": beir},
            "seed": seed,
            "corpus": {"train": 1.0, "dev": 0.0, "test": 0.0},
            "synthesis": {"max_questions": questions},
        }
        self.name = Path(beir).name
        self.within_title = within_title
        super().__init__(config_from_dict(settings), work, work / self.name / f"{seed}-{questions or 'all'}")

    def raglift(self) -> tuple[list[Pair], dict[str, int]]:
        """The synthesis stage as a run has it."""
        job = self.job("synthesis")
        if not (job.out / "funnel.json").exists():
            writers = synthesis_stage.Writers(self.writer)
            examples = HumanExamples()
            synthesis_stage.build(self.config.synthesis, self.corpus, examples, writers, self.searchable, job)
        kept = read_jsonl(job.out / "questions.jsonl", QAPair)
        funnel = json.loads((job.out / "funnel.json").read_text("utf-8"))
        written = next(row["count"] for row in funnel if row["reason"] == "questions written")
        share = self.config.embedding.inverse_cloze
        pairs = with_inverse_clozes(embedding_pairs(kept, self.corpus), self.corpus, share, self.config.seed)
        return pairs, {"written": written, "kept": len(kept)}

    @cached_property
    def passages(self) -> list[Chunk]:
        """What the baselines are made of: all, or as many as there may be questions, drawn by lot as raglift does."""
        most = self.config.synthesis.max_questions
        if most is None or most >= len(self.corpus.chunks):
            return self.corpus.chunks
        return random.Random(f"{self.config.seed}/passages").sample(self.corpus.chunks, most)

    def naive(self) -> tuple[list[Pair], dict[str, int]]:
        """One question a passage, as it comes."""
        chunks = self.passages
        journal = Journal(self.job("naive").out / "written.jsonl")
        if "questions" not in journal:
            generator = self.writer()
            prompts = [generator.chat([{"role": "user", "content": NAIVE.format(text=chunk.text)}]) for chunk in chunks]
            journal.append("questions", generator.generate(prompts, Sampling(48, line=True)))
        asked = [(chunk, text.strip()) for chunk, text in zip(chunks, journal["questions"], strict=True)]
        journal.close()
        pairs = [Pair(text, chunk.text, chunk.id) for chunk, text in asked if text]
        return pairs, {"written": len(asked), "kept": len(pairs)}

    def pseudo_queries(self) -> tuple[list[Pair], dict[str, int]]:
        """A title that stands for one document alone, and each passage's first sentence against the rest of it."""
        titles = Counter(self._title.values())
        pairs = []
        for chunk in self.passages:
            title = self._title[chunk.document_id]
            if title and titles[title] == 1:
                pairs.append(Pair(title, chunk.text.removeprefix(title).strip() or chunk.text, chunk.id))
            first, mark, rest = chunk.text.partition(". ")
            if len(first) >= 20 and len(rest) >= 40:
                pairs.append(Pair(first + mark, rest, chunk.id))
        return pairs, {"written": len(pairs), "kept": len(pairs)}

    def tuned(self, pairs: Sequence[Pair], arm: str) -> Encoder:
        """The base after plain full tuning on the pairs; the last state, whatever it is worth."""
        settings = self.config.embedding
        model = ready_to_train(self.models.embedding, self.runtime)
        flatten_inputs(model)
        batches = PairBatches(pairs, self.corpus.similar, model, settings.batch_size, self.config.seed)
        states = itertools.count()
        task = Task(
            "embedding",
            batches,
            objective_of(settings.objective).build(model),
            lambda _: float(next(states)),  # every later state beats the one before
        )
        loop = recipe.loop_settings(settings, "embedding", [Full()], len(pairs), len(batches))
        job = self.job(f"tuned_{arm}_{time.time_ns()}")
        fitted: nn.Module = fit(model, task, [Full()], loop, self.runtime, job).model
        return Encoder(fitted, self.runtime)  # type: ignore[arg-type]

    def scores(self, encoder: Encoder, arm: str) -> dict[str, dict[str, float]]:
        """Metric -> question -> value, over people's questions."""
        questions = [question for question in self.corpus.human if question.evidence]
        store = FaissStore(dimension=encoder.dimension)
        chunks = self.corpus.chunks
        store.add_vectors(
            [node(chunk) for chunk in chunks], encoder.encode([chunk.text for chunk in chunks], "passage")
        )
        documents = {chunk.id: chunk.document_id for chunk in chunks}
        depth = len(chunks) if self.within_title else DEPTH
        found: list[Ranking] = dense_rankings(store, encoder.encode([q.question for q in questions], "query"), depth)
        rankings = {
            question.id: self._allowed(question, ranking, documents)
            for question, ranking in zip(questions, found, strict=True)
        }
        values: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
        for score in score_rankings(questions, rankings, METRICS, documents, arm):
            if score.value is not None:
                values[score.metric][score.qa_id] = score.value
        return values

    @cached_property
    def _title(self) -> dict[str, str]:
        return {document.id: str(document.metadata.get("title", "")) for document in self.corpus.documents}

    def _allowed(self, question: QAPair, ranking: Ranking, documents: Mapping[str, str]) -> Ranking:
        """The ranking, or what of it has the title of a document that answers the question."""
        if not self.within_title:
            return ranking
        titles = {self._title[evidence.document_id] for evidence in question.evidence}
        return tuple(hit for hit in ranking if self._title[documents[hit[0]]] in titles)[:DEPTH]

    def run(self, arms: Sequence[str]) -> dict[str, Any]:
        """The base's figures, and every arm's against it."""
        base = self.scores(self.models.encoder("base"), "base")
        result: dict[str, Any] = {"questions": len(base[METRICS[0]]), "base": _means(base)}
        print(self.name, "base", result["base"], flush=True)
        for arm in arms:
            kept = self.folder / f"{arm}.json"
            if not kept.exists():
                write_json(kept, self.measured(arm, base))
            result[arm] = json.loads(kept.read_text("utf-8"))
            print(self.name, arm, result[arm], flush=True)
        return result

    def measured(self, arm: str, base: dict[str, dict[str, float]]) -> dict[str, Any]:
        """What an arm writes, and what training on it makes of the base."""
        start = time.perf_counter()
        pairs, counts = getattr(self, arm)()
        written = time.perf_counter() - start
        tuned = self.scores(self.tuned(pairs, arm), arm)
        found: dict[str, Any] = {**counts, "pairs": len(pairs), "writing_seconds": round(written), **_means(tuned)}
        cluster = {q.id: q.evidence[0].document_id for q in self.corpus.human if q.evidence}
        for metric in METRICS:
            lift = compare(tuned[metric], base[metric], Resampling(cluster, self.config.seed))
            found[f"{metric} lift"] = [round(value, 4) for value in (lift.delta, lift.ci_low, lift.ci_high)]
        return found


def _means(values: dict[str, dict[str, float]]) -> dict[str, float]:
    return {metric: round(sum(found.values()) / len(found), 4) for metric, found in values.items()}


def main() -> None:
    """Run the sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="where intermediate results are kept")
    parser.add_argument("--questions", type=int, help="most questions written for a set; all passages otherwise")
    parser.add_argument("--arms", nargs="+", default=["raglift", "naive", "pseudo_queries"])
    parser.add_argument(
        "--within-title",
        nargs="*",
        default=[],
        help="sets (folder names) whose questions repeat across documents: ranked are the documents of one title",
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = {}
    for beir in arguments.beir:
        within = Path(beir).name in arguments.within_title
        bench = Bench(beir, arguments.questions, arguments.seed, arguments.work, within)
        sets[bench.name] = bench.run(arguments.arms)
    print(json.dumps({"bench": "synthesis_quality", "seed": arguments.seed, "sets": sets}))


if __name__ == "__main__":
    main()
