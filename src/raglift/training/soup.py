"""Model soups: averages of several tuned models that began from one base."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from raglift.artifacts import file_sha256
from raglift.errors import UserError
from raglift.models.attach import difference
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.llm import load_causal_lm
from raglift.models.reranker import load_reranker
from raglift.records import Target
from raglift.training.strategy import Scored

_LOADERS: Mapping[Target, Callable[[Path, Runtime], nn.Module]] = {
    "embedding": load_encoder,
    "llm": load_causal_lm,
    "rerank": load_reranker,
}
Offer = Callable[[str, dict[str, Tensor]], float]


def average(states: Sequence[Scored]) -> dict[str, Tensor]:
    """The mean of each weight over the states."""
    names = states[0].weights
    return {name: torch.stack([state.weights[name].float() for state in states]).mean(0) for name in names}


def stir(states: Sequence[Scored], offer: Offer) -> None:
    """Offer the uniform soup and what the greedy one tries on its way.

    The greedy soup takes the states from the best to the worst and keeps each whose addition does not lower the score
    on the development split.

    References:
        Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
        increasing inference time", section 2 and recipe 1.
    """
    ranked = sorted((state for state in states if not math.isnan(state.score)), key=lambda s: s.score, reverse=True)
    if len(ranked) < 2:
        return
    uniform = offer(f"soup of all {len(ranked)}", average(ranked))
    kept, score = ranked[:1], ranked[0].score
    for state in ranked[1:]:
        tried = [*kept, state]
        name = "soup of " + " + ".join(each.name for each in tried)
        found = uniform if len(tried) == len(ranked) else offer(name, average(tried))
        if found >= score:
            kept, score = tried, found


def tuned_elsewhere(folder: Path, target: Target, model: nn.Module, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trainable weights of a model that another training saved whole, by this training's names.

    Args:
        model: As this training begins with it.
        base: The weights of it that may change.

    Raises:
        UserError: The folder holds an adapter, or another model, or one in which more was tuned than trains here.
    """
    problem = f"The model in {folder} cannot go into the soup."
    fix = "Name the `model` folders of trainings of the same base whose strategy lets as much learn, such as `full`."
    if difference(folder) is not None:
        raise UserError(problem, "It is an adapter: adapters that were drawn apart have no mean of their own.", fix)
    runtime = Runtime(torch.device("cpu"), torch.float32, 1)
    other = _LOADERS[target](folder, runtime)
    found = {name: value.detach() for name, value in other.named_parameters()}
    here = dict(model.named_parameters())
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in here.items()}:
        raise UserError(problem, "Its weights have other names or shapes than those that train here.", fix)
    for name, value in found.items():
        if name not in base and not torch.equal(value, here[name].detach().float().cpu()):
            raise UserError(problem, f"In it {name} was tuned, which stays as it is here.", fix)
    return {name: found[name] for name in base}


def content_of(folder: Path) -> str:
    """A hash of the weights in a model's folder."""
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()
