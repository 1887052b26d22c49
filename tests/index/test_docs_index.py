"""docs/index.md as it is typed: every example runs and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import faiss
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex

from raglift.records import Target
from tests.indexed_runs import index_config, indexed_run, write_texts
from tests.test_docs import ROOT, blocks
from tests.tiny import SENTENCES

BLOCKS = blocks((ROOT / "docs" / "index.md").read_text("utf-8"), "python")


def promised(block: str) -> list[str]:
    """What stands behind each print, up to a colon."""
    return [match[1] for match in re.finditer(r"^print\(.*\)  +# ([^:\n]+)", block, re.MULTILINE)]


def served(root: Path, llm: Path, embedding: Path) -> None:
    """The run that the page speaks of, over other documents."""
    write_texts(root / "my-docs", {str(number): sentence for number, sentence in enumerate(SENTENCES)})
    models: dict[Target, Path] = {"llm": llm, "embedding": embedding}
    indexed_run(index_config(root / "my-docs", root / "indexes", models, run="quickstart"))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_examples_print_what_they_say(
    number: int,
    tmp_path: Path,
    tiny_llm: Path,
    tiny_embedding: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = BLOCKS[number]
    monkeypatch.chdir(tmp_path)
    if "from_llama_index" in block:
        theirs = pytest.importorskip("llama_index.vector_stores.faiss").FaissVectorStore(faiss.IndexFlatL2(8))
        storage = StorageContext.from_defaults(vector_store=theirs)
        VectorStoreIndex.from_documents(
            [Document(text="t")], storage_context=storage, embed_model=MockEmbedding(embed_dim=8)
        )
        storage.persist("storage")
    if "open_run" in block:
        served(tmp_path, tiny_llm, tiny_embedding)
    exec(compile(block, "docs/index.md", "exec"), {"__name__": "example"})
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("WARNING")]
    assert printed == promised(block)


def test_the_examples_promise_something() -> None:
    assert [len(promised(block)) for block in BLOCKS] == [3, 1, 1, 1, 0, 3, 0]
