"""How fast an embedding model is tuned: raglift's loop against sentence-transformers' SentenceTransformerTrainer.

The same pairs, base, loss, batch size, epochs, schedule and threads. The trainer runs twice: as its defaults are, and
at the best settings on this machine. A search over attention's dropout, precision, attention, batches by length, data
loading and saving finds these first: one after the other, each kept where it makes some steps faster. Each of the three
has a process of its own and they take turns; the clock runs from texts and a loaded base to a trained model, with no
scoring in between. Losses are equal if those on pairs that nobody trained on are, without dropout and in float32.
The last line printed is JSON: medians of pairs a second, ratios turn by turn, and the losses before and after.

    python scripts/bench/embedding_tuning.py
    python scripts/bench/embedding_tuning.py --strategy lora --repeats 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from turns import take_turns

MODEL = "all-MiniLM-L6-v2"
WORKERS = ("defaults", "best", "raglift")
SEARCH: tuple[tuple[str, Any], ...] = (
    ("attention_dropout", 0.0),
    ("bf16", True),
    ("attention", "eager"),
    ("by_length", True),
    ("loader_processes", 1),
    ("saves", "no"),
)
"""Settings of the trainer that are tried in turn beside those that have won."""
TRIED_STEPS = 6
RANK = 16
Train = Callable[[list[list[str]]], Any]


def sentence_transformers_training(task: dict[str, Any], settings: dict[str, Any], folder: Path) -> Train:
    """Trains a fresh copy of the base on the pairs, as the library's documentation does it."""
    import torch
    from by_length import ByLength
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    torch.set_num_threads(task["threads"])

    base = SentenceTransformer(task["model"], device="cpu", local_files_only=True)
    state = {name: value.clone() for name, value in base.state_dict().items()}

    def train(pairs: list[list[str]]) -> Any:
        options: dict[str, Any] = {"attn_implementation": settings.get("attention", "sdpa")}
        if "attention_dropout" in settings:
            options["config_kwargs"] = {"attention_probs_dropout_prob": settings["attention_dropout"]}
        model = SentenceTransformer(
            task["model"],
            device="cpu",
            local_files_only=True,
            model_kwargs={"attn_implementation": options["attn_implementation"]},
            **{key: value for key, value in options.items() if key == "config_kwargs"},
        )
        model.load_state_dict(state)
        if task["strategy"] == "lora":
            model.add_adapter(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"))
        start = time.perf_counter()
        arguments = SentenceTransformerTrainingArguments(
            str(folder / "trainer"),
            num_train_epochs=task["epochs"],
            per_device_train_batch_size=task["batch_size"],
            learning_rate=task["learning_rate"],
            warmup_steps=0.1,
            use_cpu=True,
            bf16=settings.get("bf16", False),
            dataloader_num_workers=settings.get("loader_processes", 0),
            save_strategy=settings.get("saves", "steps"),
            report_to="none",
            disable_tqdm=True,
            **({"batch_sampler": ByLength} if settings.get("by_length") else {}),
        )
        data = Dataset.from_dict({"anchor": [query for query, _ in pairs], "positive": [text for _, text in pairs]})
        loss = MultipleNegativesRankingLoss(
            model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        )
        SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss).train()
        return model, time.perf_counter() - start

    return train


def raglift_training(task: dict[str, Any], folder: Path) -> Train:
    """Trains a fresh copy of the base on the pairs as the embedding stage does it, without scoring."""
    from raglift import plugins
    from raglift.config import EmbeddingConfig
    from raglift.config_schema import RuntimeConfig
    from raglift.job import Job
    from raglift.models.device import resolve
    from raglift.models.find import find_model
    from raglift.models.flattened import flatten_inputs
    from raglift.progress import Progress
    from raglift.training import recipe
    from raglift.training.embedding_stage import ready_to_train
    from raglift.training.loop import Task, fit
    from raglift.training.pairs import Pair, PairBatches

    options = {"device": "cpu", "dtype": task["dtype"], "threads": task["threads"]}
    runtime = resolve(RuntimeConfig.model_validate(options), folder)
    base, runs = find_model(MODEL), count()

    def train(pairs: list[list[str]]) -> Any:
        model = ready_to_train(base, runtime)
        strategies = [plugins.load("strategy", task["strategy"])()]
        settings = EmbeddingConfig.model_validate(
            {"epochs": task["epochs"], "batch_size": task["batch_size"], "learning_rate": task["learning_rate"]}
        )
        start = time.perf_counter()
        flatten_inputs(model)
        rows = [Pair(query, text, str(place)) for place, (query, text) in enumerate(pairs)]
        batches = PairBatches(rows, {}, model, task["batch_size"], 0)
        loop = recipe.loop_settings(settings, "embedding", strategies, len(rows), len(batches))
        rising = count()  # each scored state is better than the one before, so that the last is taken
        objective = plugins.load("objective", "multiple_negatives")().build(model)
        job = Job(folder / f"raglift-{next(runs)}", 0, Progress(quiet=True))
        fitted = fit(
            model, Task("embedding", batches, objective, lambda _: next(rising)), strategies, loop, runtime, job
        )
        seconds = time.perf_counter() - start
        return strategies[0].finish(fitted.model), seconds

    return train


