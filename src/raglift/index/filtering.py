"""LlamaIndex's metadata filters over all nodes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from numpy.typing import NDArray

from raglift.errors import UserError

Mask = NDArray[np.bool_]

_COMPARE: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: lambda held, value: held == value,
    FilterOperator.NE: lambda held, value: held != value,
    FilterOperator.GT: lambda held, value: held > value,
    FilterOperator.GTE: lambda held, value: held >= value,
    FilterOperator.LT: lambda held, value: held < value,
    FilterOperator.LTE: lambda held, value: held <= value,
    FilterOperator.IN: lambda held, value: held in value,
    FilterOperator.NIN: lambda held, value: held not in value,
    FilterOperator.CONTAINS: lambda held, value: value in held,
    FilterOperator.TEXT_MATCH: lambda held, value: value in held,
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda held, value: value.lower() in held.lower(),
    FilterOperator.ALL: lambda held, value: all(each in held for each in value),
    FilterOperator.ANY: lambda held, value: any(each in held for each in value),
}
_TEXT = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
_MANY = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ALL, FilterOperator.ANY)


def matches(wanted: MetadataFilter, held: Any) -> bool:
    """Whether a node whose metadata holds `held` under the filter's key passes.

    The same as LlamaIndex's own stores (`build_metadata_filter_fn`), but that a value which cannot be compared with
    the filter's does not match, where theirs raises.

    Args:
        held: None where the node has no such key.
    """
    if wanted.operator == FilterOperator.IS_EMPTY:
        return held is None or held == "" or held == []
    if held is None:
        return wanted.operator in (FilterOperator.NE, FilterOperator.NIN)
    if wanted.operator in _TEXT and not isinstance(held, str):
        return False
    try:
        return bool(_COMPARE[wanted.operator](held, wanted.value))
    except TypeError:
        return wanted.operator == FilterOperator.NIN


def restricts(filters: MetadataFilters | None) -> bool:
    """Whether there is anything that a node has to meet: groups of filters may be empty, also all of them."""
    if filters is None:
        return False
    return any(restricts(each) if isinstance(each, MetadataFilters) else True for each in filters.filters)


def check(filters: MetadataFilters) -> None:
    """Refuse what no node could be compared with.

    Raises:
        UserError: A filter's value does not fit its operator.
    """
    for each in filters.filters:
        if isinstance(each, MetadataFilters):
            check(each)
        elif each.operator in _MANY and not isinstance(each.value, list | str):
            raise _unfit(each, "a list")
        elif each.operator in _TEXT and not isinstance(each.value, str):
            raise _unfit(each, "a text")


def _unfit(wanted: MetadataFilter, needed: str) -> UserError:
    return UserError(
        f"The filter on {wanted.key!r} compares by {wanted.operator.value!r} with {wanted.value!r}.",
        f"This operator needs {needed}.",
        "Give it one, or choose another operator.",
    )


class Columns:
    """Metadata by key: a filter looks at each different value once, and at no node.

    Args:
        metadata: Of every node, in order.
        documents: Document id of every node; found as metadata under the three names that LlamaIndex's stores use.
    """

    def __init__(self, metadata: Sequence[Mapping[str, Any]], documents: Sequence[str | None]) -> None:
        self._metadata = metadata
        self._columns: dict[str, _Column] = {}
        ids = _Column(document or "None" for document in documents)
        for name in ("document_id", "doc_id", "ref_doc_id"):
            self._columns[name] = ids

    def mask(self, filters: MetadataFilters) -> Mask:
        """Which nodes pass, shape (nodes,); filters may be nested, and a group of none says nothing.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        check(filters)
        return self._mask(filters)

    def _mask(self, filters: MetadataFilters) -> Mask:
        masks = []
        for each in filters.filters:
            if not isinstance(each, MetadataFilters):
                masks.append(self._one(each))
            elif restricts(each):
                masks.append(self._mask(each))
        if not masks:
            return np.ones(len(self._metadata), np.bool_)
        if filters.condition == FilterCondition.OR:
            return np.asarray(np.logical_or.reduce(masks))
        if filters.condition == FilterCondition.NOT:  # of none of them, as LlamaIndex has it
            return np.asarray(~np.logical_or.reduce(masks))
        return np.asarray(np.logical_and.reduce(masks))

    def _one(self, wanted: MetadataFilter) -> Mask:
        if wanted.key not in self._columns:
            self._columns[wanted.key] = _Column(each.get(wanted.key) for each in self._metadata)
        return self._columns[wanted.key].mask(lambda held: matches(wanted, held))


class _Column:
    """A key's different values, and which of them each node has."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._values: list[Any] = []
        known: dict[Any, int] = {}
        codes = []
        for value in values:
            key = value if isinstance(value, str | int | float | None) else (type(value), repr(value))
            if key not in known:
                known[key] = len(self._values)
                self._values.append(value)
            codes.append(known[key])
        self._codes = np.array(codes, dtype=np.int64)

    def mask(self, passes: Callable[[Any], bool]) -> Mask:
        verdicts = np.array([passes(value) for value in self._values], dtype=np.bool_)
        return verdicts[self._codes] if len(self._codes) else np.zeros(0, np.bool_)
