"""The process that opens FAISS files of unknown source before this one does; started by `untrusted.examine`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from raglift.confined import serve
from raglift.errors import UserError
from raglift.index.faiss_files import read_index

_DEPTH = 10
_QUERIES = 8
_BLOCK = 10_000


def main() -> None:
    """Serve requests on standard input until it ends. The limits are the last argument, as JSON."""
    limits = json.loads(sys.argv[-1])
    serve(answer, limits["seconds"], limits["memory_mb"])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a file holds (`dimension`, `count`), or why it cannot be used (`reason`).

    Every vector is read and a few are searched for: a file that FAISS accepts may still lead it astray.

    Args:
        request: `path` of the file.
    """
    try:
        index = read_index(Path(request["path"]))
        total, dimension = int(index.ntotal), int(index.d)
        if total:
            _try(index, total)
    except UserError as error:
        return {"reason": error.why}
    except MemoryError:
        raise
    except Exception as error:  # a library that is surprised by a damaged file raises anything
        return {"reason": f"{type(error).__name__}: {error}"[:200]}
    return {"dimension": dimension, "count": total}


def _try(index: Any, total: int) -> None:
    import faiss

    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    own_ids = isinstance(index, faiss.IndexIDMap)
    vectors = index.index if own_ids else index
    for start in range(0, total, _BLOCK):
        block = vectors.reconstruct_n(start, min(_BLOCK, total - start))
    found = index.search(np.ascontiguousarray(block[:_QUERIES]), min(_DEPTH, total))[1]
    if not own_ids and found.max(initial=-1) >= total:
        raise ValueError("a search found what is not there")
