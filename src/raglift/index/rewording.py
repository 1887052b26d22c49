"""Query transforms at work: a language model writes, and what it writes becomes searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.llms import LLM
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.schema import QueryBundle

from raglift import plugins
from raglift.config_fields import PluginSpec
from raglift.errors import UserError
from raglift.index.dense import Search
from raglift.index.transforms._base import QueryTransform
from raglift.journal import Journal
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import LiftLLM
from raglift.progress import Progress
from raglift.records import content_id

KIND = "query transform"
Write = Callable[[QueryTransform, Sequence[str]], list[list[str]]]
"""(transform, questions that differ) -> the texts that were written for each."""
_BATCH = 32


def transform_of(spec: PluginSpec) -> QueryTransform:
    """The transform with its parameters."""
    found: QueryTransform = plugins.load(KIND, spec.name)(**spec.settings)
    return found


def transform_key(spec: PluginSpec) -> list[object]:
    """What decides its texts and searches: name, version and all parameters."""
    found = transform_of(spec)
    return [spec.name, found.version, found.model_dump(mode="json")]


def by_generator(generator: Generator, seed: int) -> Write:
    """Texts by a local model, many questions at once.

    A question gets the same ones whatever stands beside it in float32; in bfloat16, sums that are rounded in another
    order may tip a word.
    """

    def write(transform: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
        prompts = [generator.chat(transform.messages(question)) for question in questions]
        sampling = Sampling(transform.max_new_tokens, transform.temperature, seed=seed, line=transform.line)
        found = generator.generate_samples(prompts, sampling, transform.samples)
        return [[sample.text for sample in samples] for samples in found]

    return write


def by_llm(llm: LLM) -> Write:
    """Texts by any LlamaIndex language model, at its own temperature; a model of this package by `by_generator`."""
    if isinstance(llm, LiftLLM):
        return by_generator(llm.generator, 0)

    def write(transform: QueryTransform, questions: Sequence[str]) -> list[list[str]]:
        found = []
        for question in questions:
            chat = [ChatMessage(role=m["role"], content=m["content"]) for m in transform.messages(question)]
            found.append([llm.chat(chat).message.content or "" for _ in range(transform.samples)])
        return found

    return write


def reworded(transform: QueryTransform, questions: Sequence[str], write: Write) -> list[tuple[Search, ...]]:
    """What is searched for in place of each question."""
    unique = list(dict.fromkeys(questions))
    written = dict(zip(unique, write(transform, unique) if unique else [], strict=True))
    return [transform.searches(question, written[question]) for question in questions]


def journalled(
    transforms: Mapping[str, QueryTransform], questions: Sequence[str], write: Write, journal: Journal, show: Progress
) -> dict[str, list[tuple[Search, ...]]]:
    """`reworded` for every transform by its name. A batch that is in the journal is not written again.

    Args:
        journal: Of a stage whose key says which model writes, and with which seed.
    """
    unique = list(dict.fromkeys(questions))
    batches = [
        (transform, unique[start : start + _BATCH])
        for transform in transforms.values()
        for start in range(0, len(unique), _BATCH)
    ]
    units = [content_id(type(transform).__name__, transform.model_dump(), *batch) for transform, batch in batches]
    done = sum(len(batch) for unit, (_, batch) in zip(units, batches, strict=True) if unit in journal)
    kept: dict[tuple[QueryTransform, str], list[str]] = {}
    total = len(unique) * len(transforms)
    with show.stage("putting questions in other words", total, "questions", done=done) as bar:
        for unit, (transform, batch) in zip(units, batches, strict=True):
            if unit not in journal:
                journal.append(unit, write(transform, batch))
                bar.advance(len(batch))
            kept |= {(transform, question): texts for question, texts in zip(batch, journal[unit], strict=True)}
    return {
        name: reworded(transform, questions, lambda which, asked: [kept[which, question] for question in asked])
        for name, transform in transforms.items()
    }


class LiftQueryTransform(BaseQueryTransform):
    """A transform as LlamaIndex's own: for its `TransformQueryEngine`, in front of any retriever.

    LlamaIndex encodes all of a bundle's texts as queries; `LiftRetriever.with_transform` encodes hypothetical passages
    as passages, and knows several searches for one question.

    Args:
        transform: Its name, or an object with parameters of your own.
        llm: Writes.

    Raises:
        UserError: There is no such transform, or it needs several searches, which a `QueryBundle` cannot hold.

    Example:
        >>> engine = TransformQueryEngine(engine, LiftQueryTransform("hyde", llm))
    """

    def __init__(self, transform: QueryTransform | str, llm: LLM) -> None:
        self._transform = transform_of(PluginSpec(name=transform)) if isinstance(transform, str) else transform
        self._write = by_llm(llm)
        if len(self._transform.searches("one question", ["another one"])) > 1:
            raise UserError(
                f"{type(self._transform).__name__} searches several times for a question.",
                "LlamaIndex's query bundle holds one search.",
                "Use LiftRetriever.with_transform.",
            )

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        """There are none to change: a transform's wording is its own."""

    def _run(self, query_bundle: QueryBundle, metadata: dict[str, object]) -> QueryBundle:
        ((search,),) = reworded(self._transform, [query_bundle.query_str], self._write)
        return QueryBundle(search.words, custom_embedding_strs=[*search.texts("query"), *search.passages])
