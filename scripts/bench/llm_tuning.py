"""How fast a language model is tuned: raglift's LoRA against TRL's `SFTTrainer` with PEFT, from texts to an adapter.

The same examples (clozes over a corpus, each with three passages in the prompt), the same LoRA, batch size, learning
rate and threads; each side in a process of its own, all taking turns. Loading the model is not in the clock; reading
the texts as tokens and every step are. TRL runs at its defaults (float32 weights under bfloat16 autocast, gradient
checkpointing, padding) and at better settings: `--against` names them, `--search` times each in `SETTINGS` once.
TRL's own environment is made by `--make-venv`.

The last line printed is JSON: medians of seconds, tokens a second (all, and learned), the ratios turn by turn, the loss
of the first and the last step, the loss on examples that none has learned, peak memory, and what share of this
machine's measured matrix-multiply rate the learning took (four operations a token and weight of the blocks: forward,
and backward to the inputs).

    python scripts/bench/llm_tuning.py --venv DIR --make-venv
    python scripts/bench/llm_tuning.py --venv DIR --search
    python scripts/bench/llm_tuning.py --venv DIR --examples 32 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from turns import make_venv, take_turns

MODEL = "SmolLM2-135M-Instruct"
TRL = "trl==1.16.0"
SHARED = ("torch", "transformers", "peft", "accelerate", "datasets", "numpy", "tokenizers")
"""What both environments have in the same version."""
HALF = {"dtype": "bfloat16", "gradient_checkpointing": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no checkpointing": {"gradient_checkpointing": False},
    "bfloat16": HALF,
    "grouped": {**HALF, "train_sampling_strategy": "group_by_length"},
    "grouped, eager attention": {**HALF, "train_sampling_strategy": "group_by_length", "attention": "eager"},
    "grouped, no autocast": {**HALF, "train_sampling_strategy": "group_by_length", "bf16": False},
    "padding-free": {**HALF, "padding_free": True, "max_length": None},
    "packed": {**HALF, "packing": True, "max_length": 2048, "per_device_train_batch_size": 1},
}
"""Name -> how TRL is set; what is not one of its own settings says how the model is loaded."""
BEST = "grouped, eager attention"
"""The fastest of those that were tried where this was written."""


class Clock:
    """Says how long a turn took, and remembers how much of it was the processor's: what else runs does not count."""

    def __init__(self) -> None:
        self.of_processor: list[float] = []

    def start(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.of_processor.append(time.process_time() - self._began[1])
        print(time.perf_counter() - self._began[0], flush=True)


def trl_worker(folder: Path, task: dict[str, Any], name: str) -> None:
    """Trains on every line of standard input, as TRL's documentation does it."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(task["threads"])
    own = dict(SETTINGS[name])
    loading = {"dtype": own.pop("dtype", "auto"), "attn_implementation": own.pop("attention", None)}
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    arguments = {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": task["batch_size"],
        "num_train_epochs": task["epochs"],
        "learning_rate": task["learning_rate"],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        **own,
    }
    lora = {"r": task["rank"], "lora_alpha": 2 * task["rank"], "lora_dropout": 0.0, "target_modules": "all-linear"}
    clock = Clock()
    print("ready", flush=True)
    for _ in sys.stdin:
        model = AutoModelForCausalLM.from_pretrained(task["model"], **loading)
        clock.start()
        rows = [{"prompt": prompt, "completion": answer} for prompt, answer in task["train"]]
        trainer = SFTTrainer(
            model,
            SFTConfig(**arguments),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )
        trainer.train()
        clock.stop()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    trainer.model.save_pretrained(str(folder / name))
    finished(folder, name, losses, clock)


def raglift_worker(folder: Path, task: dict[str, Any], name: str) -> None:
    """Trains on every line of standard input, by the loop and the strategy that a run has by default."""
    import torch

    from raglift import plugins
    from raglift.config_schema import RuntimeConfig
    from raglift.job import Job
    from raglift.models.device import resolve
    from raglift.models.llm import load_causal_lm, load_tokenizer
    from raglift.models.padding_free import enable
    from raglift.models.quick_norm import quicken_norms
    from raglift.progress import Progress
    from raglift.training.examples import Example, ExampleBatches
    from raglift.training.loop import Task, fit
    from raglift.training.schedule import Settings

    runtime = resolve(RuntimeConfig.model_validate({"dtype": task["dtype"], "threads": task["threads"]}), folder)
    tokenizer = load_tokenizer(Path(task["model"]))
    objective = plugins.load("objective", "answer_only")()
    losses: list[float] = []

    def watched(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss = compute(model, batch)
        losses.append(float(loss.detach()))
        return loss

    clock = Clock()
    print("ready", flush=True)
    for turn, _ in enumerate(sys.stdin):
        model = load_causal_lm(Path(task["model"]), runtime)
        quicken_norms(model)
        compute = objective.build(model)
        losses.clear()
        clock.start()
        rows = [Example(prompt, answer) for prompt, answer in task["train"]]
        batches = ExampleBatches(rows, tokenizer, runtime.device, task["batch_size"], turn, end_to_end=enable(model))
        settings = Settings(task["epochs"] * len(batches), task["learning_rate"], warmup=0.0, evaluations=1)
        rising = count()
        trained = Task("llm", batches, watched, partial(rising_score, rising), objective.weight)
        lora = plugins.load("strategy", "lora")(rank=task["rank"], alpha=2 * task["rank"])
        fitted = fit(model, trained, [lora], settings, runtime, Job(folder / f"turn-{turn}", 0, Progress(quiet=True)))
        clock.stop()
    lora.save(fitted.model, folder / name)
    finished(folder, name, losses, clock)


def rising_score(scores: Iterator[int], model: Any) -> float:
    """Whatever the model, better than before, so that the last state is kept."""
    return float(next(scores))


def finished(folder: Path, name: str, losses: list[float], clock: Clock) -> None:
    """Write what the last turn's training was like."""
    found = {
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "processor_seconds": [round(value, 2) for value in clock.of_processor],
    }
    (folder / f"{name}.json").write_text(json.dumps(found), "utf-8")


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The task of all: clozes about passages, each passage with two others of the corpus."""
    from raglift import plugins
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.job import Job
    from raglift.models.chat import render_chat
    from raglift.models.find import find_model
    from raglift.models.llm import load_tokenizer
    from raglift.progress import Progress
    from raglift.synthesis.cloze import clozes

    config = config_from_dict({"data": {"documents": arguments.documents}})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    corpus = corpus_stage.Corpus(folder)
    prompt, path = plugins.load("prompt", "grounded"), find_model(MODEL).path
    tokenizer, texts = load_tokenizer(path), [chunk.text for chunk in corpus.chunks]
    places = {chunk.id: place for place, chunk in enumerate(corpus.chunks)}
    rows = []
    for pair in clozes(corpus, arguments.examples + arguments.held_out, 0):
        place = places[pair.evidence[0].chunk_id]
        passages = [texts[(place + step) % len(texts)] for step in (1, 0, 2)]
        rows.append((render_chat(tokenizer, prompt.messages(pair.question, passages)), pair.answers[0]))
    return {
        "train": rows[: arguments.examples],
        "held_out": rows[arguments.examples :],
        "model": str(path),
        **{
            name: getattr(arguments, name)
            for name in ("epochs", "batch_size", "learning_rate", "rank", "threads", "dtype")
        },
    }


def held_out_losses(folder: Path, task: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Mean loss a learned token of the examples that none has seen, of the base and with each adapter."""
    import torch
    from peft import PeftModel

    from raglift import plugins
    from raglift.models.device import Runtime
    from raglift.models.llm import load_causal_lm, load_tokenizer
    from raglift.training.examples import Example, ExampleBatches

    runtime = Runtime(torch.device("cpu"), torch.float32, task["threads"])
    torch.set_num_threads(task["threads"])
    rows = [Example(prompt, answer) for prompt, answer in task["held_out"]]
    batches = ExampleBatches(rows, load_tokenizer(Path(task["model"])), runtime.device, 4, 0)
    objective = plugins.load("objective", "answer_only")()
    found = {}
    for name in ["base", *names]:
        model: Any = load_causal_lm(Path(task["model"]), runtime)
        model = model if name == "base" else PeftModel.from_pretrained(model, str(folder / name)).eval()
        total = count = 0.0
        with torch.no_grad():
            for index in range(len(batches)):
                batch = batches.batch(0, index)
                total += float(objective.build(model)(model, batch)) * objective.weight(batch)
                count += objective.weight(batch)
        found[name] = round(total / count, 4)
    return found


def summary(task: dict[str, Any], seconds: dict[str, list[float]], folder: Path) -> dict[str, Any]:
    """What is printed last."""
    from raglift.models.device import probe_dtype
    from raglift.models.llm import load_tokenizer
    from raglift.training.examples import Example, encode

    tokenizer = load_tokenizer(Path(task["model"]))
    encoded = [encode(Example(prompt, answer), tokenizer)[1] for prompt, answer in task["train"]]
    tokens = task["epochs"] * sum(len(labels) for labels in encoded)
    learned = task["epochs"] * sum(label >= 0 for labels in encoded for label in labels)
    probe, operations = probe_dtype(), 4 * block_weights(Path(task["model"])) * tokens
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    training = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in seconds}
    return {
        "bench": "llm_tuning",
        "examples": len(encoded),
        "tokens": tokens,
        "learned_tokens": learned,
        **{key: task[key] for key in ("epochs", "batch_size", "learning_rate", "rank", "threads", "dtype")},
        "cores": os.cpu_count(),
        "gflops": probe.gflops,
        "seconds": {name: round(value, 2) for name, value in medians.items()},
        "tokens_a_second": {name: round(tokens / value, 1) for name, value in medians.items()},
        "learned_tokens_a_second": {name: round(learned / value, 2) for name, value in medians.items()},
        "ratio": turn_by_turn(seconds),
        "ratio_of_processor_seconds": turn_by_turn({name: one["processor_seconds"] for name, one in training.items()}),
        "share_of_matrix_rate": {
            name: round(operations / value / probe.gflops[probe.dtype] / 1e9, 3) for name, value in medians.items()
        },
        "training": training,
        "held_out_loss": held_out_losses(folder, task, list(seconds)),
    }


