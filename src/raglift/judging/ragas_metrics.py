"""ragas' metrics as metrics of the same records: over any LlamaIndex model, without telemetry, imported when used."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM

from raglift.errors import UserError
from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Item
from raglift.judging.questions._base import NO_CONTEXT
from raglift.records import Score

if TYPE_CHECKING:
    from types import ModuleType

_INSTALL = 'pip install "ragas==0.4.3" "langchain-community==0.4.1"'
_REASONS = {
    "response": NO_ANSWER,
    "reference": NO_REFERENCE,
    "retrieved_contexts": NO_CONTEXT,
    "reference_contexts": NO_REFERENCE,
}


def ragas_collections() -> ModuleType:
    """`ragas.metrics.collections`; its telemetry, on by default, is off from the import of raglift on.

    Raises:
        UserError: ragas or the one version of its companion that it can be imported with is not installed.
    """
    try:
        import ragas.metrics.collections as found
    except ImportError as error:
        raise UserError(
            "ragas cannot be imported.",
            f"{' '.join(str(error).split())[:200]} (ragas 0.4.3 needs langchain-community 0.4.1; 0.4.2 has lost a "
            "module that it imports.)",
            _INSTALL,
        ) from error
    return found


def ragas_metric(name: str, llm: LLM | None = None, embedding: BaseEmbedding | None = None, **settings: Any) -> Any:
    """A metric of ragas' collections over LlamaIndex objects.

    Args:
        name: The class, such as "Faithfulness", "AnswerRelevancy", "ContextRecall", or one that needs no model, such
            as "RougeScore", "BleuScore" and "NonLLMStringSimilarity".
        llm: For those that ask a model.
        embedding: For those that compare vectors.
        settings: Of the metric.

    Raises:
        UserError: ragas is not there, has no such metric, or the metric needs a model that is not given.

    Example:
        >>> score_with_ragas({"faithfulness": ragas_metric("Faithfulness", llm)}, items, "base")
    """
    found = ragas_collections()
    kind = getattr(found, name, None)
    if name not in found.__all__ or not inspect.isclass(kind):
        from raglift.plugins import nearest

        raise UserError(f"ragas has no metric called {name!r}.", nearest(name, list(found.__all__)))
    wants = inspect.signature(kind.__init__).parameters
    from raglift.judging import _ragas

    if "llm" in wants:
        settings["llm"] = _ragas.StructuredLLM(_given(name, "language model", llm))
    if "embeddings" in wants:
        settings["embeddings"] = _ragas.Embedding(_given(name, "embedding model", embedding))
    try:
        return kind(**settings)
    except ImportError as error:
        raise UserError(f"ragas' {name} needs a package that is not installed.", str(error)) from error


def _given(name: str, what: str, model: Any) -> Any:
    if model is None:
        raise UserError(f"ragas' {name} needs {'an' if what[0] == 'e' else 'a'} {what}.", "None was given.")
    return model


def score_with_ragas(metrics: Mapping[str, Any], items: Sequence[Item], arm: str) -> list[Score]:
    """One score an item and metric. What a metric could not tell (an error, a reply that is no JSON, a value that is
    no number) is None with the reason; ragas itself would raise, or leave it out of its mean.

    Args:
        metrics: Metric -> what `ragas_metric` made.
        items: What is judged; the first reference is the one that is compared with.
        arm: Whose answers they are.
    """

    async def everything() -> list[Score]:
        return [await _score(name, metric, item, arm) for name, metric in metrics.items() for item in items]

    found: list[Score] = asyncio_run(everything())
    return found


async def _score(name: str, metric: Any, item: Item, arm: str) -> Score:
    given = {
        "user_input": item.question,
        "response": item.answer if item.answer and item.answer.strip() else None,
        "retrieved_contexts": [text for text in item.contexts if text.strip()],
        "reference": next((text for text in item.references if text.strip()), None),
    }
    wants = [word for word in inspect.signature(metric.ascore).parameters if word != "self"]
    for word in wants:
        if word in _REASONS and not given.get(word):
            return Score(name, item.id, arm, None, _REASONS[word])
    try:
        value = (await metric.ascore(**{word: given[word] for word in wants if word in given})).value
    except Exception as error:  # whatever a model writes, ragas raises
        told = " ".join(str(error).split())[:120]
        return Score(name, item.id, arm, None, f"{type(error).__name__}: {told}")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return Score(name, item.id, arm, None, "not a finite number")
    return Score(name, item.id, arm, float(value))
