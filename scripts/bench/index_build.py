"""How fast an index is built: raglift against LlamaIndex's VectorStoreIndex with HuggingFaceEmbedding.

The same chunks, the same embedding model, the same machine and threads, in one process, alternating; both build an
index from LlamaIndex nodes that can be asked at the end. The last line printed is JSON: medians of chunks a second, the
ratio pair by pair, and nDCG@10 of both indexes on the set's own questions.

    python scripts/bench/index_build.py --documents python-reference --repeats 5
    python scripts/bench/index_build.py --beir DIR --repeats 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from llama_index.core import VectorStoreIndex
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

from raglift.config import config_from_dict
from raglift.corpus import stage as corpus_stage
from raglift.evaluation.retrieval import score_rankings
from raglift.index.stage import node
from raglift.index.store import FaissStore
from raglift.models.device import resolve
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.records import Chunk, QAPair

MODEL = "all-MiniLM-L6-v2"


def build_llama_index(chunks: Sequence[Chunk], embedding: HuggingFaceEmbedding) -> VectorStoreIndex:
    """As LlamaIndex's documentation does it."""
    return VectorStoreIndex([node(chunk) for chunk in chunks], embed_model=embedding)


def build_raglift(chunks: Sequence[Chunk], encoder: Encoder, name: str, source: Path) -> VectorStoreIndex:
    """As the index stage does it."""
    vectors = encoder.encode([chunk.text for chunk in chunks], "passage")
    store = FaissStore(dimension=encoder.dimension)
    store.add_vectors([node(chunk) for chunk in chunks], vectors)
    return VectorStoreIndex.from_vector_store(store, embed_model=LiftEmbedding(encoder, name, source))


def ndcg(index: VectorStoreIndex, questions: Sequence[QAPair], documents: dict[str, str]) -> float:
    """Mean nDCG@10 over the questions, asked one by one through LlamaIndex's retriever."""
    retriever = index.as_retriever(similarity_top_k=100)
    rankings = {
        question.id: [(hit.node.node_id, hit.score or 0.0) for hit in retriever.retrieve(question.question)]
        for question in questions
    }
    scores = score_rankings(questions, rankings, ["nDCG@10"], documents, "bench")
    return statistics.fmean(score.value for score in scores if score.value is not None)


def timed(work: Callable[[], VectorStoreIndex]) -> tuple[VectorStoreIndex, float]:
    start = time.perf_counter()
    index = work()
    return index, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--documents", default="python-reference")
    source.add_argument("--beir")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chunk-tokens", type=int, default=160)
    parser.add_argument("--questions", type=int, default=300, help="most questions that nDCG@10 is taken over")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    arguments = parser.parse_args()

    data: dict[str, Any] = {"beir": arguments.beir} if arguments.beir else {"documents": arguments.documents}
    config = config_from_dict(
        {"data": data, "corpus": {"chunk_tokens": arguments.chunk_tokens}, "runtime": {"dtype": arguments.dtype}}
    )
    with tempfile.TemporaryDirectory() as folder:
        runtime = resolve(config.runtime, Path(folder))
        documents, human = corpus_stage.read_sources(config)
        corpus_stage.build(config, documents, human, Path(folder))
        corpus = corpus_stage.Corpus(Path(folder))
        chunks = corpus.chunks
        questions = [question for question in corpus.human if question.evidence][: arguments.questions]
    found = find_model(MODEL)
    peer = HuggingFaceEmbedding(model_name=str(found.path), device=str(runtime.device))
    encoder = Encoder(load_encoder(found.path, runtime), runtime)
    build_llama_index(chunks[:20], peer)
    build_raglift(chunks[:20], encoder, found.name, found.path)

    seconds: dict[str, list[float]] = {"llama_index": [], "raglift": []}
    for _ in range(arguments.repeats):
        theirs, spent = timed(lambda: build_llama_index(chunks, peer))
        seconds["llama_index"].append(spent)
        ours, spent = timed(lambda: build_raglift(chunks, encoder, found.name, found.path))
        seconds["raglift"].append(spent)
        print({name: round(times[-1], 2) for name, times in seconds.items()}, flush=True)
    document_of = {chunk.id: chunk.document_id for chunk in chunks}
    ratios = [a / b for a, b in zip(seconds["llama_index"], seconds["raglift"], strict=True)]
    result = {
        "bench": "index_build",
        "chunks": len(chunks),
        "threads": torch.get_num_threads(),
        "dtype": str(runtime.dtype).removeprefix("torch."),
        "chunks_per_second": {
            name: round(len(chunks) / statistics.median(times), 1) for name, times in seconds.items()
        },
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "min": round(min(ratios), 2),
            "max": round(max(ratios), 2),
        },
        "questions": len(questions),
        "ndcg_at_10": {
            "llama_index": round(ndcg(theirs, questions, document_of), 4),
            "raglift": round(ndcg(ours, questions, document_of), 4),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
