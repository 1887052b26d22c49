"""The memory that the index stage takes, and its chunks a second, against the number of chunks.

Short passages of words drawn with a seed from the built-in Python reference. Every size is built by a process of its
own, as a run does it: encoded longest first, block by block, by way of the cache of vectors into the store, which is
written. Beside the peak stands what the process held before the stage: the libraries, the model (warmed with the same
number of texts as a block has) and the chunks themselves. The last line printed is JSON: megabytes before, at the peak
and of the stage, which is their difference, and that by chunk: a vector alone has 1,536 bytes.

    python scripts/bench/index_memory.py --sizes 1000,10000,50000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = "all-MiniLM-L6-v2"
WORDS = 8
"""Of a chunk."""
WARM = 1024


def worker(size: int, dtype: str) -> None:
    """Build an index of one size and print what it took."""
    from raglift.config_schema import RuntimeConfig
    from raglift.corpus import python_reference
    from raglift.index.stage import build
    from raglift.index.vector_cache import VectorCache
    from raglift.job import Job
    from raglift.models.device import resolve
    from raglift.models.encoder import Encoder, load_encoder
    from raglift.models.find import find_model
    from raglift.progress import Progress
    from raglift.records import Chunk

    words = sorted({word for text in python_reference.texts().values() for word in text.split() if word.isalpha()})
    chance = random.Random(0)
    texts = [" ".join(chance.choices(words, k=WORDS)) for _ in range(size)]
    chunks = [Chunk(f"c{row}", f"d{row}", text, 0, len(text), {"source": f"{row}"}) for row, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = resolve(RuntimeConfig.model_validate({"dtype": dtype}), folder)
        encoder = Encoder(load_encoder(find_model(MODEL).path, runtime), runtime)
        encoder.encode([f"{text} again" for text in texts[:WARM]], "passage")
        before = peak()
        cache = VectorCache(folder, "bench", encoder.dimension)
        start = time.perf_counter()
        build(chunks, encoder, MODEL, "bench", Job(folder / "out", 0, Progress(quiet=True)), cache=cache)
        seconds = time.perf_counter() - start
    print(json.dumps({"chunks": size, "before_mb": before, "peak_mb": peak(), "chunks_per_second": size / seconds}))


def peak() -> float:
    """Most megabytes that this process has held."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e6 if sys.platform == "darwin" else 1e3)


def measured(size: int, dtype: str) -> dict[str, Any]:
    """What a worker printed, in figures that can be compared."""
    command = [sys.executable, __file__, "--worker", str(size), "--dtype", dtype]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["stage_mb"] = found["peak_mb"] - found["before_mb"]
    found["bytes_a_chunk"] = 1e6 * found["stage_mb"] / size
    found = {name: round(value, 1) for name, value in found.items()}
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,50000", help="chunks, separated by commas")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.dtype)
        return
    rows = [measured(int(size), arguments.dtype) for size in arguments.sizes.split(",")]
    print(json.dumps({"bench": "index_memory", "sizes": rows}))


if __name__ == "__main__":
    main()