def turn_by_turn(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """How many times as long as raglift each other one took."""
    found = {}
    for name, times in seconds.items():
        ratios = [other / own for other, own in zip(times, seconds["raglift"], strict=True)]
        if name != "raglift":
            shown = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
            found[name] = {key: round(value, 2) for key, value in shown.items()}
    return found


def block_weights(model: Path) -> int:
    """Entries of the matrices in the model's blocks."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from raglift.training.parameters import block_list

    with torch.device("meta"):
        found = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    return sum(weight.numel() for weight in block_list(found)[1].parameters() if weight.dim() == 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="the environment that TRL is in")
    parser.add_argument("--make-venv", action="store_true", help="make it, and train nothing")
    parser.add_argument("--search", action="store_true", help="time settings, all unless named, one after the other")
    parser.add_argument("--against", nargs="+", choices=tuple(SETTINGS), help="TRL's settings")
    parser.add_argument("--documents", default="python-reference")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of raglift")
    parser.add_argument("--repeats", type=int, help="turns; 3 unless named, 1 in a search")
    parser.add_argument("--worker", choices=("raglift", *SETTINGS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task = json.loads((arguments.folder / "task.json").read_text("utf-8"))
        work = raglift_worker if arguments.worker == "raglift" else trl_worker
        work(arguments.folder, task, arguments.worker)
        return
    if arguments.venv is None:
        parser.error("--venv names the environment that TRL is in, or is to be made in")
    if arguments.make_venv:
        make_venv(arguments.venv, [TRL, "peft"], SHARED)
        return
    repeats = arguments.repeats or (1 if arguments.search else 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = prepare(arguments, folder)
        (folder / "task.json").write_text(json.dumps(task), "utf-8")
        against = arguments.against or (list(SETTINGS) if arguments.search else ["defaults", BEST])
        names = ["raglift", *against]
        seconds: dict[str, list[float]] = {}
        # A search is one after the other: all at once would need the memory of all.
        for group in [[each] for each in names] if arguments.search else [names]:
            seconds |= take_turns(__file__, folder, group, arguments.venv, arguments.threads, repeats)
        print(json.dumps(summary(task, seconds, folder)))


if __name__ == "__main__":
    main()
