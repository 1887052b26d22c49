"""How fast an index is built: raglift against LlamaIndex with HuggingFaceEmbedding, and sentence-transformers.

The same nodes, the same embedding model, the same machine; each library in a process of its own, as its users run it
and with nothing of the others' settings, taking turns. raglift and LlamaIndex build an index from LlamaIndex nodes that
can be asked at the end. sentence-transformers' `encode` gives the vectors alone, in the number format that raglift
takes and with the batch size and attention that were fastest on a sample. Chunks beyond those that the documents have
are those again with their words in another, seeded order. The last line printed is JSON, a part a size: medians of
chunks a second, raglift's ratio to each turn by turn, and nDCG@10 of both indexes on the set's own questions; and the
exponents of the seconds over the sizes.

    python scripts/bench/index_build.py --documents python-reference --repeats 5
    python scripts/bench/index_build.py --beir DIR --sizes 1000,10000,100000
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

MODEL = "all-MiniLM-L6-v2"
ASKED = ("llama_index", "raglift")
LIBRARIES = (*ASKED, "sentence_transformers")
WARM = 256
"""Nodes that each library indexes before the clock is first read."""
DEPTH = 100


def llama_index_builder(path: Path, dtype: str) -> Callable[[list[Any]], Any]:
    """As LlamaIndex's documentation does it."""
    from llama_index.core import VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    embedding = HuggingFaceEmbedding(model_name=str(path))
    return lambda nodes: VectorStoreIndex(nodes, embed_model=embedding)


def sentence_transformers_builder(path: Path, dtype: str) -> Callable[[list[Any]], Any]:
    """Its own `encode`, at the best of the settings that it has."""
    import torch
    from sentence_transformers import SentenceTransformer

    def model(attention: str) -> SentenceTransformer:
        kwargs = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
        return SentenceTransformer(str(path), device="cpu", model_kwargs=kwargs)

    models = {attention: model(attention) for attention in ("sdpa", "eager")}
    best: list[tuple[str, int]] = []

    def build(nodes: list[Any]) -> Any:
        texts = [node.text for node in nodes]
        if not best:  # the nodes that every library warms up with
            tried = {}
            for attention, size in itertools.product(models, (8, 16, 32, 64, 128)):
                start = time.perf_counter()
                models[attention].encode(texts, batch_size=size, normalize_embeddings=True)
                tried[attention, size] = time.perf_counter() - start
            best.append(min(tried, key=lambda settings: tried[settings]))
            print("sentence_transformers", *best[0], file=sys.stderr, flush=True)
        attention, size = best[0]
        return models[attention].encode(texts, batch_size=size, normalize_embeddings=True)

    return build


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


BUILDERS = {
    "llama_index": llama_index_builder,
    "raglift": raglift_builder,
    "sentence_transformers": sentence_transformers_builder,
}


def worker(name: str, folder: Path, model: Path, dtype: str) -> None:
    """Builds on every line of standard input; when that ends, asks the questions of the last index."""
    from llama_index.core.schema import TextNode

    nodes = [TextNode.from_dict(value) for value in json.loads((folder / "nodes.json").read_text("utf-8"))]
    questions = json.loads((folder / "questions.json").read_text("utf-8"))
    build = BUILDERS[name](model, dtype)
    build(nodes[:WARM])
    index = build(nodes[:WARM])
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        index = build(nodes)
        print(time.perf_counter() - start, flush=True)
    if name not in ASKED:
        return
    retriever = index.as_retriever(similarity_top_k=DEPTH)
    rankings = {
        key: [(hit.node.node_id, float(hit.score or 0.0)) for hit in retriever.retrieve(question)]
        for key, question in questions.items()
    }
    (folder / f"{name}.json").write_text(json.dumps(rankings), "utf-8")


def read_documents(arguments: argparse.Namespace, folder: Path) -> tuple[list[Any], list[Any]]:
    """Judged questions and chunks of the documents."""
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.job import Job
    from raglift.progress import Progress

    data = {"beir": arguments.beir} if arguments.beir else {"documents": arguments.documents}
    config = config_from_dict({"data": data, "corpus": {"chunk_tokens": arguments.chunk_tokens}})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    corpus = corpus_stage.Corpus(folder)
    return [question for question in corpus.human if question.evidence][: arguments.questions], list(corpus.chunks)


