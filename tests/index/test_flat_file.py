"""The file of exact vectors is FAISS's own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.index.faiss_files import read_index
from raglift.index.flat_file import FlatWriter


@settings(max_examples=30, deadline=None)
@given(dimension=st.integers(1, 40), sizes=st.lists(st.integers(0, 20), max_size=5))
def test_it_is_what_faiss_writes(dimension: int, sizes: list[int]) -> None:
    vectors = np.random.default_rng(0).normal(size=(sum(sizes), dimension)).astype(np.float32)
    index = faiss.IndexFlatIP(dimension)
    index.add(vectors)
    with TemporaryDirectory() as name:
        theirs, ours = Path(name, "theirs"), Path(name, "ours")
        faiss.write_index(index, str(theirs))
        start = 0
        with FlatWriter(ours, dimension) as writer:
            for size in sizes:
                writer.add(vectors[start : start + size])
                start += size
        assert ours.read_bytes() == theirs.read_bytes()
        assert read_index(ours, mapped=True).ntotal == len(vectors)
