"""The language-model stage: examples in, an adapter or a tuned model out, or the base if nothing beat it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raglift import plugins
from raglift.abstention import abstains
from raglift.artifacts import write_atomic
from raglift.config import LLMConfig
from raglift.job import Job
from raglift.models import padding_free
from raglift.models.device import Runtime
from raglift.models.find import FoundModel
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import context_window, load_causal_lm, load_tokenizer
from raglift.models.quick_norm import quicken_norms
from raglift.progress import Progress
from raglift.training import recipe
from raglift.training.examples import Example, ExampleBatches
from raglift.training.last_block import narrow_last_block
from raglift.training.loop import Task, fit
from raglift.training.outcome import MODEL, objective_of, strategies_of, write_outcome
from raglift.training.preflight import OF_A_RUN, Fixes, check, check_tokenizer, preview
from raglift.training.rounded_output import round_output_once
from raglift.training.strategy import Strategy, shortened_by
from raglift.training.token_runs import Run

VERSION = 6
_SHOWN = 160
"""Characters of each end of an example's text that are printed; the file holds them all."""
_ABSTAINING = 0.25


class DevScore:
    """How well the development questions are met: token F1 on those that the documents answer (abstaining earns 0),
    plus a quarter of Youden's J of abstaining (its rate where the documents do not say less its rate where they do).

    Counting a right abstention like a right answer, as SQuAD 2.0 does, prefers a model that always abstains to a small
    one that answers a third of the questions; J gives nothing to either constant policy.

    References:
        Rajpurkar et al. 2018, "Know What You Don't Know"; Youden 1950, "Index for rating diagnostic tests".
    """

    def __init__(
        self,
        examples: Sequence[dict[str, Any]],
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        display: Progress,
        read: Callable[[str], str],
    ) -> None:
        self._examples = examples
        self._tokenizer = tokenizer
        self._max_new_tokens = max_new_tokens
        self._display = display
        self._read = read
        self._metric = plugins.load("response metric", "token_f1")

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        generator = Generator(model, self._tokenizer)  # type: ignore[arg-type]
        prompts = [example["prompt"] for example in self._examples]
        with self._display.stage("scoring the development split", len(prompts), "answers") as bar:
            written = generator.generate(prompts, Sampling(self._max_new_tokens), advance=bar.advance)
        answers = [self._read(text) for text in written]
        met = list(zip(self._examples, answers, strict=True))
        answerable = [(example, answer) for example, answer in met if example["answerable"]]
        score = _mean([self._f1(example, answer) for example, answer in answerable])
        rates = [_mean([float(abstains(a)) for e, a in met if e["answerable"] == known]) for known in (False, True)]
        both = 0 < len(answerable) < len(met)
        return score + (_ABSTAINING * (rates[0] - rates[1]) if both else 0.0)

    def _f1(self, example: dict[str, Any], answer: str) -> float:
        if abstains(answer):
            return 0.0
        return max(float(self._metric.compare(answer, reference)) for reference in example["answers"])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def build(
    settings: LLMConfig,
    rows: Sequence[Example],
    dev: Sequence[dict[str, Any]],
    base: FoundModel,
    runtime: Runtime,
    job: Job,
) -> None:
    """Tune the language model on grounded answers; see `tune` for what is written.

    Args:
        rows: Training examples.
        dev: Development prompts with their answers, which choose the checkpoint.
        base: The model to start from.

    Raises:
        UserError: An example cannot be learned from.
    """
    if not settings.strategies or not rows or not dev:
        job.display.warn("Nothing to tune the language model with or to choose by: the base stays as it is.")
        write_outcome(job.out, "llm", base, settings.strategies, None, None)
        return
    tokenizer = load_tokenizer(base.path)
    read = plugins.load("prompt", settings.prompt).read
    score = DevScore(dev, tokenizer, settings.new_tokens, job.display, read)
    tune(settings, rows, score, tokenizer, base, runtime, job)


def tune(
    settings: LLMConfig,
    rows: Sequence[Example],
    score: Callable[[nn.Module], float],
    tokenizer: PreTrainedTokenizerBase,
    base: FoundModel,
    runtime: Runtime,
    job: Job,
    fixes: Fixes = OF_A_RUN,
) -> None:
    """Train and write `model/` (what the strategy saves: an adapter, or whole weights), model.json, training.json, and
    preview.txt with a few examples as the model learns them.

    Args:
        score: Of a model on what is held out; higher is better.
        fixes: What to do where the training cannot begin.

    Raises:
        UserError: An example cannot be learned from.
    """
    strategies = strategies_of(settings.strategies)
    batches = _checked(rows, tokenizer, base, runtime, settings, job, fixes.too_long)
    model, end = ready_to_train(base, strategies, batches, runtime, job)
    loop = recipe.loop_settings(settings, "llm", strategies, len(rows), len(batches))
    objective = objective_of(settings.objective)
    task = Task("llm", batches, objective.build(model), score, objective.weight, memory_fix=fixes.too_large)
    fitted = fit(model, task, strategies, loop, runtime, job)
    end()
    if fitted.chosen != "base" and not any(s.save(fitted.model, job.out / MODEL) for s in strategies):
        tuned = fitted.model
        for strategy in strategies:
            tuned = strategy.finish(tuned)
        tuned.save_pretrained(str(job.out / MODEL), safe_serialization=True)  # type: ignore[operator]
        tokenizer.save_pretrained(str(job.out / MODEL))
    write_outcome(job.out, "llm", base, settings.strategies, fitted, loop)


def ready_to_train(
    base: FoundModel, strategies: Sequence[Strategy], batches: ExampleBatches, runtime: Runtime, job: Job
) -> tuple[PreTrainedModel, Callable[[], None]]:
    """The base model as a training begins with it, and what makes it plain again.

    The batches' examples lie end to end where the model can take them so, and what stays frozen is computed once.
    """
    # Where no strategy says what may change, everything does.
    owners = [strategy for strategy in strategies if strategy.axis == "parameters"]
    full = not owners or any(strategy.full_precision for strategy in strategies)
    model = load_causal_lm(base.path, replace(runtime, dtype=torch.float32) if full else runtime)
    quicken_norms(model)
    batches.end_to_end = padding_free.enable(model)
    if not batches.end_to_end:
        job.display.say("  examples are padded: this model cannot keep several apart in one row")
    short = shortened_by(strategies, model, "llm", runtime)
    if short is not None and short.fill is not None:
        short.fill([Run.of(ids) for ids, _ in batches.rows], job)
    ends = [narrow_last_block(model), round_output_once(model)]

    def end() -> None:
        for undo in ends:
            undo()
        if short is not None:
            short.whole(model)

    return model, end


def _checked(
    rows: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    base: FoundModel,
    runtime: Runtime,
    settings: LLMConfig,
    job: Job,
    fix: str,
) -> ExampleBatches:
    """The batches, after each example was found fit to learn from and a few were shown."""
    check_tokenizer(tokenizer, base.name)
    batches = ExampleBatches(rows, tokenizer, runtime.device, settings.batch_size, job.seed)
    check(rows, batches.rows, tokenizer, context_window(base.path), fix)
    job.display.say(preview(batches.rows, tokenizer, _SHOWN))
    write_atomic(job.out / "preview.txt", (preview(batches.rows, tokenizer) + "\n").encode("utf-8"))
    return batches