def more(chunks: list[Any], count: int) -> list[Any]:
    """`count` chunks: these, and then these again with their words in other orders."""
    chance = random.Random(0)
    found = chunks[:count]
    while len(found) < count:
        chunk = chunks[len(found) % len(chunks)]
        words = chunk.text.split(" ")
        chance.shuffle(words)
        found.append(replace(chunk, id=f"more-{len(found)}", text=" ".join(words)))
    return found


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


def measured(arguments: argparse.Namespace, read: tuple[list[Any], list[Any]], size: int, dtype: str) -> dict[str, Any]:
    """Figures at one size."""
    from raglift.index.encoding import node
    from raglift.models.find import find_model

    questions, chunks = read[0], more(read[1], size)
    documents = {chunk.id: chunk.document_id for chunk in chunks}
    whole = size >= len(read[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nodes.json").write_text(json.dumps([node(chunk).to_dict() for chunk in chunks]), "utf-8")
        asked = {question.id: question.question for question in questions} if whole else {}
        (folder / "questions.json").write_text(json.dumps(asked), "utf-8")
        repeats = max(1, min(arguments.repeats, arguments.repeats * 2000 // size))
        seconds = take_turns(folder, find_model(MODEL).path, dtype, repeats)
        rankings = {library: json.loads((folder / f"{library}.json").read_text()) for library in ASKED}
    ours = seconds["raglift"]
    ratios = {
        name: [theirs / own for theirs, own in zip(times, ours, strict=True)]
        for name, times in seconds.items()
        if name != "raglift"
    }
    found: dict[str, Any] = {
        "turns": repeats,
        "seconds": {library: round(statistics.median(times), 3) for library, times in seconds.items()},
        "chunks_per_second": {library: round(size / statistics.median(times), 1) for library, times in seconds.items()},
        "ratio": {
            library: {
                "median": round(statistics.median(each), 2),
                "min": round(min(each), 2),
                "max": round(max(each), 2),
            }
            for library, each in ratios.items()
        },
    }
    if whole and questions:
        found["questions"] = len(questions)
        found["ndcg_at_10"] = {
            library: round(ndcg(given, questions, documents), 4) for library, given in rankings.items()
        }
    print(size, json.dumps(found), flush=True)
    return found


def exponents(sizes: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Library -> a in seconds ~ chunks^a, by least squares over the logarithms."""
    if len(sizes) < 2:
        return {}
    logs = [math.log(size) for size in sizes]
    return {
        library: round(
            statistics.linear_regression(logs, [math.log(f["seconds"][library]) for f in sizes.values()]).slope, 3
        )
        for library in LIBRARIES
    }


def dtype_of(arguments: argparse.Namespace) -> str:
    """The number format that raglift takes."""
    from raglift.models.device import probe_dtype

    return probe_dtype().dtype if arguments.dtype == "auto" else str(arguments.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--documents", default="python-reference")
    source.add_argument("--beir")
    parser.add_argument("--sizes", help="chunks, separated by commas; those that the documents have otherwise")
    parser.add_argument("--repeats", type=int, default=5, help="turns, fewer where a size is above 2,000")
    parser.add_argument("--chunk-tokens", type=int, default=160)
    parser.add_argument("--questions", type=int, default=300, help="most questions that nDCG@10 is taken over")
    parser.add_argument(
        "--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of all but LlamaIndex"
    )
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder, arguments.model, arguments.dtype)
        return
    with tempfile.TemporaryDirectory() as name:
        read = read_documents(arguments, Path(name))
    dtype = dtype_of(arguments)
    wanted = [int(size) for size in arguments.sizes.split(",")] if arguments.sizes else [len(read[1])]
    sizes = {size: measured(arguments, read, size, dtype) for size in wanted}
    about = {"bench": "index_build", "cores": os.cpu_count(), "dtype": dtype}
    print(json.dumps(about | {"sizes": sizes, "exponents": exponents(sizes)}))


if __name__ == "__main__":
    main()
