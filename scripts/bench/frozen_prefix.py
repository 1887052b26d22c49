"""What looking the frozen blocks up saves: steps of the same training of the top layers, in several ways by turns.

    padded       the language model's examples are padded, as most trainers have them
    whole        they lie end to end, and every block is computed
    last_block   the language model's highest block is computed where a token is learned alone, and the weight of its
                 frozen output layer is rounded to bfloat16 once
    looked_up    and the frozen blocks are looked up: what a run does

SmolLM2 on questions with passages of Python's language reference in the prompt, and MiniLM on sentences and their
passages, as a run would train them. All ways train in one process on the same batches, from the same weights in the
first turn, so that the losses of that turn show that they train the same (but for MiniLM's dropout, which looked-up
blocks have none of). That turn is not timed: it asks the system for memory, which the later ones have. A step is timed
from one batch to the next, so the optimizer is in it, and scoring and checkpoints are not; by the clock, and in seconds
of the processor, which other work on the machine disturbs less. `ratio` compares each step with the same batch's.
`fill_seconds` is what computing the states of all training texts takes; `two_epochs` is the ratio of the time of two
epochs with the filling in it.

The last line printed is JSON.

    python scripts/bench/frozen_prefix.py --layers 3 --threads 2
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from raglift import plugins
from raglift.config import config_from_dict
from raglift.corpus import stage as corpus_stage
from raglift.job import Job
from raglift.models import padding_free
from raglift.models.device import Runtime, resolve
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.quick_norm import quicken_norms
from raglift.progress import Progress
from raglift.records import Target
from raglift.strategies.top_layers import TopLayers
from raglift.synthesis.inverse_cloze import inverse_clozes
from raglift.training.embedding_stage import ready_to_train, runs_of_texts
from raglift.training.examples import Example, ExampleBatches
from raglift.training.last_block import narrow_last_block
from raglift.training.loop import Task, fit
from raglift.training.pairs import Pair, PairBatches
from raglift.training.rounded_output import round_output_once
from raglift.training.schedule import Settings
from raglift.training.study import Batches
from raglift.training.token_runs import Run

QUIET = Progress(quiet=True)
MODELS: dict[Target, str] = {"llm": "SmolLM2-135M-Instruct", "embedding": "all-MiniLM-L6-v2"}
RATES: dict[Target, float] = {"llm": 5e-5, "embedding": 1e-4}
ANSWER = 8
"""Words of an answer."""
WAYS: dict[Target, tuple[str, ...]] = {
    "llm": ("padded", "whole", "last_block", "looked_up"),
    "embedding": ("whole", "looked_up"),
}


class Clocked:
    """`Batches` that writes down when each was asked for, by the clock on the wall and by the processor's."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.asked: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, epoch: int, index: int) -> Any:
        found = self._batches.batch(epoch, index)
        self.asked.append((time.perf_counter(), time.process_time()))
        return found


@dataclass
class Way:
    """A model that is trained, and the seconds of its steps by both clocks, turn by turn."""

    model: nn.Module
    task: Task
    turns: list[list[tuple[float, float]]]
    losses: list[float]


def pairs_of(config: Any, count: int, folder: Path) -> list[Pair]:
    """Sentences of the demo's documents, and the passages around them."""
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, QUIET))
    return inverse_clozes(corpus_stage.Corpus(folder), count, config.seed)


def examples_of(pairs: Sequence[Pair], tokenizer: Any, passages: int) -> list[Example]:
    """The right passage among its neighbours in the prompt; the answer is how it begins."""
    prompt = plugins.load("prompt", "grounded")
    found = []
    for row, pair in enumerate(pairs):
        shown = [pairs[(row + place) % len(pairs)].passage for place in range(passages)]
        messages = prompt.messages(f"Which text goes with this: {pair.query}", shown)
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        found.append(Example(str(text), " ".join(pair.passage.split()[:ANSWER])))
    return found


def ways(target: Target, arguments: argparse.Namespace, pairs: Sequence[Pair], runtime: Runtime, work: Path) -> Any:
    """All ways, the median of the seconds that filling takes, and what is filled in."""
    base, strategy = find_model(MODELS[target]), TopLayers(layers=arguments.layers)
    found: dict[str, Way] = {}
    fills = []
    for name in WAYS[target]:
        model: nn.Module
        batches: Batches
        if target == "llm":
            tokenizer = load_tokenizer(base.path)
            model = load_causal_lm(base.path, replace(runtime, dtype=torch.float32))
            examples = examples_of(pairs, tokenizer, arguments.passages)
            batches = ExampleBatches(examples, tokenizer, runtime.device, arguments.llm_batch, 0)
            if name != "padded":
                quicken_norms(model)
                batches.end_to_end = padding_free.enable(model)
            runs = [Run.of(ids) for ids, _ in batches.rows]
        else:
            model = ready_to_train(base, runtime)
            batches = PairBatches(pairs, {}, model, arguments.embedding_batch, 0)
            runs = list(runs_of_texts(model, pairs))
        if name == "looked_up":
            short = strategy.shortened(model, target, runtime)
            assert short is not None
            assert short.fill is not None
            for _ in range(arguments.fills):
                start = time.perf_counter(), time.process_time()
                short.fill(runs, Job(work, 0, QUIET))
                fills.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        if target == "llm" and name in ("last_block", "looked_up"):
            assert isinstance(model, PreTrainedModel)
            narrow_last_block(model)
            round_output_once(model)
        objective = plugins.load("objective", "answer_only" if target == "llm" else "multiple_negatives")()
        loss: Callable[[nn.Module, Any], Tensor] = objective.build(model)
        found[name] = Way(model, Task(target, Clocked(batches), loss, lambda _: 0.0, objective.weight), [], [])
    tokens = sum(map(len, runs))
    fill = [round(statistics.median(times), 2) for times in zip(*fills, strict=True)]
    return found, fill, {"texts": len(set(runs)), "tokens": tokens, "states_mb": _size(runs, model)}


