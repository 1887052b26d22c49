from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.chunking import chunk_documents
from raglift.corpus.documents import document
from raglift.corpus.evidence import Locator
from raglift.records import Chunk, Evidence

TEXT = "The first rule.\n\nNever run with\n   scissors, not even\tblunt ones.\nThe last rule."
QUOTE = "Never run with scissors, not even blunt ones."


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def chunk(name: str, document_id: str, text: str, start: int, end: int) -> Chunk:
    return Chunk(name, document_id, text[start:end], start, end)


def test_white_space_does_not_matter() -> None:
    doc = document("a", TEXT)
    (found,) = Locator([doc], [chunk("c", doc.id, TEXT, 0, len(TEXT))]).find(QUOTE)
    assert (found.document_id, found.chunk_id) == (doc.id, "c")
    assert TEXT[found.start : found.end] == "Never run with\n   scissors, not even\tblunt ones."


@given(data=st.data())
def test_a_found_span_holds_the_quote(data: st.DataObject) -> None:
    letters = st.text(st.sampled_from("ab. \n\t\u00e9"), min_size=1, max_size=60)
    documents = [document(str(n), text) for n, text in enumerate(data.draw(st.lists(letters, min_size=1, max_size=3)))]
    chunks = [chunk(f"c{doc.source}", doc.id, doc.text, 0, len(doc.text)) for doc in documents]
    text = data.draw(st.sampled_from(documents)).text
    start = data.draw(st.integers(0, len(text) - 1))
    quote = text[start : data.draw(st.integers(start + 1, len(text)))].replace("\n", " \n ")
    found = Locator(documents, chunks).find(quote)
    texts = {doc.id: doc.text for doc in documents}
    spans = {(item.document_id, item.start, item.end) for item in found}
    for document_id, begin, end in spans:
        assert squeezed(texts[document_id][begin:end]) == squeezed(quote)
        assert texts[document_id][begin:end].strip() == texts[document_id][begin:end]
    wanted = squeezed(quote)
    occurrences = sum(
        squeezed(doc.text).startswith(wanted, at) for doc in documents for at in range(len(doc.text)) if wanted
    )
    assert len(spans) == len(found) == occurrences


def test_a_quote_in_several_documents_is_evidence_in_each() -> None:
    documents = [document("a", TEXT), document("b", "Before. " + QUOTE), document("c", "Something else.")]
    chunks = [chunk(doc.source, doc.id, doc.text, 0, len(doc.text)) for doc in documents]
    assert [item.chunk_id for item in Locator(documents, chunks).find(QUOTE)] == ["a", "b"]


def test_a_chunk_needs_half_of_the_quote() -> None:
    text = "0123456789"
    doc = document("a", text)
    parts = [chunk("long", doc.id, text, 0, 7), chunk("short", doc.id, text, 7, 10), chunk("half", doc.id, text, 5, 10)]
    found = Locator([doc], parts).find(text)
    assert found == (Evidence(doc.id, "long", 0, 7), Evidence(doc.id, "half", 5, 10))


def test_overlapping_chunks_both_show_it() -> None:
    text = "One two three. Four five six. Seven eight nine. " * 6
    doc = document("a", text)
    chunks = chunk_documents([doc], 24, 12)
    locator = Locator([doc], chunks)
    for item in locator.find("Four five six."):
        assert text[item.start : item.end] == "Four five six."
    assert {item.chunk_id for item in locator.find("Four five six.")} == {
        c.id for c in chunks if "Four five six." in c.text
    }


def test_what_is_not_there_is_not_found() -> None:
    doc = document("a", TEXT)
    locator = Locator([doc], [chunk("c", doc.id, TEXT, 0, len(TEXT))])
    assert locator.find("Never walk with scissors") == ()
    assert locator.find("") == ()
    assert locator.find(" \n") == ()
