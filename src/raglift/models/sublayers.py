"""Where a transformer block's attention and feed-forward sub-layers begin and end, whatever the model calls them."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from raglift.models.packed import PackedLinear

ADAPTERS = "bottleneck"
"""The child of a block that holds what adapters added to it, which is not looked into."""
_ATTENTION = ("attn", "attention")
_CROSS = ("cross", "encoder_attn", "encdec")
_INPUTS = frozenset({"q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin"})


def models_around(model: nn.Module, blocks: str) -> list[PreTrainedModel]:
    """The transformers models that hold the list of blocks of this name, the whole one first."""
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, PreTrainedModel)]
    return [module for name, module in named if not name or blocks.startswith(f"{name}.")]


def hidden_width(model: nn.Module, blocks: str) -> int:
    """The width of the hidden states between the blocks.

    Args:
        blocks: The name of the list of blocks in `model`.

    Raises:
        ValueError: The blocks belong to no transformers model.
    """
    around = models_around(model, blocks)
    width = getattr(around[-1].config.get_text_config(), "hidden_size", None) if around else None
    if width is None:
        raise ValueError("it is no transformers model whose configuration says how wide its hidden states are")
    return int(width)


def attention_end(block: nn.Module, width: int) -> nn.Module:
    """The output projection of a block's attention: its output is summed with the residual, after dropout.

    It is the last linear layer to `width` among those under a name with "attn" or "attention".

    Raises:
        ValueError: There is none.
    """
    linears = [found for found in _linears(block) if _is_attention(found[0])]
    ends = [
        (name, module)
        for name, module, widths in linears
        if widths[1] == width and not any(mark in name.lower() for mark in _CROSS)
    ]
    if not ends or ends[-1][0].rpartition(".")[2] in _INPUTS:
        raise ValueError(
            f"in {type(block).__name__} no output projection of an attention to width {width} was found; "
            f"linear layers of its attention: {_listed(linears)}"
        )
    return ends[-1][1]


def feed_forward(block: nn.Module, width: int) -> tuple[nn.Module, nn.Module]:
    """Two modules of a block: the first one's input is its feed-forward layer's, the second one's output likewise.

    What holds linear layers beside the attention is the feed-forward layer: one module, which is then both (Llama,
    Qwen, GPT-2, mixtures of experts), or linear layers of which one alone leads to `width` (BERT, MPNet, OPT, T5).

    Raises:
        ValueError: There is no such layer, or more than one.
    """
    children = [(name, child) for name, child in block.named_children() if name != ADAPTERS and not _is_attention(name)]
    parts = [child for _, child in children if _multiplies(child)]
    if len(parts) == 1 and _is_whole(parts[0], width):
        return parts[0], parts[0]
    linears = [found for found in _linears(block) if not _is_attention(found[0])]
    begins = [module for _, module, widths in linears if widths[0] == width]
    ends = [module for _, module, widths in linears if widths[1] == width]
    if not begins or len(ends) != 1 or any(map(_has_experts, parts)):
        raise ValueError(
            f"in {type(block).__name__} no feed-forward layer was found that one linear layer to width {width} ends; "
            f"linear layers outside of its attention: {_listed(linears)}"
        )
    return begins[0], ends[0]


def _linears(block: nn.Module) -> list[tuple[str, nn.Module, tuple[int, int]]]:
    """Name, module and widths of the block's linear layers, those of adapters left out."""
    return [
        (name, module, widths)
        for name, module in block.named_modules()
        if name.partition(".")[0] != ADAPTERS and (widths := _widths(module)) is not None
    ]


def _widths(module: nn.Module) -> tuple[int, int] | None:
    """Input and output width of a linear layer, plain or as this package and transformers vary it."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, PackedLinear):
        return module.inputs, module.outputs
    if isinstance(module, Conv1D):
        rows, columns = module.weight.shape
        return int(rows), int(columns)
    return None


def _is_attention(name: str) -> bool:
    return any(mark in name.lower() for mark in _ATTENTION)


def _multiplies(module: nn.Module) -> bool:
    return any(_widths(part) for part in module.modules()) or _has_experts(module)


def _is_whole(module: nn.Module, width: int) -> bool:
    """Whether a module leads from `width` to `width` by itself, without a residual that a norm would follow."""
    inside = [widths for part in module.modules() if (widths := _widths(part)) is not None]
    leads = any(into == width for into, _ in inside) and any(out == width for _, out in inside)
    plain = _widths(module) is None and not any(type(part).__name__.endswith("Norm") for part in module.modules())
    return plain and (leads or _has_experts(module))


def _has_experts(module: nn.Module) -> bool:
    """Whether it holds the matrices of several experts in one tensor."""
    return any(parameter.dim() == 3 for parameter in module.parameters())


def _listed(linears: list[tuple[str, nn.Module, tuple[int, int]]]) -> str:
    return ", ".join(f"{name} ({into} to {out})" for name, _, (into, out) in linears) or "none"
