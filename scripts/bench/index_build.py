"""How fast an index is built: raglift against LlamaIndex's VectorStoreIndex with HuggingFaceEmbedding.

The same nodes, the same embedding model, the same machine; each library in a process of its own, as its users run it
and with nothing of the other's settings, the two taking turns. Both build an index from LlamaIndex nodes that can be
asked at the end. The last line printed is JSON: medians of chunks a second, the ratio turn by turn, and nDCG@10 of
both indexes on the set's own questions.

    python scripts/bench/index_build.py --documents python-reference --repeats 5
    python scripts/bench/index_build.py --beir DIR --repeats 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = "all-MiniLM-L6-v2"
LIBRARIES = ("llama_index", "raglift")
WARM = 20
"""Nodes that each library indexes before the clock is first read."""
DEPTH = 100


def llama_index_builder(path: Path, dtype: str) -> Callable[[list[Any]], Any]:
    """As LlamaIndex's documentation does it."""
    from llama_index.core import VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    embedding = HuggingFaceEmbedding(model_name=str(path))
    return lambda nodes: VectorStoreIndex(nodes, embed_model=embedding)


def raglift_builder(path: Path, dtype: str) -> Callable[[list[Any]], Any]:
    """As raglift's index stage does it."""
    from llama_index.core import VectorStoreIndex

    from raglift.config_schema import RuntimeConfig
    from raglift.index.store import FaissStore
    from raglift.models.device import resolve
    from raglift.models.embedding import LiftEmbedding
    from raglift.models.encoder import Encoder, load_encoder

    with tempfile.TemporaryDirectory() as folder:
        runtime = resolve(RuntimeConfig.model_validate({"dtype": dtype}), Path(folder))
    encoder = Encoder(load_encoder(path, runtime), runtime)
    embedding = LiftEmbedding(encoder, MODEL, path)

    def build(nodes: list[Any]) -> VectorStoreIndex:
        store = FaissStore(dimension=encoder.dimension)
        store.add_vectors(nodes, encoder.encode([node.text for node in nodes], "passage"))
        return VectorStoreIndex.from_vector_store(store, embed_model=embedding)

    return build


def worker(name: str, folder: Path, model: Path, dtype: str) -> None:
    """Builds on every line of standard input; when that ends, asks the questions of the last index."""
    from llama_index.core.schema import TextNode

    nodes = [TextNode.from_dict(value) for value in json.loads((folder / "nodes.json").read_text("utf-8"))]
    questions = json.loads((folder / "questions.json").read_text("utf-8"))
    build = {"llama_index": llama_index_builder, "raglift": raglift_builder}[name](model, dtype)
    index = build(nodes[:WARM])
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        index = build(nodes)
        print(time.perf_counter() - start, flush=True)
    retriever = index.as_retriever(similarity_top_k=DEPTH)
    rankings = {
        key: [(hit.node.node_id, float(hit.score or 0.0)) for hit in retriever.retrieve(question)]
        for key, question in questions.items()
    }
    (folder / f"{name}.json").write_text(json.dumps(rankings), "utf-8")


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[list[Any], dict[str, str], Path]:
    """Nodes and questions into `folder`; the judged questions, chunk id -> document id, and the model's folder."""
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.index.encoding import node
    from raglift.job import Job
    from raglift.models.find import find_model
    from raglift.progress import Progress

    data = {"beir": arguments.beir} if arguments.beir else {"documents": arguments.documents}
    config = config_from_dict({"data": data, "corpus": {"chunk_tokens": arguments.chunk_tokens}})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    corpus = corpus_stage.Corpus(folder)
    questions = [question for question in corpus.human if question.evidence][: arguments.questions]
    nodes = [node(chunk).to_dict() for chunk in corpus.chunks]
    (folder / "nodes.json").write_text(json.dumps(nodes), "utf-8")
    (folder / "questions.json").write_text(json.dumps({q.id: q.question for q in questions}), "utf-8")
    return questions, {chunk.id: chunk.document_id for chunk in corpus.chunks}, find_model(MODEL).path


def take_turns(folder: Path, model: Path, dtype: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of each build, library by library."""
    plain = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    processes = {
        name: subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--worker",
                name,
                "--folder",
                str(folder),
                "--model",
                str(model),
                "--dtype",
                dtype,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=plain,
        )
        for name in LIBRARIES
    }
    seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    for process in processes.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for _ in range(repeats):
        for name, process in processes.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("build\n")
            process.stdin.flush()
            seconds[name].append(float(process.stdout.readline()))
        print({name: round(times[-1], 2) for name, times in seconds.items()}, flush=True)
    for process in processes.values():
        process.communicate()
    return seconds


def ndcg(rankings: dict[str, Any], questions: list[Any], documents: dict[str, str]) -> float:
    """Mean nDCG@10 over the questions."""
    from raglift.evaluation.retrieval import score_rankings

    scores = score_rankings(questions, rankings, ["nDCG@10"], documents, "bench")
    return statistics.fmean(score.value for score in scores if score.value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--documents", default="python-reference")
    source.add_argument("--beir")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chunk-tokens", type=int, default=160)
    parser.add_argument("--questions", type=int, default=300, help="most questions that nDCG@10 is taken over")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of raglift")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder, arguments.model, arguments.dtype)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions, documents, model = prepare(arguments, folder)
        seconds = take_turns(folder, model, arguments.dtype, arguments.repeats)
        quality = {
            library: round(ndcg(json.loads((folder / f"{library}.json").read_text()), questions, documents), 4)
            for library in LIBRARIES
        }
    ratios = [theirs / ours for theirs, ours in zip(seconds["llama_index"], seconds["raglift"], strict=True)]
    result = {
        "bench": "index_build",
        "chunks": len(documents),
        "cores": os.cpu_count(),
        "chunks_per_second": {
            library: round(len(documents) / statistics.median(times), 1) for library, times in seconds.items()
        },
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "min": round(min(ratios), 2),
            "max": round(max(ratios), 2),
        },
        "questions": len(questions),
        "ndcg_at_10": quality,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
