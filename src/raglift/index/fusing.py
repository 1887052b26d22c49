"""The fusion that a config names, or those among which the development questions choose."""

from __future__ import annotations

from itertools import product
from typing import Any

from raglift import plugins
from raglift.config_fields import PluginSpec
from raglift.index.fusions._base import Fusion

KIND = "fusion"
AUTO = "auto"
DEFAULT = PluginSpec(name="convex")
"""With its own parameters above reciprocal rank fusion on every set that it was tried on; see docs/retrieval.md."""


def fusion_of(spec: PluginSpec) -> Fusion:
    """The fusion, with the parameters that are given and its own for the others."""
    found: Fusion = plugins.load(KIND, DEFAULT.name if spec.name == AUTO else spec.name)(**spec.settings)
    return found


def candidates(spec: PluginSpec) -> list[tuple[str, Fusion]]:
    """(name, fusion) of all that may be chosen: every fusion for "auto", else the one that is named.

    What the config sets is held, what it leaves open takes each of its `tried` values. First stands what holds where
    nothing is measurably better.
    """
    others = sorted(set(plugins.names(KIND)) - {DEFAULT.name})
    found: dict[tuple[str, Fusion], None] = {}
    for name in [DEFAULT.name, *others] if spec.name == AUTO else [spec.name]:
        kind = plugins.load(KIND, name)
        found[name, kind(**spec.settings)] = None
        left = {key: values for key, values in kind.tried.items() if key not in spec.settings}
        for values in product(*left.values()):
            found[name, kind(**spec.settings, **dict(zip(left, values, strict=True)))] = None
    return list(found)


def spec_of(name: str, fusion: Fusion) -> dict[str, Any]:
    """As a config writes it: `{name: {parameter: value}}`."""
    return {name: fusion.model_dump(mode="json")}


def shown(name: str, fusion: Fusion) -> str:
    """In words: "convex, alpha 0.7, normalisation theoretical"."""
    return ", ".join([name, *(f"{key} {value}" for key, value in fusion.model_dump(mode="json").items())])