def worker(name: str, folder: Path) -> None:
    """Trains on every line of standard input; the last model's loss goes into a file."""
    task = json.loads((folder / "task.json").read_text("utf-8"))
    settings = task["best"] if name == "best" else {}
    train = raglift_training(task, folder) if name == "raglift" else None
    train = train or sentence_transformers_training(task, settings, folder)
    train(task["pairs"][: 2 * task["batch_size"]])
    print("ready", flush=True)
    model = None
    for _ in sys.stdin:
        model, seconds = train(task["pairs"])
        print(seconds, flush=True)
    (folder / f"{name}.json").write_text(json.dumps(held_loss(model, task)), "utf-8")


def held_loss(model: Any, task: dict[str, Any]) -> float:
    """The mean loss of batches of pairs that nobody trains on, without dropout."""
    import torch

    from raglift import plugins
    from raglift.training.pairs import Pair, PairBatches

    rows = [Pair(query, text, str(place)) for place, (query, text) in enumerate(task["held"])]
    batches = PairBatches(rows, {}, model, task["batch_size"], 0)
    loss = plugins.load("objective", "multiple_negatives")().build(model.eval())
    with torch.no_grad():
        return round(statistics.mean(float(loss(model, batches.batch(0, at))) for at in range(len(batches))), 4)


def search(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The trainer's settings that are fastest here; each is tried in a process of its own, beside those kept."""
    best: dict[str, Any] = {}
    some = task["pairs"][: TRIED_STEPS * task["batch_size"]]
    tried = {**task, "pairs": some, "epochs": 1}

    def timed(settings: dict[str, Any]) -> float:
        (folder / "task.json").write_text(json.dumps({**tried, "best": settings}), "utf-8")
        return min(take_turns(__file__, folder, ("best",), None, task["threads"], 2)["best"])

    fastest = timed(best)
    for name, value in SEARCH:
        seconds = timed({**best, name: value})
        print(f"{name}={value}: {seconds:.2f} s beside {fastest:.2f} s", flush=True)
        if seconds < fastest:
            best, fastest = {**best, name: value}, seconds
    return best


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Pairs of a sentence and the passage around it, from the documents' train split; the last ones are held out."""
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.job import Job
    from raglift.models.find import find_model
    from raglift.progress import Progress
    from raglift.synthesis.inverse_cloze import inverse_clozes

    config = config_from_dict({"data": {"documents": arguments.documents}})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    wanted = arguments.pairs + arguments.held
    made = [(pair.query, pair.passage) for pair in inverse_clozes(corpus_stage.Corpus(folder), wanted, 0)]
    if len(made) < wanted:
        raise SystemExit(f"{arguments.documents} has {len(made)} pairs, fewer than {wanted}: lower --pairs")
    return {
        "pairs": made[: arguments.pairs],
        "held": made[arguments.pairs :],
        "model": str(find_model(MODEL).path),
        **{
            name: getattr(arguments, name)
            for name in ("epochs", "batch_size", "learning_rate", "threads", "dtype", "strategy")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="python-reference")
    parser.add_argument("--strategy", default="full", choices=("full", "lora"))
    parser.add_argument("--pairs", type=int, default=384)
    parser.add_argument("--held", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, help="default: what the strategy declares")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of raglift")
    parser.add_argument("--best", type=json.loads, help="the best settings, found before; default: search for them")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
        return
    arguments.learning_rate = arguments.learning_rate or {"full": 6e-5, "lora": 1e-3}[arguments.strategy]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = prepare(arguments, folder)
        task["best"] = arguments.best if arguments.best is not None else search(task, folder)
        (folder / "task.json").write_text(json.dumps(task), "utf-8")
        seconds = take_turns(__file__, folder, WORKERS, None, arguments.threads, arguments.repeats)
        losses = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in WORKERS}
    print(json.dumps(summary(task, seconds, losses)))


def summary(task: dict[str, Any], seconds: dict[str, list[float]], losses: dict[str, float]) -> dict[str, Any]:
    """What the bench found."""
    from sentence_transformers import SentenceTransformer

    pairs = len(task["pairs"]) * task["epochs"]
    ratios = {
        name: [theirs / ours for theirs, ours in zip(seconds[name], seconds["raglift"], strict=True)]
        for name in ("defaults", "best")
    }
    base = SentenceTransformer(task["model"], device="cpu", local_files_only=True)
    return {
        "bench": "embedding_tuning",
        "pairs": len(task["pairs"]),
        **{key: task[key] for key in ("strategy", "epochs", "batch_size", "learning_rate", "threads", "dtype", "best")},
        "cores": os.cpu_count(),
        "pairs_per_second": {name: round(pairs / statistics.median(times), 2) for name, times in seconds.items()},
        "ratio": {
            f"over {name}": {
                "median": round(statistics.median(found), 2),
                "min": round(min(found), 2),
                "max": round(max(found), 2),
            }
            for name, found in ratios.items()
        },
        "held_out_loss": {"base": held_loss(base, task), **losses},
    }


if __name__ == "__main__":
    main()
