from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.utils import get_tokenizer

from raglift import plugins
from raglift.corpus.chunking import check_some, chunk_documents
from raglift.corpus.documents import document
from raglift.errors import UserError
from raglift.records import Chunk

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
    "\n# Title\n",
    "\n##\tTab  \n",
    "\n###\u2003 \n",
    "\n```\n# code\n",
)
"""Few, so that texts repeat themselves."""
TEXTS = st.builds(
    lambda pieces, between: between.join(pieces),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=25),
    st.sampled_from(["", " ", "\n"]),
)


class HashedWords(BaseEmbedding):
    """Each word has a direction of its own."""

    def _get_text_embedding(self, text: str) -> list[float]:
        found = np.ones(16)
        for word in text.split():
            found += np.random.default_rng(list(word.encode())).normal(size=16)
        return [float(value) for value in found]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def chunked(text: str, tokens: int, overlap: int, chunker: str) -> list[Chunk]:
    return chunk_documents([document("s", text)], tokens, overlap, chunker=chunker, embedding=HashedWords)


every_chunker = pytest.mark.parametrize("chunker", plugins.names("chunker"))


@every_chunker
@given(text=TEXTS | st.text(min_size=1, max_size=80), tokens=st.integers(16, 24), data=st.data())
def test_offsets_are_exact_and_leave_nothing_out(chunker: str, text: str, tokens: int, data: st.DataObject) -> None:
    assume(any(character.isalnum() for character in text))
    overlap = data.draw(st.sampled_from([0, 0, 5, 10, 15]))
    chunks = chunked(text, tokens, overlap, chunker)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for before, chunk in pairwise(chunks):
        assert before.start <= chunk.start
        assert before.end <= chunk.end
        if not overlap:
            assert before.end <= chunk.start
    covered = {position for chunk in chunks for position in range(chunk.start, chunk.end)}
    assert [c for position, c in enumerate(text) if c.isalnum() and position not in covered] == []


@every_chunker
@given(text=TEXTS)
def test_no_piece_is_too_long(chunker: str, text: str) -> None:
    assume(any(character.isalnum() for character in text))
    count = get_tokenizer()
    # A word may take one token more without the space before it, which was counted.
    assert all(len(count(chunk.text)) <= 17 for chunk in chunked(text, 16, 0, chunker))


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
    check_some(chunks, [])
    nothing = [document("rule", "-----"), document("dots", "...")]
    with pytest.raises(UserError, match="No chunk is left") as caught:
        check_some(chunk_documents(nothing, 64, 0), nothing)
    assert caught.value.why.startswith("2 documents were read")


def test_words_are_packed_wherever_sentences_end() -> None:
    text = "One two three four five six seven. " * 6
    by_token, by_sentence = (chunked(text, 20, 0, name) for name in ("token", "sentence"))
    assert all(chunk.text.endswith(".") for chunk in by_sentence)
    assert not all(chunk.text.endswith(".") for chunk in by_token)
    assert len(by_token) <= len(by_sentence)


def test_sections_are_cut_at_headings_and_a_bare_heading_goes_with_what_follows() -> None:
    text = (
        "Before.\n\n# Manual\n\n## Install\n\nRun it.\n\n```\n# not a heading\n```\n\n"
        "##\tUse\n\n" + "Turn the key. " * 12 + "\n## End"
    )
    chunks = chunked(text, 32, 0, "markdown")
    starts = [chunk.text.partition("\n")[0] for chunk in chunks]
    assert starts[:3] == ["Before.", "# Manual", "##\tUse"]
    assert chunks[1].text.endswith("# not a heading\n```")
    assert len(chunks) > 4, "the long section is cut"
    assert all(chunk.text.startswith("Turn") for chunk in chunks[3:-1])
    assert chunks[-1].text == "## End"


def test_semantic_breaks_stand_where_the_words_change() -> None:
    first = "".join(f"Ships sail from harbour {n} with the tide. " for n in range(12))
    second = "".join(f"Bread dough rests near oven {n} in flour. " for n in range(9))
    chunks = chunked(first + second, 400, 0, "semantic")
    assert chunks[0].start == 0
    assert 1 < len(chunks) <= 3  # at most a twentieth of the 20 gaps, and ties
    sentence = len("Bread dough rests near oven 0 in flour. ")
    assert any(abs(chunk.start - len(first)) <= sentence for chunk in chunks[1:])
    cut = chunked(first + second, 16, 0, "semantic")
    assert {chunk.start for chunk in chunks} <= {chunk.start for chunk in cut}, "a long piece is cut within itself"
    assert len(cut) > len(chunks)


def test_a_chunker_that_compares_needs_a_model() -> None:
    with pytest.raises(UserError, match="'semantic' needs an embedding model") as caught:
        chunk_documents([document("s", "Some text.")], 64, 0, chunker="semantic")
    assert "embedding=" in caught.value.fix
    with pytest.raises(UserError, match="no chunker called 'semantics'") as caught:
        chunk_documents([document("s", "Some text.")], 64, 0, chunker="semantics")
    assert caught.value.why == "did you mean 'semantic'?"
