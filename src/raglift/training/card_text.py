"""The text of a model card: front matter as the Hugging Face hub reads it, then what a person wants to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"
_PURPOSE = {
    "embedding": "An embedding model: the cosine of a question's vector and a passage's says how well they fit.",
    "llm": "A language model that answers a question from passages, or says that they do not tell.",
    "rerank": "A cross-encoder that scores how well a passage answers a question.",
    "writer": "A language model that writes questions about a passage, and their answers.",
}
_FORMS = {
    "whole": "This folder holds all of its weights.",
    "peft": "This folder holds a PEFT adapter alone, which goes onto the base.",
    "sparse": "This folder holds the weights that changed alone, which are written over the base's.",
    "bottleneck": "This folder holds a bottleneck adapter alone, which acts beside the base's weights.",
}
_PRIVATE = "It learned from the documents, and its weights may give away what they say: keep it as private as they are."
_LIMITS = {
    "embedding": (
        "It is meant for finding passages of the documents that it was tuned on, and of others like them.",
        "On other subjects and in other languages it may find less than the base; that was not measured here.",
    ),
    "llm": (
        "It is meant for answering from passages that a retriever found, with the prompt above, and shortly.",
        "It can be wrong, and can say what stands in no passage: show the passages beside its answers.",
        "As a general assistant it may be worse than the base; that was not measured here.",
    ),
    "rerank": (
        "It is meant for ordering passages that a retriever found in the documents that it was tuned on, and others "
        "like them.",
        "On other subjects and in other languages it may order them worse than they came; that was not measured here.",
    ),
    "writer": (
        "It is meant for writing training questions in raglift, which renders its prompts and filters what it writes.",
        "Many of the questions that it writes are of no use without those filters.",
    ),
}
_HUB = {
    # target -> library, pipeline tag, task of the figures
    "embedding": ("sentence-transformers", "sentence-similarity", "information-retrieval"),
    "llm": ("transformers", "text-generation", "question-answering"),
    "rerank": ("sentence-transformers", "text-ranking", "information-retrieval"),
}
_LIBRARY = {"peft": "peft", "bottleneck": "raglift"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one set of test questions, with the base's model and with the tuned one; None where nothing was
    scored."""

    set: str
    metric: str
    base: float | None
    tuned: float | None
    delta: float
    low: float
    high: float
    n: int
    decision: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came out of an evaluation: the run's verdict in a sentence, the figures, and the training's seconds."""

    verdict: str
    figures: tuple[Figure, ...]
    seconds: float


def render(
    facts: Mapping[str, Any],
    record: Mapping[str, Any],
    training: Mapping[str, Any],
    form: str,
    evaluated: Evaluated | None,
) -> str:
    """The card as Markdown.

    Args:
        facts: card.json.
        record: model.json.
        training: training.json.
        form: How the folder holds the model: "whole", or the name of an adapter format.
    """
    body = _environment().get_template("card.md.jinja")
    text = body.render(
        base=facts["base"],
        about={
            "purpose": _PURPOSE[facts["purpose"]],
            "form": _FORMS[form],
            "loading": list(_loading(facts, form)),
            "limits": list(_limits(facts, record)),
        },
        snippet=snippet(facts, form),
        parts=facts["parts"],
        training=facts["settings"] | training["settings"],
        seed=facts["seed"],
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        data=facts["data"],
        score=facts["score"],
        candidates=training["candidates"],
        chosen=training["chosen"],
        seconds=evaluated.seconds if evaluated else None,
        target=facts["target"],
        verdict=evaluated.verdict if evaluated else "",
        figures=evaluated.figures if evaluated else (),
    )
    return str(ModelCard(f"---\n{_front_matter(facts, form, evaluated).to_yaml()}\n---\n\n{text}"))


def snippet(facts: Mapping[str, Any], form: str) -> str:
    """Python that loads the folder and uses it once; `tuned`, and `base` where it is a folder, are to be filled in."""
    base = facts["base"]
    by_raglift = base["package"] is not None and form != "whole"
    text = _environment().get_template("loading.py.jinja")
    return text.render(
        form=form,
        target=facts["target"],
        base=f'find_model("{base["name"]}").path' if by_raglift else f'"{base["hub"] or "path/to/" + base["name"]}"',
        base_by_raglift=by_raglift,
        prompt=[json.dumps(line, ensure_ascii=False) for line in facts["prompt"]],
        new_tokens=facts["new_tokens"],
    ).strip()


def _front_matter(facts: Mapping[str, Any], form: str, evaluated: Evaluated | None) -> ModelCardData:
    library, pipeline, task = _HUB[facts["target"]]
    base, name = facts["base"], f"{facts['base']['name']}, tuned by raglift"
    results = [
        EvalResult(
            task_type=task,
            dataset_type="private",
            dataset_name=f"{figure.set} test questions",
            metric_type=figure.metric,
            metric_value=round(figure.tuned, 4),
        )
        for figure in (evaluated.figures if evaluated else ())
        if figure.tuned is not None
    ]
    return ModelCardData(
        license=base["license"],
        library_name=_LIBRARY.get(form, library),
        pipeline_tag=pipeline,
        tags=sorted({"raglift", library, *(part["name"] for part in facts["parts"] if part["role"] == "strategy")}),
        base_model=base["hub"],
        base_model_relation=("finetune" if form == "whole" else "adapter") if base["hub"] else None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _loading(facts: Mapping[str, Any], form: str) -> tuple[str, ...]:
    base, lines = facts["base"], []
    if form != "whole" and base["package"]:
        lines.append(
            f"The base is what the package {base['package']} carries, dequantised: `{base['hub']}` on the hub has not "
            "quite these weights."
        )
    elif form != "whole" and not base["hub"]:
        lines.append("The base is a folder; it must be the one of the revision below.")
    if form == "bottleneck":
        lines.append("No other library has this kind of adapter, so raglift puts it on; it stays beside the weights.")
    if form in ("peft", "sparse"):
        lines.append("`raglift export` writes the same model as one folder of plain weights.")
    if facts["quotes"]:
        lines.append("It writes a quote from the passages first; its answer follows the word `Answer:`.")
    return tuple(lines)


def _limits(facts: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, ...]:
    lines = [*_LIMITS[facts["purpose"]], _PRIVATE]
    if facts["target"] == "embedding":
        lines.append(
            "It gives passages the base's vectors, so an index that was made with the base serves it."
            if record["same_passages"]
            else "Its vectors and the base's do not go into one index: encode all passages with it."
        )
    return (*lines, "What the base's own card says of bias, risks and license holds for it too.")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown and Python, from settings and counts alone
    )
    environment.filters |= {"cell": _cell, "settings": _settings, "figure": _figure, "change": _change}
    return environment


def _cell(text: str) -> str:
    """Text that stays within its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _settings(values: Mapping[str, Any]) -> str:
    return _cell(", ".join(f"{name}: {_shown(value)}" for name, value in values.items())) or "none"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_shown(found) for found in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name}={_shown(found)}" for name, found in value.items()) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _change(value: float) -> str:
    return f"{value:+.3f}"
