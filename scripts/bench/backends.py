"""How fast each encoding backend is here, and how its vectors agree with float32.

Chunks of the built-in Python reference, drawn with a seed. The backends that are installed take turns, so that another
load of the machine meets all of them; a rate is the median of the turns. The last line printed is JSON: the machine's
load, and for each backend seconds to open it (the first of them writes the model's graph), texts a second, mean and
least cosine, and the share of the nearest ten.

    python scripts/bench/backends.py --chunks 256 --repeats 3 --threads 1 --dtype float32
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any


def chunks(count: int) -> list[str]:
    """Chunks of the length that a run has by default."""
    from raglift.config_schema import CorpusConfig
    from raglift.corpus.chunking import chunk_documents
    from raglift.corpus.documents import read_documents

    documents = read_documents("python-reference")
    found = sorted({chunk.text for chunk in chunk_documents(documents, CorpusConfig().chunk_tokens, 0)})
    return random.Random(0).sample(found, min(count, len(found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a name or a folder")
    parser.add_argument("--chunks", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    arguments = parser.parse_args()
    texts = chunks(arguments.chunks)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(texts, arguments, Path(folder))
    print(json.dumps({"bench": "backends", **vars(arguments), "load": os.getloadavg(), "backends": rows}))


def measured(texts: list[str], arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row a backend."""
    import torch

    from raglift import plugins
    from raglift.config_schema import RuntimeConfig
    from raglift.errors import UserError
    from raglift.index.agreement import agreement
    from raglift.index.backend_choice import timed
    from raglift.models.device import resolve
    from raglift.models.encoder import Encoder, load_encoder
    from raglift.models.find import find_model

    settings = {"threads": arguments.threads, "dtype": arguments.dtype, "device": "cpu"}
    runtime = resolve(RuntimeConfig.model_validate(settings), folder)
    model = load_encoder(find_model(arguments.model).path, runtime)
    exact = Encoder(model, replace(runtime, dtype=torch.float32)).encode(texts, "passage")
    opened, seconds, rates, found = {}, {}, {}, {}
    for name in plugins.names("encoding backend"):
        backend = plugins.load("encoding backend", name)
        try:
            backend.check(runtime)
        except UserError as error:
            print(error.what, flush=True)
            continue
        start = time.perf_counter()
        opened[name] = backend.open(model, folder / "graphs", runtime)
        seconds[name] = round(time.perf_counter() - start, 2)
        rates[name] = []
    for _ in range(arguments.repeats):
        for name, encoder in opened.items():
            vectors, rate = timed(encoder, texts)
            rates[name].append(rate)
            found[name] = agreement(vectors, exact)
    rows = []
    for name, values in rates.items():
        rate = round(statistics.median(values), 1)
        rows.append({"backend": name, "open_seconds": seconds[name], "texts_per_second": rate, **asdict(found[name])})
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
