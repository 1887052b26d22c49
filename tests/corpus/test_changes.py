"""What became of documents: every one of both corpora is counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.changes import brought_up, changes
from raglift.corpus.documents import document
from raglift.records import Document

corpora = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["one", "two", "three"]))


def documents(texts: dict[str, str]) -> list[Document]:
    return [document(source, text) for source, text in texts.items()]


@given(corpora, corpora)
def test_every_document_became_one_thing(before: dict[str, str], now: dict[str, str]) -> None:
    found = changes(documents(before), documents(now))
    assert {each.source for each in found.new} == now.keys() - before.keys()
    assert {each.source for each in found.gone} == before.keys() - now.keys()
    other = {source for source in before.keys() & now.keys() if before[source] != now[source]}
    assert {each.source: each.text for each in found.changed} == {source: now[source] for source in other}
    assert {each.source: each.text for each in found.replaced} == {source: before[source] for source in other}
    assert len(found.new) + len(found.changed) + len(found.unchanged) == len(now)
    assert len(found.gone) + len(found.replaced) + len(found.unchanged) == len(before)
    assert bool(found) == (before != now)


@given(corpora, corpora)
def test_what_stays_keeps_its_group_and_split(before: dict[str, str], now: dict[str, str]) -> None:
    old = [Document(d.id, d.source, d.text, {}, "group", "test") for d in documents(before)]
    kept = {each.id: each for each in old}
    up = brought_up(changes(old, documents(now)), documents(now))
    assert [(each.source, each.text) for each in up] == list(now.items())
    for each in up:
        assert each == kept[each.id] if each.id in kept else (each.group, each.split) == (each.id, "train")
