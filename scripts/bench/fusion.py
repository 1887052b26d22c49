"""What a chosen fusion is worth: dense, BM25, reciprocal rank fusion and what some questions choose, on the others.

For each set in BEIR layout, whose documents are taken as passages: some questions, drawn by a seed, choose the fusion
as a run's development questions do; all others are scored. That is repeated over several draws. With `--transforms` a
language model puts a sample of the questions in other words instead. A line a set in JSON: mean nDCG@10, what was
chosen in how many draws, and the gain of that over reciprocal rank fusion: mean, least and most over the draws.

    python scripts/bench/fusion.py --beir DIR [DIR ...] --dev 30 100 --draws 10
    python scripts/bench/fusion.py --beir DIR --transforms hyde multi_query rewriting --asked 100
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import TextNode
from numpy.typing import NDArray

from raglift.config_fields import PluginSpec
from raglift.config_schema import RuntimeConfig
from raglift.corpus.judged import read_beir
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense
from raglift.index.first_stage import FirstStage, asked
from raglift.index.fusing import candidates, fusion_of, shown
from raglift.index.fusion_stage import measured, per_question
from raglift.index.ranking import dense_rankings
from raglift.index.rewording import by_generator, reworded, transform_of
from raglift.index.store import FaissStore
from raglift.models.device import Runtime, resolve
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Evidence, QAPair

DEPTH = 100
RRF = PluginSpec(name="rrf", settings={"k": 60})


class JudgedSet:
    """One set: its documents in both indexes, and its questions with what answers them."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        documents, questions = read_beir(str(folder))
        by_source = {document.source: document.id for document in documents}
        self.questions = [
            QAPair(
                question.id,
                question.question,
                (),
                tuple(
                    Evidence(by_source[s], by_source[s], grade=g) for s, g in question.sources.items() if s in by_source
                ),
                "factoid",
                "dev",
                "human",
            )
            for question in questions
            if set(question.sources) & set(by_source)
        ]
        ids, texts = [document.id for document in documents], [document.text for document in documents]
        self.document_of = dict(zip(ids, ids, strict=True))
        self.store = FaissStore(dimension=encoder.dimension)
        nodes = [TextNode(id_=i, text="") for i in ids]
        self.store.add_vectors(nodes, encoder.encode(texts, "passage"))
        self.bm25 = Bm25(ids, texts)
        self.dense = Dense.of_store(encoder, self.store)
        self.texts = [question.question for question in self.questions]

    def score(self, rankings: Any, questions: list[QAPair] | None = None) -> NDArray[np.float64]:
        """nDCG@10 of each question."""
        return per_question(questions or self.questions, rankings, self.document_of)


def fusions(found: JudgedSet, encoder: Encoder, sizes: list[int], draws: int) -> dict[str, Any]:
    """Mean scores of the parts, of every default, and of what each number of questions chooses."""
    dense = dense_rankings(found.store, encoder.encode(found.texts, "query"), DEPTH)
    sparse = found.bm25.rankings(found.texts, DEPTH)
    among = [*candidates(PluginSpec(name="auto"))]
    scores = np.stack(
        [found.score([f.fuse(*pair, DEPTH) for pair in zip(dense, sparse, strict=True)]) for _, f in among]
    )
    rrf = [fusion for _, fusion in among].index(fusion_of(RRF))
    chosen = {}
    for size in sizes:
        if size > len(found.questions) // 2:
            continue
        gains, values, picks = [], [], Counter[str]()
        for seed in range(draws):
            dev = random.Random(seed).sample(range(len(found.questions)), size)
            others = np.setdiff1d(np.arange(len(found.questions)), dev)
            best, _ = measured([""] * len(among), scores[:, dev])
            picks[shown(*among[best])] += 1
            values.append(float(scores[best, others].mean()))
            gains.append(values[-1] - float(scores[rrf, others].mean()))
        chosen[str(size)] = {
            "nDCG@10": float(np.mean(values)),
            "over rrf": [float(np.mean(gains)), float(np.min(gains)), float(np.max(gains))],
            "picks": dict(picks.most_common(4)),
        }
    return {
        "questions": len(found.questions),
        "dense": float(found.score(dense).mean()),
        "bm25": float(found.score(sparse).mean()),
        "rrf, k 60": float(scores[rrf].mean()),
        shown(*among[0]): float(scores[0].mean()),
        "best of all": {shown(*among[int(scores.mean(axis=1).argmax())]): float(scores.mean(axis=1).max())},
        "chosen by": chosen,
    }


def transforms(found: JudgedSet, names: list[str], most: int, llm: str, runtime: Runtime) -> dict[str, Any]:
    """Mean score and gain over the questions as they are, of each transform on a sample of the questions."""
    model = find_model(llm)
    write = by_generator(Generator(quicken(load_causal_lm(model.path, runtime)), load_tokenizer(model.path)), 0)
    rows = sorted(random.Random(0).sample(range(len(found.questions)), min(most, len(found.questions))))
    questions = [found.questions[row] for row in rows]
    texts = [question.question for question in questions]
    first = FirstStage(found.dense, found.bm25, DEPTH, fusion_of(PluginSpec(name="auto")))
    plain = found.score(first.rankings(asked(texts), DEPTH), questions)
    told: dict[str, Any] = {"questions": len(rows), "as it is": float(plain.mean())}
    for name in names:
        searches = reworded(transform_of(PluginSpec(name=name)), texts, write)
        scores = found.score(first.rankings(searches, DEPTH), questions)
        gains = scores - plain
        gain, error = float(gains.mean()), float(gains.std(ddof=1) / len(gains) ** 0.5)
        told[name] = {"nDCG@10": float(scores.mean()), "gain": gain, "standard error": error}
    return told


def main() -> None:
    """Measures every set and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="the embedding model")
    parser.add_argument("--dev", type=int, nargs="+", default=[30, 100], help="questions that choose")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--transforms", nargs="*", default=[], help="query transforms to try")
    parser.add_argument("--asked", type=int, default=100, help="questions that are put in other words")
    parser.add_argument("--llm", default="SmolLM2-135M-Instruct", help="what writes")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    runtime = resolve(RuntimeConfig(threads=arguments.threads), Path(tempfile.gettempdir()))
    encoder = Encoder(load_encoder(find_model(arguments.model).path, runtime), runtime)
    for folder in arguments.beir:
        found = JudgedSet(folder, encoder)
        told: dict[str, Any] = {"set": folder.name}
        if arguments.transforms:
            told |= transforms(found, arguments.transforms, arguments.asked, arguments.llm, runtime)
        else:
            told |= fusions(found, encoder, arguments.dev, arguments.draws)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
