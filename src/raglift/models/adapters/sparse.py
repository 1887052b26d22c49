"""Changed entries of the base's weights: few of each, or whole small tensors.

One safetensors file holds, for a weight called NAME, `values:NAME` (float32, 1-D) and `places:NAME` (their places in
the flattened weight, int32, or int64 where the weight is larger), or `values:NAME` alone where all of it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from raglift.errors import UserError

FILE = "sparse.safetensors"


def write(folder: Path, changed: Mapping[str, tuple[Tensor, Tensor | None]]) -> None:
    """Write a difference into `folder`.

    Args:
        changed: Weight name -> its new values as they lie flat, and which entries they are for: a mask of the weight's
            shape, or None where they are for all.
    """
    tensors: dict[str, Tensor] = {}
    for name, (values, mask) in changed.items():
        tensors[f"values:{name}"] = values.detach().flatten().float().cpu().contiguous()
        if mask is not None:
            small = mask.numel() <= torch.iinfo(torch.int32).max
            places = mask.flatten().nonzero().squeeze(1).cpu()
            tensors[f"places:{name}"] = places.to(torch.int32 if small else torch.int64)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})


class Sparse:
    """New values for some entries of the base's weights; written into them."""

    marker = FILE
    merges = True

    def attach(self, model: nn.Module, folder: Path) -> nn.Module:
        """The base with its changed entries in their places.

        Raises:
            UserError: The difference is of another model.
        """
        parameters = dict(model.named_parameters())
        with safe_open(folder / FILE, framework="pt") as file, torch.no_grad():
            names = set(file.keys())
            for key in sorted(name for name in names if name.startswith("values:")):
                name = key.removeprefix("values:")
                values = file.get_tensor(key)
                places = file.get_tensor(f"places:{name}").long() if f"places:{name}" in names else None
                weight = parameters.get(name)
                if weight is None or not _fits(weight, values, places):
                    raise UserError(
                        f"The difference in {folder} does not go onto this model.",
                        f"It changes the weight {name!r}, which the model has not, or not in that size.",
                        "Give the base that it was trained from.",
                    )
                flat = weight.detach().view(-1)
                flat[slice(None) if places is None else places.to(flat.device)] = values.to(flat.device, flat.dtype)
        return model


def _fits(weight: Tensor, values: Tensor, places: Tensor | None) -> bool:
    if places is None:
        return values.numel() == weight.numel()
    return values.shape == places.shape and (not len(places) or int(places.max()) < weight.numel())


PLUGIN = Sparse()
