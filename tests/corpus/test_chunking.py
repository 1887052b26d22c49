from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raglift.corpus.chunking import chunk_documents
from raglift.corpus.documents import document
from raglift.errors import UserError

PIECES = (
    "Alpha beta gamma.",
    "The dog ran home!",
    "Why not? ",
    "\u00fcml\u00e4ut \u00fcber stra\u00dfe?",
    "\u65e5\u672c\u8a9e\u306e\u6587\u3067\u3059\u3002",
    '"Quoted." (yes.)',
    "a, b; c",
    "\U0001f642\U0001f642 ok.",
    "e.g. Mr. Smith",
    "...",
    "\n\n\n",
    "\n",
    "\u2003\x1c",
)
"""Few, so that texts repeat themselves."""
TEXTS = st.builds(
    lambda pieces, between: between.join(pieces),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=25),
    st.sampled_from(["", " ", "\n"]),
)


@given(text=TEXTS | st.text(min_size=1, max_size=80), tokens=st.integers(16, 24), data=st.data())
def test_offsets_are_exact_and_leave_nothing_out(text: str, tokens: int, data: st.DataObject) -> None:
    assume(any(character.isalnum() for character in text))
    overlap = data.draw(st.sampled_from([0, 0, 5, 10, 15]))
    chunks = chunk_documents([document("s", text)], tokens, overlap)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for before, chunk in pairwise(chunks):
        assert before.start <= chunk.start
        assert before.end <= chunk.end
        if not overlap:
            assert before.end <= chunk.start
    covered = {position for chunk in chunks for position in range(chunk.start, chunk.end)}
    assert [c for position, c in enumerate(text) if c.isalnum() and position not in covered] == []


@pytest.mark.parametrize("overlap", [0, 12])
def test_a_text_of_one_sentence_said_again_and_again(overlap: int) -> None:
    text = "The cat sat on the mat. " * 20
    chunks = chunk_documents([document("s", text)], 32, overlap)
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})
    assert all(chunk.start % 24 == 0 for chunk in chunks)
    assert (chunks[0].start, chunks[-1].end) == (0, len(text) - 1)
    shared = [before.end - after.start for before, after in pairwise(chunks)]
    assert min(shared) == -1  # the space between: nothing is left out
    assert overlap or max(shared) == -1


def test_chunks_carry_their_document_and_source() -> None:
    documents = [document("one.md", "A first text."), document("two.md", "A first text.")]
    chunks = chunk_documents(documents, 64, 0)
    assert [(c.document_id, c.metadata) for c in chunks] == [(d.id, {"source": d.source}) for d in documents]
    assert chunks[0].id != chunks[1].id
    assert chunk_documents(documents, 64, 0) == chunks


def test_what_holds_no_letter_or_digit_is_no_chunk() -> None:
    chunks = chunk_documents([document("rule", "-----"), document("text", "words")], 64, 0)
    assert [chunk.text for chunk in chunks] == ["words"]
    with pytest.raises(UserError, match="No chunk is left") as caught:
        chunk_documents([document("rule", "-----"), document("dots", "...")], 64, 0)
    assert caught.value.why.startswith("2 documents were read")
