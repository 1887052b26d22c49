"""The view of a model that strategies and the loop share: what may train, and an ordered list of blocks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training may change, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def block_list(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The transformer blocks from the lowest to the highest, with the name of their list.

    They are the model's longest list of modules of one class, whether the model is a language model, an encoder or a
    sentence-transformers model around one, bare or with adapters inside.

    Raises:
        ValueError: The model has no such list.
    """
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and len({type(block) for block in module}) == 1
    ]
    if not lists:
        raise ValueError("it has no list of transformer blocks")
    return max(lists, key=lambda found: (len(found[1]), sum(p.numel() for p in found[1].parameters())))


def blocks_below(model: nn.Module, modules: Iterable[str]) -> int:
    """How many of the lowest blocks hold none of the modules of these names; 0 where one of them is in no block.

    Raises:
        ValueError: The model has no list of transformer blocks.
    """
    prefix, _ = block_list(model)
    inside = f"{prefix}."
    places = [int(name.removeprefix(inside).partition(".")[0]) if name.startswith(inside) else 0 for name in modules]
    return min(places, default=0)


def depths(model: nn.Module) -> dict[str, int]:
    """Parameter name -> how deep it lies: 0 below the blocks, 1 to n in them, n + 1 above them.

    What stands before the list of blocks in the model's own order, embeddings above all, is below; an output layer that
    shares the embeddings' weights is one parameter and lies below too. Tables that every block reads, as the relative
    positions of MPNet and DeBERTa, do so though they stand after it.

    Raises:
        ValueError: The model has no list of transformer blocks.
    """
    prefix, blocks = block_list(model)
    names = [name for name, _ in blocks.named_parameters(remove_duplicate=False)]
    inside = {f"{prefix}.{name}": int(name.partition(".")[0]) + 1 for name in names}
    inside |= dict.fromkeys(_read_by_all(model, prefix), 0)
    found: dict[str, int] = {}
    passed = False
    for name, _ in model.named_parameters():
        passed = passed or inside.get(name, 0) > 0
        found[name] = inside.get(name, len(blocks) + 1 if passed else 0)
    return found


def _read_by_all(model: nn.Module, prefix: str) -> list[str]:
    """Parameters beside the list of blocks, where a table of embeddings stands after it: what is above reads no ids."""
    owner, _, own = prefix.rpartition(".")
    children = dict(model.get_submodule(owner).named_children())
    after = list(children)[list(children).index(own) + 1 :]
    if not any(isinstance(children[name], nn.Embedding) for name in after):
        return []
    start = f"{owner}." if owner else ""
    return [f"{start}{child}.{name}" for child in after for name, _ in children[child].named_parameters()]


def discriminative(model: nn.Module, factor: float) -> dict[str, float]:
    """Parameter name -> share of the learning rate: divided by `factor` for every layer below the highest block.

    What stands above the blocks learns as fast as the highest one, and what stands below them slower than the lowest.

    Raises:
        ValueError: The model has no list of transformer blocks.

    References:
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2.
    """
    top = len(block_list(model)[1])
    return {name: factor ** (min(depth, top) - top) for name, depth in depths(model).items()}
