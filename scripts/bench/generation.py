"""How fast questions are written: raglift's writer against LlamaIndex's HuggingFaceLLM and plain batched `generate`.

The same model in the same precision, the same prompts (the factoid kind's worked examples before sentences of Python's
language reference), the same longest question and the same stop at a line end, all greedy; each in a process of its
own, taking turns. HuggingFaceLLM is asked one prompt at a time (a sample of them, spread over the lengths), plain
`generate` gets batches sorted by length, as large as raglift's. Both get the line ends as `eos_token_id`, which stops
sooner than LlamaIndex's `stopping_ids`.

The machine's limits are measured between the turns: bytes a second of a large sum, and bfloat16 (or float32) operations
a second of a large matrix product. raglift's share of the first is the weights' bytes, once a decode step, over what
the memory could have moved in the seconds of those steps; of the second, two operations a weight and token (the output
layer's only where a token is chosen; attention not counted) over what could have been multiplied in the time of all.

The last line printed is JSON.

    python scripts/bench/generation.py --prompts 128 --repeats 5
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
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SIDES = ("llama_index", "plain_generate", "raglift")
KIND = "factoid"
LONGEST = 32
Write = Callable[[], list[str]]


def llama_index_writer(job: dict[str, Any], model: Any, tokenizer: Any) -> Write:
    """One prompt a call."""
    from llama_index.llms.huggingface import HuggingFaceLLM

    llm = HuggingFaceLLM(
        model=model,
        tokenizer=tokenizer,
        context_window=2048,
        max_new_tokens=LONGEST,
        generate_kwargs={
            "do_sample": False,
            "eos_token_id": stops(model, tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
    asked = [job["prefix"] + job["prompts"][place] for place in job["sample"]]
    return lambda: [llm.complete(prompt, formatted=True).text.split("\n")[0] for prompt in asked]


def plain_writer(job: dict[str, Any], model: Any, tokenizer: Any) -> Write:
    """`generate` over padded batches, longest prompts first."""
    import torch

    tokenizer.padding_side = "left"
    whole = [job["prefix"] + prompt for prompt in job["prompts"]]
    order = sorted(range(len(whole)), key=lambda row: -len(whole[row]))
    ends = stops(model, tokenizer)

    def write() -> list[str]:
        texts = [""] * len(whole)
        for start in range(0, len(order), job["batch_size"]):
            rows = order[start : start + job["batch_size"]]
            inputs = tokenizer([whole[row] for row in rows], return_tensors="pt", padding=True)
            with torch.inference_mode():
                output = model.generate(
                    **inputs,
                    max_new_tokens=LONGEST,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=tokenizer.pad_token_id,
                )
            found = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for row, text in zip(rows, found, strict=True):
                texts[row] = text.split("\n")[0]
        return texts

    return write


def raglift_writer(job: dict[str, Any], model: Any, tokenizer: Any) -> Write:
    """As raglift's synthesis does it."""
    from raglift.models.fused import quicken
    from raglift.models.generation import Generator, Sampling

    generator = Generator(quicken(model), tokenizer, job["batch_size"])
    return lambda: generator.generate(job["prompts"], Sampling(LONGEST, line=True), prefix=job["prefix"])


WRITERS = {"llama_index": llama_index_writer, "plain_generate": plain_writer, "raglift": raglift_writer}


def stops(model: Any, tokenizer: Any) -> list[int]:
    """The model's end token, and every token with a line end in it."""
    lines = [token_id for token, token_id in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token]
    return [model.generation_config.eos_token_id, *lines]


def load(job: dict[str, Any]) -> tuple[Any, Any]:
    """The model in the job's precision and its tokenizer."""
    import torch

    from raglift.models.device import Runtime
    from raglift.models.llm import load_causal_lm, load_tokenizer

    torch.set_num_threads(job["threads"])
    runtime = Runtime(torch.device("cpu"), getattr(torch, job["dtype"]), job["threads"])
    return load_causal_lm(Path(job["model"]), runtime), load_tokenizer(Path(job["model"]))


