"""Metadata filters against LlamaIndex's own function, node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn, node_to_metadata_dict

from raglift.errors import UserError
from raglift.index.filtering import Columns

texts = st.sampled_from(["", "a", "b", "ab", "AB", "1"])
numbers = st.integers(-1, 2) | st.sampled_from([0.0, 0.5, 1.0])
held = texts | numbers | st.lists(texts, max_size=3) | st.none() | st.booleans()
metadata = st.lists(st.dictionaries(st.sampled_from(["k", "l"]), held), max_size=8)
value = texts | numbers | st.lists(texts, max_size=3) | st.lists(st.integers(-1, 2), max_size=3)
single = st.builds(
    MetadataFilter, key=st.sampled_from(["k", "l"]), value=value, operator=st.sampled_from(list(FilterOperator))
)
conditions = st.sampled_from([FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT, None])
nested = st.recursive(
    single,
    lambda inner: st.builds(MetadataFilters, filters=st.lists(inner, min_size=1, max_size=3), condition=conditions),
    max_leaves=5,
)


def theirs(filters: MetadataFilters, given_metadata: dict[str, Any]) -> bool | None:
    """LlamaIndex's verdict; None where it raises. It refuses nested filters: their parts are put together by hand."""
    verdicts: list[bool | None] = []
    for each in filters.filters:
        if isinstance(each, MetadataFilters):
            verdicts.append(theirs(each, given_metadata))
            continue
        try:
            passes = build_metadata_filter_fn(lambda _: given_metadata, MetadataFilters(filters=[each]))
            verdicts.append(passes("node"))
        except TypeError:
            verdicts.append(None)
    if None in verdicts:
        return None
    if filters.condition == FilterCondition.OR:
        return any(verdicts)
    if filters.condition == FilterCondition.NOT:
        return not any(verdicts)
    return all(verdicts)


@given(metadata, st.lists(nested, min_size=1, max_size=3), conditions)
def test_the_verdict_is_llama_indexs_wherever_it_has_one(
    nodes: list[dict[str, Any]], filters: list[Any], condition: FilterCondition | None
) -> None:
    asked = MetadataFilters(filters=filters, condition=condition)
    expected = [theirs(asked, each) for each in nodes]
    try:
        mask = Columns(nodes, [None] * len(nodes)).mask(asked)
    except UserError:
        return  # of values that fit no operator: the tests below
    for got, wanted in zip(mask.tolist(), expected, strict=True):
        assert wanted is None or got == wanted


@pytest.mark.parametrize("operator", list(FilterOperator))
def test_every_operator_has_a_case(operator: FilterOperator) -> None:
    """One node that passes, one that does not."""
    cases: dict[FilterOperator, tuple[Any, Any, Any]] = {
        FilterOperator.EQ: (3, 3, 4),
        FilterOperator.GT: (3, 4, 3),
        FilterOperator.LT: (3, 2, 3),
        FilterOperator.NE: (3, 4, 3),
        FilterOperator.GTE: (3, 3, 2),
        FilterOperator.LTE: (3, 3, 4),
        FilterOperator.IN: (["a", "b"], "b", "c"),
        FilterOperator.NIN: (["a", "b"], "c", "b"),
        FilterOperator.ANY: (["a", "b"], ["b", "c"], ["c"]),
        FilterOperator.ALL: (["a", "b"], ["b", "c", "a"], ["b"]),
        FilterOperator.TEXT_MATCH: ("ide", "low tide", "low TIDE"),
        FilterOperator.TEXT_MATCH_INSENSITIVE: ("IDE", "low tide", "ebb"),
        FilterOperator.CONTAINS: ("a", ["a", "b"], ["b"]),
        FilterOperator.IS_EMPTY: (None, [], ["b"]),
    }
    wanted, passing, failing = cases[operator]
    columns = Columns([{"k": passing}, {"k": failing}, {}], ["d"] * 3)
    mask = columns.mask(MetadataFilters(filters=[MetadataFilter(key="k", value=wanted, operator=operator)]))
    absent = operator in (FilterOperator.NE, FilterOperator.NIN, FilterOperator.IS_EMPTY)
    assert mask.tolist() == [True, False, absent]


def test_what_cannot_be_compared_does_not_match() -> None:
    columns = Columns([{"year": 2024}, {"year": "2025"}, {"year": [2025]}, {}], ["d"] * 4)
    later = MetadataFilter(key="year", value=2000, operator=FilterOperator.GT)
    assert columns.mask(MetadataFilters(filters=[later])).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [(FilterOperator.IN, 3), (FilterOperator.ANY, 3), (FilterOperator.TEXT_MATCH, 3), (FilterOperator.ALL, None)],
)
def test_a_value_that_no_operator_takes_is_refused(operator: FilterOperator, wrong: Any) -> None:
    inner = MetadataFilters(filters=[MetadataFilter(key="k", value=wrong, operator=operator)])
    with pytest.raises(UserError, match="'k'") as raised:
        Columns([{"k": "a"}], ["d"]).mask(MetadataFilters(filters=[inner]))
    assert raised.value.fix


def test_equal_numbers_of_different_types_are_one_value_and_lists_are_values_too() -> None:
    columns = Columns([{"k": 1}, {"k": 1.0}, {"k": True}, {"k": [1]}, {"k": ["1"]}], ["d"] * 5)
    one = MetadataFilters(filters=[MetadataFilter(key="k", value=1)])
    assert columns.mask(one).tolist() == [True, True, True, False, False]


def test_the_document_is_found_under_llama_indexs_names() -> None:
    node = TextNode(text="t", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d7")})
    names = [name for name, text in node_to_metadata_dict(node).items() if text == "d7"]
    assert len(names) == 3
    columns = Columns([{}, {}], ["d7", None])
    for name in names:
        asked = MetadataFilters(filters=[MetadataFilter(key=name, value="d7")])
        assert columns.mask(asked).tolist() == [True, False]


def test_no_filter_passes_all_and_no_node_is_no_problem() -> None:
    assert Columns([{}, {}], [None, None]).mask(MetadataFilters(filters=[])).tolist() == [True, True]
    empty = Columns([], []).mask(MetadataFilters(filters=[MetadataFilter(key="k", value=1)]))
    assert empty.dtype == np.bool_
    assert len(empty) == 0
