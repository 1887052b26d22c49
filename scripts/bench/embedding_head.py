"""How fast a head is trained: raglift.tune_head against llama-index-finetuning's EmbeddingAdapterFinetuneEngine.

The same pairs, epochs, batch size, learning rate and threads, the same model below and a linear head on the queries in
both; each library in a process of its own, the two taking turns. The clock runs from pairs to a trained head, so the
encoding of the texts is in it, and with raglift the scoring of the development pairs, which the other does not do.
llama-index-finetuning is deprecated and does not install beside raglift; `--make-venv` makes an environment for it.
The last line printed is JSON: medians of seconds, the ratio turn by turn, and nDCG@10 of both heads and of the base on
questions that people wrote.

    python scripts/bench/embedding_head.py --venv DIR --make-venv
    python scripts/bench/embedding_head.py --venv DIR --pairs 400 --epochs 10 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from turns import make_venv, take_turns

MODEL = "all-MiniLM-L6-v2"
LIBRARIES = ("llama_index", "raglift")
PINS = ("llama-index-finetuning==0.4.2", "llama-index-embeddings-huggingface", "mistralai<2")
"""The package imports `mistralai.Mistral` without saying that version 2 has lost it."""
SHARED = ("torch", "transformers", "sentence-transformers", "llama-index-core", "numpy", "tokenizers")
"""What both environments have in the same version."""


def llama_index_worker(folder: Path, task: dict[str, Any]) -> None:
    """Trains on every line of standard input, as LlamaIndex's documentation does it."""
    import torch
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.finetuning import EmbeddingAdapterFinetuneEngine, EmbeddingQAFinetuneDataset

    torch.set_num_threads(task["threads"])
    embedding = HuggingFaceEmbedding(model_name=task["model"], device="cpu")
    numbered = {str(row): pair for row, pair in enumerate(task["pairs"])}
    dataset = EmbeddingQAFinetuneDataset(
        queries={key: question for key, (question, _) in numbered.items()},
        corpus={key: passage for key, (_, passage) in numbered.items()},
        relevant_docs={key: [key] for key in numbered},
    )
    embedding.get_text_embedding("warm")
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        engine = EmbeddingAdapterFinetuneEngine(
            dataset,
            embedding,
            batch_size=task["batch_size"],
            epochs=task["epochs"],
            model_output_path=str(folder / "adapter"),
            optimizer_params={"lr": task["learning_rate"]},
            show_progress_bar=False,
            device="cpu",
        )
        engine.finetune()
        print(time.perf_counter() - start, flush=True)
    weights = torch.load(folder / "adapter" / "pytorch_model.bin", weights_only=True)
    (folder / "llama_index.json").write_text(json.dumps(weights["linear.weight"].tolist()), "utf-8")


def raglift_worker(folder: Path, task: dict[str, Any]) -> None:
    """Trains on every line of standard input, as raglift's documentation does it."""
    import torch

    import raglift
    from raglift.config_schema import RuntimeConfig
    from raglift.models.device import resolve
    from raglift.models.embedding import LiftEmbedding
    from raglift.models.encoder import Encoder, load_encoder

    runtime = resolve(RuntimeConfig.model_validate({"dtype": task["dtype"], "threads": task["threads"]}), folder)
    encoder = Encoder(load_encoder(Path(task["model"]), runtime), runtime)
    embedding = LiftEmbedding(encoder, MODEL, Path(task["model"]))
    embedding.get_text_embedding("warm")
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        headed = raglift.tune_head(
            embedding,
            task["pairs"],
            dev=task["dev"],
            quiet=True,
            batch_size=task["batch_size"],
            epochs=task["epochs"],
            learning_rate=task["learning_rate"],
            evaluations=1,
        )
        print(time.perf_counter() - start, flush=True)
    matrix = headed.head.change.weight + torch.eye(encoder.dimension)
    (folder / "raglift.json").write_text(json.dumps(matrix.tolist()), "utf-8")


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Any]:
    """The task of both, and the corpus with the questions that judge: pairs are sentences and the passages around."""
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.job import Job
    from raglift.models.find import find_model
    from raglift.progress import Progress
    from raglift.synthesis.inverse_cloze import inverse_clozes

    config = config_from_dict({"data": {"documents": arguments.documents}})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    corpus = corpus_stage.Corpus(folder)
    made = [(pair.query, pair.passage) for pair in inverse_clozes(corpus, arguments.pairs * 9 // 8, 0)]
    task = {
        "pairs": made[: len(made) * 8 // 9],
        "dev": made[len(made) * 8 // 9 :],
        "model": str(find_model(MODEL).path),
        **{name: getattr(arguments, name) for name in ("epochs", "batch_size", "learning_rate", "threads", "dtype")},
    }
    return task, corpus


def quality(folder: Path, corpus: Any, model: Path, threads: int) -> dict[str, float]:
    """nDCG@10 of the base and of both heads on the people's questions, all by the same vectors."""
    import numpy as np
    import torch

    from raglift.models.device import Runtime
    from raglift.models.encoder import Encoder, load_encoder
    from raglift.training.embedding_stage import DevRanking

    runtime = Runtime(torch.device("cpu"), torch.float32, threads)
    encoder = Encoder(load_encoder(model, runtime), runtime)
    ranking = DevRanking([corpus.human], corpus.chunks)
    passages = encoder.encode([chunk.text for chunk in corpus.chunks], "passage")
    asked = encoder.encode([question.question for question in ranking.sets[0]], "query")
    heads = {name: np.array(json.loads((folder / f"{name}.json").read_text()), np.float32) for name in LIBRARIES}
    heads = {"base": np.eye(asked.shape[1], dtype=np.float32), **heads}
    return {name: round(ranking.score([asked @ matrix.T], passages), 4) for name, matrix in heads.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="the environment that llama-index-finetuning is in")
    parser.add_argument("--make-venv", action="store_true", help="make it, and train nothing")
    parser.add_argument("--documents", default="python-reference")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of raglift")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task = json.loads((arguments.folder / "task.json").read_text("utf-8"))
        {"llama_index": llama_index_worker, "raglift": raglift_worker}[arguments.worker](arguments.folder, task)
        return
    if arguments.venv is None:
        parser.error("--venv names the environment that llama-index-finetuning is in, or is to be made in")
    if arguments.make_venv:
        make_venv(arguments.venv, PINS, SHARED)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task, corpus = prepare(arguments, folder)
        (folder / "task.json").write_text(json.dumps(task), "utf-8")
        seconds = take_turns(__file__, folder, LIBRARIES, arguments.venv, arguments.threads, arguments.repeats)
        scores = quality(folder, corpus, Path(task["model"]), arguments.threads)
    ratios = [theirs / ours for theirs, ours in zip(seconds["llama_index"], seconds["raglift"], strict=True)]
    result = {
        "bench": "embedding_head",
        "pairs": len(task["pairs"]),
        **{key: task[key] for key in ("epochs", "batch_size", "learning_rate", "threads", "dtype")},
        "cores": os.cpu_count(),
        "seconds": {library: round(statistics.median(times), 2) for library, times in seconds.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 1),
            "min": round(min(ratios), 1),
            "max": round(max(ratios), 1),
        },
        "ndcg_at_10": scores,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