def _size(runs: Sequence[Run], model: nn.Module) -> float:
    width = next(module.embedding_dim for module in model.modules() if isinstance(module, nn.Embedding))
    return round(sum(map(len, set(runs))) * width * 2 / 1e6, 1)


def turn(way: Way, steps: int, strategy: TopLayers, runtime: Runtime, work: Path) -> None:
    """A training of a few steps."""
    assert isinstance(way.task.batches, Clocked)
    way.task.batches.asked.clear()
    settings = Settings(steps, RATES[way.task.target], evaluations=1)
    fitted = fit(way.model, way.task, [strategy], settings, runtime, Job(work, 0, QUIET))
    shutil.rmtree(work, ignore_errors=True)
    asked = way.task.batches.asked
    way.turns.append([(after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(asked)])
    way.losses.append(fitted.history[-1]["loss"])


def measured(target: Target, arguments: argparse.Namespace, pairs: Sequence[Pair], runtime: Runtime) -> dict[str, Any]:
    """Medians of one target."""
    with tempfile.TemporaryDirectory() as name:
        work, strategy = Path(name), TopLayers(layers=arguments.layers)
        found, fill, size = ways(target, arguments, pairs, runtime, work)
        for number in range(arguments.rounds):
            for way in WAYS[target] if number % 2 == 0 else reversed(WAYS[target]):
                turn(found[way], arguments.steps, strategy, runtime, work / way)
            last = {
                way: [round(sum(clock), 2) for clock in zip(*found[way].turns[-1], strict=True)] for way in WAYS[target]
            }
            print(target, f"round {number + 1}", last, f"load {os.getloadavg()[0]:.1f}", flush=True)
    steps = len(found["looked_up"].task.batches)
    result: dict[str, Any] = {**size, "steps_an_epoch": steps, "fill_seconds": {"wall": fill[0], "cpu": fill[1]}}
    for clock, name in enumerate(("wall", "cpu")):
        seconds = {way: [step[clock] for turn in found[way].turns[1:] for step in turn] for way in WAYS[target]}
        step = {way: statistics.median(times) for way, times in seconds.items()}
        two = 2 * steps * step["whole"] / (fill[clock] + 2 * steps * step["looked_up"])
        result[name] = {
            "step_seconds": {way: round(value, 4) for way, value in step.items()},
            "ratio": {way: _ratio(seconds[way], seconds["looked_up"]) for way in WAYS[target][:-1]},
            "two_epochs": round(two, 2),
        }
    return result | {"losses": {way: round(found[way].losses[0], 5) for way in WAYS[target]}}


def _ratio(slow: Sequence[float], quick: Sequence[float]) -> dict[str, float]:
    """Step by step, on the same batch."""
    ratios = sorted(left / right for left, right in zip(slow, quick, strict=True))
    found = {
        "median": statistics.median(ratios),
        "tenth": ratios[len(ratios) // 10],
        "ninth": ratios[-1 - len(ratios) // 10],
    }
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["llm", "embedding"], choices=["llm", "embedding"])
    parser.add_argument("--documents", default="python-reference")
    parser.add_argument("--layers", type=int, default=3, help="blocks that learn, from the top")
    parser.add_argument("--examples", type=int, default=64, help="of the language model")
    parser.add_argument("--passages", type=int, default=3, help="in a prompt")
    parser.add_argument("--pairs", type=int, default=320, help="of the embedding model")
    parser.add_argument("--llm-batch", type=int, default=4)
    parser.add_argument("--embedding-batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns, with the one that is not timed")
    parser.add_argument("--fills", type=int, default=1, help="times that the states are computed, to take the median")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        given = {"dtype": arguments.dtype, "threads": arguments.threads, "trackers": [], "checkpoint_seconds": 1e6}
        config = config_from_dict({"data": {"documents": arguments.documents}, "runtime": given})
        runtime = resolve(config.runtime, Path(name))
        pairs = pairs_of(config, max(arguments.examples, arguments.pairs), Path(name))
        counts = {"llm": arguments.examples, "embedding": arguments.pairs}
        found = {target: measured(target, arguments, pairs[: counts[target]], runtime) for target in arguments.targets}
    result = {
        "bench": "frozen_prefix",
        **{key: getattr(arguments, key) for key in ("layers", "threads", "steps", "rounds", "llm_batch")},
        "embedding_batch": arguments.embedding_batch,
        "dtype": str(runtime.dtype).removeprefix("torch."),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
