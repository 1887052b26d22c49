"""An index that was brought up to its documents finds what one built on them finds, and paid for what changed."""

from __future__ import annotations

import json
import pkgutil
import random
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raglift import cli
from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.index.backend import backend_named
from raglift.index.vector_cache import FOLDER as VECTORS
from raglift.models.encoder import Encoder
from raglift.records import Target
from raglift.serve.current import FOLDER
from raglift.serve.result import RunResult, open_run
from raglift.serve.update import Account, ChunkCount, DocumentCount, VectorCount
from raglift.workspace import hold
from tests.indexed_runs import index_config, indexed_run, write_texts
from tests.tasks import QUIET
from tests.tiny import QUESTIONS, SENTENCES, build_embedding

ASKED = [question for question, _ in QUESTIONS]
ARMS = ("base", "tuned_both", "bm25", "hybrid", "tuned_hybrid")
TEXTS = {f"{number}": f"{sentence} Volume {number} says so." for number, sentence in enumerate(SENTENCES[:6])}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Path]:
    """Target -> base model; "tuned": another embedding model."""
    tuned = build_embedding(tmp_path_factory.mktemp("tuned") / "model", seed=3)
    return {"llm": tiny_llm, "embedding": tiny_embedding, "tuned": tuned}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    """A folder with documents and the workspace of a run over them, to be copied."""
    return build(tmp_path_factory.mktemp("made"), models, TEXTS).folder.parent.parent.parent


def build(root: Path, models: dict[str, Any], texts: dict[str, str], **sections: Any) -> RunResult:
    write_texts(root / "documents", texts)
    bases: dict[Target, Path] = {"llm": models["llm"], "embedding": models["embedding"]}
    return indexed_run(index_config(root / "documents", root / "indexes", bases, **sections), models["tuned"])


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """The run, moved with its documents to a folder of the test's own."""
    shutil.copytree(made, tmp_path / "own")
    return moved(tmp_path / "own")


def moved(root: Path) -> Path:
    """Have the run in the copied folder read the documents beside it."""
    state = json.loads((root / "indexes" / "runs" / "demo" / "run.json").read_text("utf-8"))
    state["config"]["data"]["documents"] = str(root / "documents")
    write_json(root / "indexes" / "runs" / "demo" / "run.json", state)
    return root


def opened(root: Path) -> RunResult:
    return open_run("demo", root / "indexes")


def rankings(run: RunResult) -> dict[str, list[list[tuple[str, str, float]]]]:
    """Arm -> question -> what is found, best first."""
    return {
        arm: [
            [(hit.node.node_id, hit.text, hit.score or 0.0) for hit in hits]
            for hits in run.retriever(arm, top_k=50).retrieve_batch(ASKED)
        ]
        for arm in ARMS
    }


def assert_same(found: RunResult, expected: RunResult) -> None:
    """Every arm of both finds the same passages with the same scores; equal scores may change places."""
    ours, theirs = rankings(found), rankings(expected)
    for arm in ARMS:
        for one, other in zip(ours[arm], theirs[arm], strict=True):
            scores = {(node_id, text): score for node_id, text, score in one}
            wanted = {(node_id, text): score for node_id, text, score in other}
            assert scores.keys() == wanted.keys()
            if "hybrid" in arm:  # the ranks of passages that are equally good are fused
                continue
            assert [scores[each] for each in wanted] == pytest.approx(list(wanted.values()), abs=1e-5)
            assert [score for *_, score in one] == pytest.approx([score for *_, score in other], abs=1e-5)


def files(root: Path) -> dict[str, bytes]:
    """Everything in the workspace but what an update may write, and locks."""
    left_out = (VECTORS, ".lock", ".holder")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "indexes").rglob("*"))
        if path.is_file() and path.name not in left_out and not {VECTORS, FOLDER} & set(path.parts)
    }


EDITED = {name: text for name, text in TEXTS.items() if name != "2"} | {
    "1": TEXTS["1"] + "\n\n" + "A second passage about tides and their hours stands here.",
    "9": "The harbour wall was painted by a child in the spring.",
}


