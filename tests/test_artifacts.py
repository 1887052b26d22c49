from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raglift import artifacts
from raglift.artifacts import MANIFEST, WORK, DamagedError, Store, disk_errors, stage_key, write_atomic, write_json
from raglift.errors import UserError

FILES = {"one.txt": b"first", "deep/two.bin": bytes(range(8)), "deep/manifest.json": b"{}", "empty": b""}


def write(out: Path) -> None:
    (out / WORK / "journal").write_text("half way")
    for name, data in FILES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def never(out: Path) -> None:
    raise AssertionError("a finished artifact is not written again")


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != folder / MANIFEST
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "indexes")


@pytest.fixture
def built(store: Store) -> Path:
    return store.build("corpus", "k", write).path


def test_keys_depend_on_everything_that_decides() -> None:
    base = ("corpus", 1, {"a": 1, "b": [1, 2]}, {"documents": "d"})
    assert stage_key(*base) == "c78d5875b1a39162"
    assert stage_key("corpus", 1, {"b": [1, 2], "a": 1}, {"documents": "d"}) == stage_key(*base)
    others = [
        ("index", 1, {"a": 1, "b": [1, 2]}, {"documents": "d"}),
        ("corpus", 2, {"a": 1, "b": [1, 2]}, {"documents": "d"}),
        ("corpus", 1, {"a": 1, "b": [2, 1]}, {"documents": "d"}),
        ("corpus", 1, {"a": 1, "b": [1, 2]}, {"documents": "e"}),
    ]
    assert len({stage_key(*base), *(stage_key(*other) for other in others)}) == 5


def test_build_then_cached(store: Store) -> None:
    assert store.open("corpus", "k") is None
    first = store.build("corpus", "k", write)
    assert (first.cached, first.path) == (False, store.folder("corpus", "k"))
    assert files_in(first.path) == FILES
    assert [path.name for path in first.path.parent.iterdir()] == ["k"]
    again = store.build("corpus", "k", never)
    assert again.cached
    assert again.seconds == round(first.seconds, 3)
    assert store.open("corpus", "k") == again
    assert store.open("corpus", "other") is None


def test_a_flipped_byte_anywhere_is_found_and_named(store: Store, built: Path) -> None:
    for path in sorted(path for path in built.rglob("*") if path.is_file()):
        sound = path.read_bytes()
        for position in range(len(sound)):
            for flip in (0x01, 0x20, 0xFF):
                changed = bytearray(sound)
                changed[position] ^= flip
                path.write_bytes(changed)
                with pytest.raises(DamagedError) as caught:
                    store.open("corpus", "k")
                assert str(path) in caught.value.what
        path.write_bytes(sound)
    assert store.open("corpus", "k") is not None


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_artifact_is_built_again(store: Store, built: Path, name: str) -> None:
    (built / name).write_bytes(b"something else")
    warnings: list[str] = []
    rebuilt = store.build("corpus", "k", write, warnings.append)
    assert not rebuilt.cached
    assert warnings == [f"{built / name} is damaged. Building it again."]
    assert files_in(built) == FILES
    assert store.open("corpus", "k") is not None


@pytest.mark.parametrize("manifest", ["null", "[]", "{}", "1", '{"files": {}}', ""])
def test_a_manifest_that_is_none_is_damaged(store: Store, built: Path, manifest: str) -> None:
    (built / MANIFEST).write_text(manifest)
    with pytest.raises(DamagedError, match=MANIFEST):
        store.open("corpus", "k")


def test_an_artifact_under_another_key_is_damaged(store: Store, built: Path) -> None:
    shutil.copytree(built, store.folder("corpus", "other"))
    with pytest.raises(DamagedError, match=MANIFEST):
        store.open("corpus", "other")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(store: Store, built: Path, name: str) -> None:
    (built / name).unlink()
    with pytest.raises(DamagedError) as caught:
        store.open("corpus", "k")
    assert caught.value.what == f"{built / name} is missing."
    assert not store.build("corpus", "k", write).cached


@pytest.mark.parametrize("name", ["three.txt", "deep/three.txt", f"{WORK}/three.txt", ".hidden"])
def test_an_extra_file_is_named(store: Store, built: Path, name: str) -> None:
    (built / name).parent.mkdir(exist_ok=True)
    (built / name).touch()
    with pytest.raises(DamagedError) as caught:
        store.open("corpus", "k")
    assert caught.value.what == f"{built / name} is not in the manifest."


def test_without_a_manifest_it_does_not_exist_and_is_built(store: Store, built: Path) -> None:
    (built / MANIFEST).unlink()
    assert store.open("corpus", "k") is None
    assert not store.build("corpus", "k", write).cached
    assert files_in(built) == FILES


def test_an_interruption_keeps_the_work_and_nothing_else(store: Store) -> None:
    def interrupted(out: Path) -> None:
        write(out)
        (out / "half.txt").touch()
        (out / "half" / "deep").mkdir(parents=True)
        raise KeyboardInterrupt

    def go_on(out: Path) -> None:
        assert (out / WORK / "journal").read_text() == "half way"
        write(out)

    with pytest.raises(KeyboardInterrupt):
        store.build("corpus", "k", interrupted)
    assert store.open("corpus", "k") is None
    assert files_in(store.build("corpus", "k", go_on).path) == FILES
    assert [path.name for path in (store.root / "corpus").iterdir()] == ["k"]


