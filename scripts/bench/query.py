"""How fast an index answers and how much of the exact best ten it finds: every kind of raglift's, and LlamaIndex's.

The data are seeded and made up: centres drawn from a normal distribution in 64 dimensions, one for every hundred
vectors; points around them as wide as the centres are apart; a random projection into 384 dimensions, where a little
noise of full rank is added. Queries are drawn like the vectors and are not among them. Real embeddings have other
neighbourhoods: take the recall as a comparison of kinds, not as a promise.

Each kind is built, asked in turns with LlamaIndex's store, query by query and the same queries, and dropped before the
next is built, so that a million vectors fit into 16 GB. Both are asked by LlamaIndex's `query`, which gives ten
results; raglift's are nodes, those of LlamaIndex's `FaissVectorStore` only numbers that a docstore has still to be
asked for. `ratio` is how many times longer LlamaIndex's store took, the median over the queries of one kind's turns. A
batch is `search` over all queries at once, which LlamaIndex's store does not have. The last line printed is JSON:
milliseconds, recall at 10, seconds to build, bytes on disk, and the exponents of p50 over the sizes.

    python scripts/bench/query.py --sizes 10000,100000,1000000
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from numpy.typing import NDArray

from raglift import plugins
from raglift.index import FaissStore

DIMENSION = 384
_LATENT = 64
_DEPTH = 10
_WARM = 5
"""Queries before the clock is first read."""
THEIRS = "llama_index"


@dataclass
class Asked:
    """A store, and what asking it has shown so far."""

    store: Any
    build_seconds: float
    seconds: list[float] = field(default_factory=list)
    found: list[list[int]] = field(default_factory=list)


def vectors_of(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """`count` unit vectors as the module says, for an index of `size`; another seed draws around the same centres."""
    fixed, drawn = np.random.default_rng(0), np.random.default_rng(seed)
    centres = fixed.normal(size=(max(1, size // 100), _LATENT)).astype(np.float32)
    projection = fixed.normal(size=(_LATENT, DIMENSION)).astype(np.float32) / math.sqrt(_LATENT)
    latent = centres[drawn.integers(0, len(centres), count)]
    latent += drawn.normal(size=latent.shape).astype(np.float32)
    vectors = latent @ projection
    vectors += 0.2 * drawn.normal(size=vectors.shape).astype(np.float32)
    faiss.normalize_L2(vectors)
    return vectors


def ours(kind: str, vectors: NDArray[np.float32]) -> Asked:
    """raglift's store of a kind; the seconds are those of the index and of measuring its recall."""
    store = FaissStore(dimension=DIMENSION, kind=kind)
    store.add_vectors([TextNode(id_=str(row), text="passage") for row in range(len(vectors))], vectors)
    start = time.perf_counter()
    store.build()
    return Asked(store, time.perf_counter() - start)


def theirs(index: Any, seconds: float) -> Asked | None:
    """LlamaIndex's store over FAISS's flat index, where it is installed. Its `add` takes a list of numbers a node and
    adds row by row; here the rows were added at once, since it is asking that is measured."""
    try:
        from llama_index.vector_stores.faiss import FaissVectorStore
    except ImportError:
        return None
    return Asked(FaissVectorStore(index), seconds)


def ask(stores: dict[str, Asked], queries: NDArray[np.float32]) -> None:
    """Every query to every store, in turns."""
    for number, query in enumerate(queries):
        asked = VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=_DEPTH)
        for each in stores.values():
            start = time.perf_counter()
            result = each.store.query(asked)
            seconds = time.perf_counter() - start
            if number >= _WARM:
                each.seconds.append(seconds)
                each.found.append([int(name) for name in result.ids])


def batch_milliseconds(store: FaissStore, queries: NDArray[np.float32], repeats: int = 5) -> float:
    """A query's share of a search over all of them, the median of a few."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        store.search(queries, _DEPTH)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times)) / len(queries)


def bytes_on_disk(store: FaissStore) -> int:
    """Of the part that every search reads."""
    with tempfile.TemporaryDirectory() as name:
        store.persist(name)
        files = {path.name: path.stat().st_size for path in Path(name).rglob("*.faiss")}
    return files.get("approximate.faiss", files["vectors.faiss"])


def figures_of(each: Asked, right: list[list[int]]) -> dict[str, Any]:
    """What asking a store has shown."""
    shares = [len(set(got) & set(line)) / _DEPTH for got, line in zip(each.found, right, strict=True)]
    p50, p95 = np.percentile(1000 * np.array(each.seconds), [50, 95])
    found = {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}
    return found | {"recall_at_10": round(float(np.mean(shares)), 4), "build_s": round(each.build_seconds, 1)}


def measure(size: int, count: int, kinds: list[str]) -> dict[str, dict[str, Any]]:
    """Name -> figures at one size."""
    vectors, queries = vectors_of(size, size, 1), vectors_of(count + _WARM, size, 2)
    index = faiss.IndexFlatIP(DIMENSION)
    start = time.perf_counter()
    index.add(vectors)
    seconds = time.perf_counter() - start
    right = index.search(queries[_WARM:], _DEPTH)[1].tolist()
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        own, other = ours(kind, vectors), theirs(index, seconds)
        ask({kind: own} | ({} if other is None else {THEIRS: other}), queries)
        built = own.store.built
        figures = figures_of(own, right) | {"batch_ms": round(batch_milliseconds(own.store, queries[_WARM:]), 3)}
        figures |= {"bytes": bytes_on_disk(own.store), "kind": "flat" if built is None else built.kind}
        figures |= {"stored_recall": None if built is None else built.recall}
        if other is not None:
            ratios = np.array(other.seconds) / np.array(own.seconds)
            figures["ratio"] = round(float(np.median(ratios)), 2)
            found.setdefault(THEIRS, figures_of(other, right))  # of its turns with the first kind
        found[kind] = figures
        print(size, kind, figures, flush=True)
    return found


def exponents(results: dict[int, dict[str, dict[str, Any]]]) -> dict[str, float]:
    """Name -> a in p50 ~ size^a, by least squares over the logarithms."""
    sizes = sorted(results)
    if len(sizes) < 2:
        return {}
    return {
        name: round(float(np.polyfit(np.log(sizes), np.log([results[s][name]["p50_ms"] for s in sizes]), 1)[0]), 2)
        for name in results[sizes[0]]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(plugins.names("index kind")))
    parser.add_argument("--threads", type=int, default=1, help="of FAISS")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(arguments.threads)
    kinds = arguments.kinds.split(",")
    results = {int(size): measure(int(size), arguments.queries, kinds) for size in arguments.sizes.split(",")}
    about = {"bench": "query", "dimension": DIMENSION, "queries": arguments.queries, "cores": os.cpu_count()}
    print(json.dumps(about | {"threads": arguments.threads, "sizes": results, "exponents": exponents(results)}))


if __name__ == "__main__":
    main()
