"""The model card of a tuned model: its facts beside it in card.json, and README.md in its folder, for any library.

Equal trainings give equal bytes: no date, no path and no measured time is in either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from raglift import plugins
from raglift.artifacts import write_atomic, write_json
from raglift.config import LLMConfig, PluginSpec, TuningConfig
from raglift.models.chat import render_chat
from raglift.models.find import KNOWN, FoundModel
from raglift.models.llm import load_tokenizer
from raglift.records import Target
from raglift.training.card_text import Evaluated, render
from raglift.training.outcome import MODEL
from raglift.training.trials import WHICH
from raglift.training.versions import installed

FACTS = "card.json"
README = "README.md"
_LIBRARIES = ("raglift", "torch", "transformers", "sentence-transformers", "peft", "accelerate", "safetensors")
_SCORES = {
    "embedding": "mean nDCG@10, people's questions and raglift's counting equally as sets",
    "rerank": "mean nDCG@10 of passages put in order, people's questions and raglift's counting equally as sets",
    "llm": "mean token F1 plus a quarter of Youden's J of abstaining",
}
_WITHOUT_SETTINGS = {"model", "strategies", "objective", "pairs", "train_on", *WHICH}


def write_card(
    out: Path,
    target: Target,
    base: FoundModel,
    config: TuningConfig,
    data: Mapping[str, Any],
    seed: int,
    purpose: str | None = None,
    score: str | None = None,
) -> None:
    """Write card.json into a training's artifact and README.md into the tuned model's folder, where a PEFT adapter is
    also told what its base is called; nothing where the base stays.

    Args:
        out: The artifact's folder, with model.json and training.json in it.
        data: What it learned from, as `provenance.describe` says it.
        purpose: "writer" for a model that writes questions; None: what the target is for.
        score: What chose among the candidates; None: what does for the target.
    """
    if not (out / MODEL).is_dir():
        return
    facts = {
        "target": target,
        "purpose": purpose or target,
        "base": base_facts(base),
        "parts": [_part("strategy", spec) for spec in config.strategies] + [_part("objective", config.objective)],
        "settings": public(config.model_dump(mode="json", exclude=_WITHOUT_SETTINGS)),
        "data": dict(data),
        "score": score or _SCORES[target],
        "seed": seed,
        "versions": installed(_LIBRARIES),
        **_answering(config if purpose is None else None, base),
    }
    write_json(out / FACTS, facts)
    _name_base(out / MODEL, base_facts(base))
    write_readme(out, out / MODEL)


def write_readme(artifact: Path, folder: Path, evaluated: Evaluated | None = None) -> None:
    """Write README.md into a folder with the artifact's tuned model, in the form in which it lies there.

    Args:
        artifact: The folder of a training's artifact, with its card.json.
        folder: The artifact's own `model/`, or a folder to which that was exported.
        evaluated: What the model scored on test questions, where it was scored.
    """
    facts, record, training = (
        json.loads((artifact / name).read_text("utf-8")) for name in (FACTS, "model.json", "training.json")
    )
    text = render(facts, record, training, form_of(folder), evaluated)
    write_atomic(folder / README, text.encode("utf-8"))


def form_of(folder: Path) -> str:
    """How a folder holds a tuned model: "whole", or the name of the adapter format."""
    forms = plugins.names("adapter format")
    return next((name for name in forms if (folder / plugins.load("adapter format", name).marker).exists()), "whole")


def base_facts(base: FoundModel) -> dict[str, Any]:
    """The base's name, revision, license, and `hub` and `package`, its id and its package where it has them."""
    known = KNOWN.get(base.name)
    local = known is None and Path(base.name).expanduser().is_dir()
    hub = known.hub if known else None if local else base.name
    return {
        "name": Path(base.name).expanduser().resolve().name if local else base.name,
        "revision": base.revision,
        "license": known.license if known else _license(base.path),
        "hub": hub,
        "package": known.install if known and known.file.endswith(".gguf") else None,
    }


def _name_base(folder: Path, base: Mapping[str, Any]) -> None:
    """In a PEFT folder, call the base by its id on the hub instead of where it lies on this machine, or not at all.

    Only here, since PEFT would look an id up on the hub while it writes the adapter. A base that is a folder gets no
    name, since PEFT would take any for an id.
    """
    file = folder / "adapter_config.json"
    if file.is_file():
        settings = json.loads(file.read_text("utf-8"))
        write_json(file, settings | {"base_model_name_or_path": base["hub"]})


def _license(folder: Path) -> str | None:
    """What the model card in a folder names; None where there is none that can be read."""
    try:
        named = ModelCard.load(folder / README, ignore_metadata_errors=True).data.to_dict().get("license")
    except (OSError, ValueError, YAMLError):
        return None
    return named if isinstance(named, str) else None


def _part(role: str, spec: PluginSpec) -> dict[str, Any]:
    plugin = plugins.load(role, spec.name)(**spec.settings)
    settings = public(plugin.model_dump(mode="json"))
    return {"role": role, "name": spec.name, "paper": plugin.paper, "settings": settings}


def public(value: Any) -> Any:
    """Settings without paths: of a model or file on this machine its name alone."""
    if isinstance(value, Mapping):
        return {key: public(found) for key, found in value.items()}
    if isinstance(value, str):
        path = os.path.expanduser(value)
        here = os.path.basename(path) != value and (os.path.isabs(path) or os.path.exists(path))
        return Path(path).name if here else value
    if isinstance(value, Sequence):
        return [public(found) for found in value]
    return value


def _answering(config: TuningConfig | None, base: FoundModel) -> dict[str, Any]:
    """A prompt as a model that answers was trained on it, line by line, its longest answer, and whether a quote stands
    before that."""
    if not isinstance(config, LLMConfig):
        return {"prompt": [], "new_tokens": 0, "quotes": False}
    prompt = plugins.load("prompt", config.prompt)
    text = render_chat(
        load_tokenizer(base.path), prompt.messages("A question about them?", ["A passage of the documents."])
    )
    lines = text.splitlines(keepends=True)
    return {"prompt": lines, "new_tokens": config.new_tokens, "quotes": bool(prompt.quote_tokens)}