def worker(side: str, folder: Path) -> None:
    """Writes on every line of standard input; when that ends, leaves what it wrote and what it counted."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    if side == "raglift":
        from raglift.models.device import keep_freed_memory

        keep_freed_memory()
    model, tokenizer = load(job)
    weights = Weights(model)
    write = WRITERS[side](job, model, tokenizer)
    texts = write()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        texts = write()
        print(time.perf_counter() - start, flush=True)
    counts = count(write, weights) if side == "raglift" else {}
    (folder / f"{side}.json").write_text(json.dumps({"texts": texts, **counts}), "utf-8")


class Weights:
    """How many weights a token meets, and their bytes."""

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings().weight
        table = model.get_input_embeddings().weight
        self.head = head.numel()
        # A token looks one row of the input table up.
        self.body = sum(p.numel() for p in model.parameters() if p is not head and p is not table)
        self.bytes = (self.head + self.body) * head.element_size()


def count(write: Write, weights: Weights) -> dict[str, float]:
    """One more pass, counted: operations, decode steps, and the seconds of those."""
    from raglift.models.rows import SharedRows

    totals: Counter[str] = Counter()
    read, step = SharedRows.read, SharedRows.step

    def counted_read(self: Any, encoded: Sequence[Sequence[int]], room: int, last: int = 1) -> Any:
        totals["operations"] += 2 * sum(map(len, encoded)) * weights.body + 2 * len(encoded) * weights.head
        return read(self, encoded, room, last)

    def counted_step(self: Any, tokens: Sequence[int]) -> Any:
        start = time.perf_counter()
        found = step(self, tokens)
        totals["step_seconds"] += time.perf_counter() - start
        totals["operations"] += 2 * len(tokens) * (weights.body + weights.head)
        totals["step_bytes"] += weights.bytes
        return found

    SharedRows.read, SharedRows.step = counted_read, counted_step  # type: ignore[method-assign]
    start = time.perf_counter()
    write()
    totals["seconds"] = time.perf_counter() - start
    SharedRows.read, SharedRows.step = read, step  # type: ignore[method-assign]
    return dict(totals)


def limits(dtype: str, threads: int) -> tuple[float, float]:
    """Bytes a second that the memory gives, and operations a second of a matrix product, the best of a few tries."""
    import torch

    torch.set_num_threads(threads)
    large = torch.ones(1 << 26)
    square = torch.randn(2048, 2048).to(getattr(torch, dtype))
    reading = min(timed(large.sum) for _ in range(4))
    multiplying = min(timed(lambda: square @ square) for _ in range(4))
    return large.numel() * 4 / reading, 2 * 2048**3 / multiplying


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The job: prompts, precision, sizes; also in `folder`."""
    from raglift.config import config_from_dict
    from raglift.corpus import stage as corpus_stage
    from raglift.job import Job
    from raglift.models.device import probe_dtype
    from raglift.models.find import find_model
    from raglift.progress import Progress
    from raglift.synthesis.asking import asking_of
    from raglift.synthesis.human_examples import HumanExamples
    from raglift.synthesis.stage import planned

    synthesis = {"kinds": {KIND: 1.0}, "max_questions": arguments.prompts}
    config = config_from_dict({"data": {"documents": "python-reference"}, "synthesis": synthesis})
    reading, human = corpus_stage.read_sources(config)
    corpus_stage.build(config, reading, human, Job(folder, config.seed, Progress(quiet=True)))
    asking = asking_of(config.synthesis)
    kind, style = asking.kinds[KIND], asking.style
    assignments, _ = planned(config.synthesis, corpus_stage.Corpus(folder), config.seed, HumanExamples())
    prompts = [style.prompt(kind, item.text) for item in assignments]
    every = max(1, len(prompts) // arguments.sample)
    job = {
        "model": str(find_model(arguments.model).path),
        "dtype": probe_dtype().dtype if arguments.dtype == "auto" else arguments.dtype,
        "threads": arguments.threads,
        "batch_size": arguments.batch_size,
        "prefix": style.prefix(kind),
        "prompts": prompts,
        "sample": list(range(every // 2, len(prompts), every)),
    }
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    return job


def take_turns(folder: Path, job: dict[str, Any], repeats: int) -> tuple[dict[str, list[float]], list[Any]]:
    """Questions a minute, side by side and turn by turn, and the limits measured in every turn."""
    plain = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    command = [sys.executable, __file__, "--folder", str(folder), "--worker"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": plain}
    processes: dict[str, Any] = {side: subprocess.Popen([*command, side], **pipes) for side in SIDES}
    for process in processes.values():
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "a worker ended"
    asked = {side: len(job["sample"] if side == "llama_index" else job["prompts"]) for side in SIDES}
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    measured = []
    for _ in range(repeats):
        for side, process in processes.items():
            process.stdin.write("write\n")
            process.stdin.flush()
            rates[side].append(60 * asked[side] / float(process.stdout.readline()))
        measured.append(limits(job["dtype"], job["threads"]))
        print({side: round(found[-1], 1) for side, found in rates.items()}, flush=True)
    for process in processes.values():
        process.communicate()
    return rates, measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--sample", type=int, default=16, help="prompts that HuggingFaceLLM is asked")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of every side")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepare(arguments, folder)
        rates, measured = take_turns(folder, job, arguments.repeats)
        found = {side: json.loads((folder / f"{side}.json").read_text("utf-8")) for side in SIDES}
    print(json.dumps(result(job, rates, measured, found)))


def result(
    job: dict[str, Any], rates: dict[str, list[float]], measured: list[Any], found: dict[str, Any]
) -> dict[str, Any]:
    """The figures that the benchmark is for."""
    ours = found["raglift"]
    memory, product = (statistics.median(values) for values in zip(*measured, strict=True))
    sampled = [ours["texts"][place] for place in job["sample"]]
    pairs = {"llama_index": sampled, "plain_generate": ours["texts"]}
    return {
        "bench": "generation",
        "prompts": len(job["prompts"]),
        "cores": os.cpu_count(),
        **{name: job[name] for name in ("threads", "dtype", "batch_size")},
        "questions_per_minute": {side: round(statistics.median(values), 1) for side, values in rates.items()},
        "ratio": {side: spread(rates["raglift"], rates[side]) for side in pairs},
        "same_text": {
            side: round(statistics.fmean(a == b for a, b in zip(found[side]["texts"], texts, strict=True)), 3)
            for side, texts in pairs.items()
        },
        "memory_gb_per_second": round(memory / 1e9, 1),
        "product_gflops": round(product / 1e9),
        "share_of_memory_in_decode_steps": round(ours["step_bytes"] / ours["step_seconds"] / memory, 3),
        "share_of_product": round(ours["operations"] / ours["seconds"] / product, 3),
    }


def spread(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast, turn by turn."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)}


if __name__ == "__main__":
    main()