def test_an_updated_run_finds_what_one_built_on_the_new_documents_finds(
    root: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    before = files(root)
    write_texts(root / "documents", EDITED)
    run = opened(root)
    old = rankings(run)
    account = run.update(display=QUIET)
    assert account.documents == DocumentCount(read=6, new=1, changed=1, gone=1, unchanged=4)
    assert (account.version, account.written) == ("v000001", True)
    assert files(root) == before, "artifacts, report and scores stay what they were"
    fresh = build(tmp_path / "fresh", models, EDITED)
    for found in (run, opened(root)):
        assert_same(found, fresh)
    assert rankings(run) != old
    chunks = [chunk.id for chunk in fresh.corpus.chunks]
    assert {node.node_id for node in run.retriever("bm25")._nodes.values()} == set(chunks)
    assert run._current is not None
    for which in ("base", "tuned"):
        ours = run._current.stores[which].vectors(chunks)
        np.testing.assert_allclose(ours, fresh.store(which).vectors(chunks), atol=1e-5)
    assert run._current.stores["base"].fingerprint == run.store("base").fingerprint
    assert [chunk.id for chunk in run._current.corpus.chunks] == chunks, "in the order in which a run has them"
    assert run.index("base").vector_store.get_nodes(), "the index is the updated one"
    assert len(run.index("base").vector_store) == len(chunks)
    sources = {document.source for document in run._current.corpus.documents}
    assert sources == {f"{name}.txt" for name in EDITED}
    answer = run.query_engine().query("Who painted the harbour wall?")
    assert {node.text for node in answer.source_nodes} <= {chunk.text for chunk in fresh.corpus.chunks}


def test_only_what_changed_is_cut_and_encoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []
    read: list[str] = []
    cutting, encode = current_cut(), Encoder.encode

    def spying(documents: Any, *rest: Any) -> Any:
        cut.extend(document.source for document in documents)
        return cutting(documents, *rest)

    def seeing(self: Encoder, texts: Any, *rest: Any) -> Any:
        read.extend(texts)
        return encode(self, texts, *rest)

    monkeypatch.setattr("raglift.serve.update.chunk_documents", spying)
    monkeypatch.setattr(Encoder, "encode", seeing)
    write_texts(root / "documents", EDITED)
    before = {chunk.text for chunk in opened(root).corpus.chunks}
    account = opened(root).update(display=QUIET)
    assert sorted(cut) == ["1.txt", "9.txt"]
    assert not set(read) & before, "a changed document's unchanged passages are known"
    assert len(read) == account.vectors.encoded == 2 * len(set(read)), "each by both models"
    assert account.vectors.encoded + account.vectors.known == 2 * account.chunks.added
    assert account.vectors.known > 0
    served = opened(root)._current
    assert served is not None
    assert account.chunks.kept + account.chunks.added == len(served.corpus.chunks)
    assert account.chunks.kept + account.chunks.deleted == len(opened(root).corpus.chunks)


def current_cut() -> Any:
    from raglift.corpus.chunking import chunk_documents

    return chunk_documents


def test_nothing_is_written_where_nothing_has_changed(root: Path) -> None:
    run = opened(root)
    chunks = len(run.corpus.chunks)
    account = run.update(display=QUIET)
    assert account == Account(
        DocumentCount(6, 0, 0, 0, 6), ChunkCount(0, 0, chunks), VectorCount(0, 0), account.seconds, None, False
    )
    assert not (run.folder / FOLDER).exists()
    write_texts(root / "documents", EDITED)
    run.update(display=QUIET)
    before = sorted((path, path.stat().st_mtime_ns) for path in (run.folder / FOLDER).rglob("*"))
    again = run.update(display=QUIET)
    assert (again.written, again.version, again.documents.unchanged) == (False, "v000001", 6)
    assert sorted((path, path.stat().st_mtime_ns) for path in (run.folder / FOLDER).rglob("*")) == before


@pytest.mark.slow
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_random_edits_one_after_another_leave_what_a_new_run_would_hold(
    data: st.DataObject, made: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("edits") / "own"
    shutil.copytree(made, root)
    moved(root)
    names = st.sampled_from([*TEXTS, "a", "b"])
    sentence = st.sampled_from(SENTENCES[:5])
    edits = st.dictionaries(names, st.lists(sentence, min_size=1, max_size=3).map("\n\n".join), min_size=1, max_size=5)
    run, texts = opened(root), dict(TEXTS)
    for wanted in data.draw(st.lists(edits, min_size=1, max_size=3)):
        held = run.served()
        changed = {name for name in texts.keys() & wanted.keys() if texts[name] != wanted[name]}
        expected = DocumentCount(
            len(wanted),
            len(wanted.keys() - texts.keys()),
            len(changed),
            len(texts.keys() - wanted.keys()),
            len(texts.keys() & wanted.keys()) - len(changed),
        )
        write_texts(root / "documents", wanted)
        account = run.update(display=QUIET)
        texts = wanted
        assert account.documents == expected
        assert account.chunks.kept + account.chunks.deleted == held["chunks"]
        assert run.served()["chunks"] == account.chunks.kept + account.chunks.added
        assert account.vectors.encoded + account.vectors.known == 2 * account.chunks.added
    fresh = build(root / "fresh", models, texts)
    chunks = [chunk.id for chunk in fresh.corpus.chunks]
    for which in ("base", "tuned"):
        store = run._served_store(which)
        assert {node.node_id for node in store.get_nodes()} == set(chunks)
        np.testing.assert_allclose(store.vectors(chunks), fresh.store(which).vectors(chunks), atol=1e-5)
    assert_same(run, fresh)


STOPS = {
    "adding": ("raglift.index.encoding.FaissStore.add_vectors", None),
    "writing": ("raglift.index.store.write_version", None),
    "words": ("raglift.index.bm25.Bm25.save", None),
    "sealing": ("raglift.index.persistence.write_json", ".v000001.partial"),
    "pointing": ("raglift.index.persistence.write_json", FOLDER),
}
"""Where an update is stopped: a function, and the folder of the file that it is to write."""


@pytest.mark.parametrize("at", STOPS)
def test_an_update_that_stops_anywhere_leaves_what_was_served(
    root: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    write_texts(root / "documents", EDITED)
    run = opened(root)
    before = rankings(run)
    place, folder = STOPS[at]
    whole = pkgutil.resolve_name(place)

    def stop(*args: Any, **rest: Any) -> Any:
        if folder is None or (args[0].parent.name == folder and "base" not in args[0].parts):
            raise KeyboardInterrupt
        return whole(*args, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(KeyboardInterrupt):
            run.update(display=QUIET)
    assert run.served()["version"] is None
    assert rankings(opened(root)) == before
    encoded: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts, *rest: encoded.append(len(texts)) or encode(self, texts, *rest)
    )
    account = opened(root).update(display=QUIET)
    assert account.version == ("v000002" if at == "pointing" else "v000001")
    assert sum(encoded) == account.vectors.encoded
    assert bool(encoded) == (at == "adding"), "what an update had encoded is not encoded again"
    assert [path.name for path in (run.folder / FOLDER).iterdir() if path.is_dir()] == [account.version]


UPDATES = """
import sys
from raglift.serve.result import open_run
from tests.indexed_runs import write_texts
from tests.serve.test_update import QUIET, numbered
from pathlib import Path
root = Path(sys.argv[1])
run = open_run("demo", root / "indexes")
print("ready", flush=True)
for number in range(int(sys.argv[2]), 10_000):
    write_texts(root / "documents", numbered(number))
    run.update(display=QUIET)
"""


def numbered(number: int) -> dict[str, str]:
    """As many documents of an edition as tell its number."""
    return {f"{row}": f"{SENTENCES[row]} Edition {number}." for row in range(2 + number % 3)}


@pytest.mark.slow
def test_an_update_that_is_killed_leaves_the_old_state_or_the_new(root: Path) -> None:
    chance = random.Random(3)
    write_texts(root / "documents", numbered(0))
    opened(root).update(display=QUIET)
    unfinished = 0
    for attempt in range(3):
        first = 1 + 1000 * attempt
        command = [sys.executable, "-c", UPDATES, str(root), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.3, 1.5))
            process.kill()
        run = opened(root)
        unfinished += any((run.folder / FOLDER).glob(".*.partial"))
        found = run._current
        assert found is not None
        texts = {node.get_content() for node in found.stores["base"].get_nodes()}
        (edition,) = {int(text.rpartition("Edition ")[2][:-1]) for text in texts if "Edition" in text}
        assert len(found.corpus.documents) == 2 + edition % 3
        ids = {chunk.id for chunk in found.corpus.chunks}
        assert {node.node_id for node in found.stores["base"].get_nodes()} == ids
        assert {node.node_id for node in found.stores["tuned"].get_nodes()} == ids
        assert set(found.bm25._ids) == ids
    write_texts(root / "documents", numbered(1))
    opened(root).update(display=QUIET)
    assert opened(root).served()["documents"] == 3
    assert len([path for path in (run.folder / FOLDER).iterdir() if path.is_dir()]) == 1


def test_a_second_update_at_the_same_time_is_refused(root: Path) -> None:
    with hold(root / "indexes", "update of demo"), pytest.raises(UserError, match="using the workspace") as caught:
        opened(root).update(display=QUIET)
    assert "update of demo" in caught.value.why


def test_all_documents_gone_is_refused_unless_it_is_meant(root: Path) -> None:
    write_texts(root / "documents", {})
    run = opened(root)
    with pytest.raises(UserError, match="None of the run's documents") as caught:
        run.update(display=QUIET)
    assert "--allow-empty" in caught.value.fix
    assert run.served()["version"] is None
    account = run.update(allow_empty=True, display=QUIET)
    assert account.documents == DocumentCount(0, 0, 0, 6, 0)
    assert rankings(run) == {arm: [[] for _ in ASKED] for arm in ARMS}
    write_texts(root / "documents", TEXTS)
    assert run.update(display=QUIET).documents.new == 6
    assert all(rankings(run)["base"])


def test_another_base_model_in_its_place_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(root)
    write_texts(root / "documents", EDITED)

    def other(self: RunResult) -> None:
        raise UserError("The embedding model is not the one that the run was made with.")

    monkeypatch.setattr(RunResult, "check_models", other)
    with pytest.raises(UserError, match="not the one"):
        run.update(display=QUIET)
    assert not (run.folder / FOLDER).exists()


def test_a_folder_that_is_not_there_is_said(root: Path) -> None:
    shutil.rmtree(root / "documents")
    for allow_empty in (False, True):
        with pytest.raises(UserError, match="There is no folder"):
            opened(root).update(allow_empty, QUIET)


def test_documents_without_a_letter_are_known_again(root: Path) -> None:
    write_texts(root / "documents", TEXTS | {"signs": "... --- ..."})
    run = opened(root)
    account = run.update(display=QUIET)
    assert (account.documents.new, account.chunks.added, account.written) == (1, 0, True)
    assert not run.update(display=QUIET).written


def test_a_run_that_was_made_again_serves_what_it_was_scored_with(root: Path, models: dict[str, Path]) -> None:
    write_texts(root / "documents", EDITED)
    run = opened(root)
    run.update(display=QUIET)
    stages = [stage | {"key": "another"} if stage["name"] == "bm25" else stage for stage in run.state["stages"]]
    write_json(run.folder / "run.json", run.state | {"stages": stages})
    assert opened(root).served()["version"] is None
    assert opened(root)._current is None


def test_damage_is_said_with_the_way_out(root: Path) -> None:
    write_texts(root / "documents", EDITED)
    run = opened(root)
    run.update(display=QUIET)
    (run.folder / FOLDER / "v000001" / "chunks.jsonl").write_text("")
    with pytest.raises(UserError, match="damaged") as caught:
        opened(root).retriever("base")
    assert str(run.folder / FOLDER) in caught.value.fix
    shutil.rmtree(run.folder / FOLDER)
    assert opened(root).retriever("base")


def test_what_was_opened_before_goes_on_over_the_documents_as_they_were(root: Path) -> None:
    write_texts(root / "documents", EDITED)
    run = opened(root)
    run.update(display=QUIET)
    reader = run.retriever("tuned_hybrid", top_k=50)
    before = [[hit.text for hit in hits] for hits in reader.retrieve_batch(ASKED)]
    for texts in (TEXTS, EDITED, TEXTS):
        write_texts(root / "documents", texts)
        opened(root).update(display=QUIET)
    assert [[hit.text for hit in hits] for hits in reader.retrieve_batch(ASKED)] == before


def test_the_cache_may_be_off(root: Path) -> None:
    state = json.loads((root / "indexes" / "runs" / "demo" / "run.json").read_text("utf-8"))
    state["config"]["runtime"]["vector_cache"] = False
    write_json(root / "indexes" / "runs" / "demo" / "run.json", state)
    shutil.rmtree(root / "indexes" / VECTORS)
    write_texts(root / "documents", EDITED)
    account = opened(root).update(display=QUIET)
    assert account.vectors == VectorCount(2 * account.chunks.added, 0)
    assert not (root / "indexes" / VECTORS).exists()


def cache_file(run: RunResult, which: str, folder: Path) -> Path:
    return run.models.passages(which, folder).cache(backend_named("torch")).path


def test_weights_prompt_and_precision_have_a_cache_each(root: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    def caches(model: Path, tuned: Path | None, dtype: str = "float32") -> dict[str, Path]:
        bases: dict[Target, Path] = {"llm": models["llm"], "embedding": model}
        config = index_config(root / "documents", tmp_path / dtype, bases)
        config["runtime"]["dtype"] = dtype
        run = indexed_run(config, tuned)
        return {which: cache_file(run, which, tmp_path / "same") for which in ("base", "tuned")}

    found = caches(models["embedding"], models["tuned"])
    assert found["base"] != found["tuned"]
    won = caches(models["embedding"], None)
    assert won == {"base": found["base"], "tuned": found["base"]}, "the base's own where the base won"
    prompted = caches(build_embedding(tmp_path / "prompted", prompts={"document": "passage: "}), None)
    half = caches(models["embedding"], models["tuned"], "bfloat16")
    every = [*found.values(), prompted["base"], *half.values()]
    assert len(set(every)) == len(every)


def test_weights_that_were_trained_anew_under_the_same_key_are_others(root: Path, models: dict[str, Path]) -> None:
    run = opened(root)
    before, key = cache_file(run, "tuned", root), run.models.embedding_key("tuned")
    folder = run.models.path("embedding", "tuned")
    shutil.rmtree(folder)
    build_embedding(folder, seed=9)
    assert run.models.embedding_key("tuned") == key
    assert cache_file(run, "tuned", root) != before


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*words: str) -> tuple[int, str, str]:
        code = cli.main(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def test_the_commands_print_the_account(root: Path, printed: Any) -> None:
    where = ("demo", "--workspace", str(root / "indexes"))
    code, out, _ = printed("index", "status", *where)
    assert (code, "demo serves what it was scored with: 6 documents" in out) == (0, True)
    code, out, err = printed("index", "update", *where)
    assert (code, out.startswith("Nothing has changed in 6 documents; nothing was written")) == (0, True)
    assert "reading documents" in err
    write_texts(root / "documents", EDITED)
    code, out, err = printed("index", "update", *where, "--json", "--quiet")
    value = json.loads(out)
    assert (code, err) == (0, "")
    assert value["documents"] == asdict(DocumentCount(6, 1, 1, 1, 4))
    assert (value["version"], value["written"]) == ("v000001", True)
    told = json.loads(printed("index", "status", *where, "--json")[1])
    assert (told["version"], told["documents"]) == ("v000001", 6)
    assert told["account"]["chunks"] == value["chunks"]
    write_texts(root / "documents", TEXTS)
    _, out, _ = printed("index", "update", *where)
    rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if line.strip() and line.split()[-1].isdigit())
    assert {name.strip(): int(count) for name, count in rows.items()}["changed"] == 1
    assert "Served from now on: v000002" in out
    write_texts(root / "documents", {})
    code, _, err = printed("index", "update", *where)
    assert (code, "--allow-empty" in err) == (2, True)
    assert printed("index", "update", *where, "--allow-empty")[0] == 0