def test_seconds_are_counted_over_all_attempts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 100.0, 105.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))

    def fail(out: Path) -> None:
        raise UserError("no")

    with pytest.raises(UserError):
        store.build("corpus", "k", fail)
    assert store.build("corpus", "k", write).seconds == 15.0
    assert store.build("corpus", "k", never).seconds == 15.0


KILLED = """
import os, signal, sys
from pathlib import Path
from raglift.artifacts import Store, write_json

at, count = int(sys.argv[2]), 0

def write(out):
    (out / "work" / "journal").write_text("half way")
    (out / "deep").mkdir()
    (out / "deep" / "two.bin").write_bytes(b"22")
    write_json(out / "one.json", [1])

def watch(event, args):
    global count
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir"):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
Store(Path(sys.argv[1])).build("corpus", "k", write)
"""


def test_kill_leaves_no_artifact_or_a_whole_one(tmp_path: Path) -> None:
    whole = {"deep/two.bin": b"22", "one.json": b"[\n 1\n]\n"}

    def write_again(out: Path) -> None:
        (out / "deep").mkdir()
        (out / "deep" / "two.bin").write_bytes(b"22")
        write_json(out / "one.json", [1])

    ends = []
    for at in range(1, 200):
        store = Store(tmp_path / str(at))
        done = subprocess.run([sys.executable, "-c", KILLED, str(store.root), str(at)], check=False, timeout=60)
        found = store.open("corpus", "k")
        ends.append(found is not None)
        if found is not None:
            assert files_in(found.path) == whole
        assert files_in(store.build("corpus", "k", write_again).path) == whole
        assert [path.name for path in (store.root / "corpus").iterdir()] == ["k"]
        if done.returncode == 0:
            break
        assert done.returncode == -9
    assert ends == sorted(ends)  # once it is there, it stays
    assert len(ends) > 15
    assert ends[-1]


def _failing(number: int) -> Callable[..., None]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, "simulated")

    return fail


def test_a_full_disk_while_writing(store: Store) -> None:
    with pytest.raises(UserError, match="full") as caught:
        store.build("corpus", "k", _failing(errno.ENOSPC))
    assert "MB are free" in caught.value.why
    assert not store.build("corpus", "k", write).cached


def test_a_full_disk_at_the_end_loses_no_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "write_atomic", _failing(errno.ENOSPC))
        with pytest.raises(UserError, match="full"):
            store.build("corpus", "k", write)
    assert store.open("corpus", "k") is None
    assert (store.root / "corpus" / "k.partial" / WORK / "journal").exists()


@pytest.mark.parametrize(("number", "what"), [(errno.EACCES, "Cannot write to"), (errno.ENOSPC, "is full")])
def test_a_folder_that_cannot_be_made(store: Store, monkeypatch: pytest.MonkeyPatch, number: int, what: str) -> None:
    monkeypatch.setattr(Path, "mkdir", _failing(number))
    with pytest.raises(UserError, match=what) as caught:
        store.build("corpus", "k", write)
    assert str(store.root) in caught.value.what
    assert caught.value.fix


def test_a_read_only_file_system(store: Store) -> None:
    with pytest.raises(UserError, match="Cannot write to") as caught:
        store.build("corpus", "k", _failing(errno.EROFS))
    assert "workspace" in caught.value.fix


def test_other_errors_of_the_operating_system_are_not_disguised(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.build("corpus", "k", _failing(errno.ENOENT))


def test_write_atomic_replaces_or_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _failing(errno.EIO))
        with pytest.raises(OSError, match="simulated"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_write_atomic_on_a_full_disk_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, name, _failing(number))
        with pytest.raises(UserError, match=f"The disk that holds {tmp_path} is full") as caught:
            write_atomic(path, b"new")
        with pytest.raises(UserError, match="is full"):
            write_json(tmp_path / "other.json", [1])
    assert "MB are free" in caught.value.why
    assert "Free some space" in caught.value.fix
    assert files_in(tmp_path) == {"file": b"old"}


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_from_other_errors_by_its_words_too(tmp_path: Path) -> None:
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(UserError, match="is full"), disk_errors(tmp_path / "not" / "there yet"):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="another"), disk_errors(tmp_path):
        raise RuntimeError("another error")
    with pytest.raises(UserError, match="Cannot write to") as caught, disk_errors(tmp_path, "another cache"):
        raise PermissionError(errno.EACCES, "denied")
    assert caught.value.fix == "Choose another cache, or mend its permissions."


@pytest.mark.parametrize(
    "number", [errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.EROFS, errno.EPERM]
)
def test_a_place_that_cannot_be_written_to_is_the_users_to_mend(tmp_path: Path, number: int) -> None:
    with pytest.raises(UserError, match="Cannot write to") as caught, disk_errors(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "x") in caught.value.what
    assert os.strerror(number) in caught.value.why
    with pytest.raises(OSError, match="another"), disk_errors(tmp_path):
        raise OSError(errno.ECHILD, "another error")


@pytest.mark.parametrize("name", ["file/x", "file/sub/x", "folder", "n" * 300])
def test_a_name_that_cannot_be_a_file_is_the_users_to_mend(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="Cannot write to"):
        write_atomic(tmp_path / name, b"new")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_write_json_is_readable_and_sorted(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "\u00e9", "a": 1.5})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n "a": 1.5,\n "b": "\u00e9"\n}\n'
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": 1.5, "b": "\u00e9"}
