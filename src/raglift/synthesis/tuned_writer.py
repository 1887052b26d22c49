"""The writer stage: the local writer, tuned on people's examples in the prompts in which it will write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from raglift.artifacts import write_json
from raglift.config import LLMConfig, SynthesisConfig
from raglift.corpus.near_duplicates import components
from raglift.corpus.split import split_groups
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.find import FoundModel
from raglift.models.llm import load_tokenizer
from raglift.synthesis.asking import Asking, asking_of
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.kinds._base import QuestionKind, Shot
from raglift.synthesis.shots import fits, is_shown, with_examples
from raglift.synthesis.styles._base import PromptStyle
from raglift.synthesis.writer import rendered
from raglift.training.card import write_card
from raglift.training.examples import Example
from raglift.training.likelihood import MeanLogProbability
from raglift.training.llm_stage import tune
from raglift.training.preflight import Fixes

VERSION = 3
_HELD_OUT = 0.2
_SCORE = "mean log-probability of the questions and answers held out"
_FIXES = Fixes(
    "Give shorter examples, or choose a synthesis.model with a longer context.",
    "Give shorter examples; choose a smaller synthesis.model; set runtime.dtype: bfloat16 or synthesis.tune_writer: "
    "false; or close other programs. runtime.forecast: false goes without this check.",
)


def tuning(settings: SynthesisConfig) -> LLMConfig:
    """How the writer is tuned: LoRA, with the learning rate and the length that suit the number of examples."""
    return LLMConfig(model=settings.model, evaluations=4)


@dataclass(frozen=True, slots=True)
class TuningSet:
    """What a writer learns, and what chooses its checkpoint; no document is in both."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    shown: int
    """Examples that stand in the prompts themselves and are not learned from."""


def tuning_set(
    asking: Asking,
    examples: Sequence[HumanExample],
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
) -> TuningSet:
    """The examples as prompts and continuations, a fifth of them, by whole documents, held out.

    Args:
        asking: What the writer will be asked for, with the worked examples that it will be shown.
        tokenizer: The writer's, for its chat template.
    """
    used = [item for item in examples if not is_shown(item, asking.kinds)]
    homes = _homes(used, corpus)
    sizes = {home: homes.count(home) for home in homes}
    part = split_groups(sizes, {"train": 1 - _HELD_OUT, "dev": _HELD_OUT}, seed)
    rows: dict[str, list[Example]] = {"train": [], "dev": []}
    for item, home in zip(used, homes, strict=True):
        for _, kind in sorted(asking.kinds.items()):
            if fits(kind, item):
                rows[part[home]] += written_by(kind, item, asking.style, tokenizer)
    return TuningSet(tuple(rows["train"]), tuple(rows["dev"]), len(examples) - len(used))


def written_by(
    kind: QuestionKind, item: HumanExample, style: PromptStyle, tokenizer: PreTrainedTokenizerBase
) -> list[Example]:
    """What a perfect writer would write about an example's text: the question, and its answer where it stands there.

    What is written ends with the line, since that is where the writer is stopped.
    """
    reply = style.reply(kind, Shot(item.text, item.question, item.answer))
    tasks = [(style.prefix(kind), style.prompt(kind, item.text), reply)]
    if kind.answer_words and item.answer:
        tasks.append((style.answer_prefix(kind), style.answer_prompt(kind, item.text, item.question), item.answer))
    return [_row(*rendered(style, tokenizer, prefix, [prompt]), reply) for prefix, prompt, reply in tasks]


def _row(prefix: str, prompts: Sequence[str], reply: str) -> Example:
    """The one prompt and what follows it, parted by white space, which a chat template brings itself."""
    prompt = prefix + prompts[0]
    return Example(prompt, f"{reply}\n" if prompt[-1].isspace() else f" {reply}\n")


def _homes(examples: Sequence[HumanExample], corpus: Corpus) -> list[str]:
    """For each example the name of what must not be parted: its documents, those that repeat them, and all that other
    examples join to them; where none is known, its text."""
    group_of = {document.id: document.group for document in corpus.documents}
    nodes = [
        sorted({f"group {group_of[name]}" for name in item.documents}) or [f"text {item.text}"] for item in examples
    ]
    index = {name: place for place, name in enumerate(sorted({name for names in nodes for name in names}))}
    joined = components(len(index), [(index[names[0]], index[name]) for names in nodes for name in names[1:]])
    return [str(joined[index[names[0]]]) for names in nodes]


def build(
    settings: SynthesisConfig, examples: HumanExamples, corpus: Corpus, base: FoundModel, runtime: Runtime, job: Job
) -> None:
    """Tune the writer and write what `llm_stage.tune` writes, its model card, and funnel.json.

    The score that chooses the checkpoint, and the base where none is better, is the mean log-probability of the
    held-out questions and answers.

    Raises:
        UserError: The examples cannot be learned from, or all are from one document.
    """
    asking, _ = with_examples(asking_of(settings), examples, job.seed)
    tokenizer = load_tokenizer(base.path)
    rows = tuning_set(asking, examples.items, corpus, tokenizer, job.seed)
    if not rows.train or not rows.held_out:
        raise UserError(
            "The examples do not suffice to tune the writer.",
            f"{len(rows.train)} texts would be learned and {len(rows.held_out)} held out.",
            "Give examples from several documents that fit the kinds of synthesis.kinds, or set synthesis.tune_writer "
            "to false.",
        )
    counts = [
        ("human examples that are worked examples and not learned from", rows.shown),
        ("questions and answers to learn from", len(rows.train)),
        ("questions and answers held out", len(rows.held_out)),
    ]
    config = tuning(settings)
    score = MeanLogProbability(rows.held_out, tokenizer, runtime.device, config.batch_size, job.display)
    tune(config, rows.train, score, tokenizer, base, runtime, job, _FIXES)
    data = {"facts": {"documents": len(corpus.documents), **dict(counts)}, "questions": []}
    write_card(job.out, "llm", base, config, data, job.seed, "writer", _SCORE)
    funnel = [{"stage": "writer", "reason": reason, "count": count} for reason, count in counts]
    write_json(job.out / "funnel.json", funnel)
