from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from raglift.config import RuntimeConfig
from raglift.errors import UserError
from raglift.models.device import resolve
from raglift.workspace import hold, is_held


def test_a_second_holder_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there yet"
    with hold(root, "run first"):
        with pytest.raises(UserError, match="Another run is using the workspace") as caught, hold(root, "run second"):
            pass
        assert str(root) in caught.value.what
        assert caught.value.why == f"Held by process {os.getpid()}, run first."
        assert "`workspace`" in caught.value.fix
        assert is_held(root)  # the refused one has not let go of it
    with hold(root, "run second"), pytest.raises(UserError, match="run second"), hold(root, "run third"):
        pass


def test_a_first_holder_that_could_not_sign_is_not_named(tmp_path: Path) -> None:
    with hold(tmp_path, "run first"):
        (tmp_path / ".holder").unlink()
        with pytest.raises(UserError, match="Another run") as caught, hold(tmp_path, "run second"):
            pass
    assert caught.value.why == "Two runs at once would write into each other's folders."


def test_two_workspaces_do_not_mind_each_other(tmp_path: Path) -> None:
    with hold(tmp_path / "one", "run"), hold(tmp_path / "two", "run"):
        assert is_held(tmp_path / "one")
        assert is_held(tmp_path / "two")


def test_held_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())  # looking leaves no trace
    assert not is_held(tmp_path / "none")
    with hold(tmp_path, "run"):
        assert is_held(tmp_path)
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with hold(tmp_path, "run"):  # looking did not take it
        pass


def test_an_error_inside_passes_and_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path, "run"):
        raise ZeroDivisionError
    assert not is_held(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write to the workspace") as caught, hold(tmp_path / name, "run"):
        pass
    assert str(tmp_path / name) in caught.value.what
    assert caught.value.why
    assert not is_held(tmp_path / name)


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="Cannot write to the workspace"), hold(tmp_path, "run"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_where_the_holder_cannot_sign_is_let_go(tmp_path: Path) -> None:
    (tmp_path / ".holder").mkdir()
    with pytest.raises(UserError, match="Cannot write to "), hold(tmp_path, "run"):
        pass
    assert not is_held(tmp_path)


@contextmanager
def looked_at(root: Path, seconds: float) -> Iterator[None]:
    """Begin while somebody has the lock for so long, as a look at it does."""
    begun = threading.Event()

    def look() -> None:
        with FileLock(str(root / ".lock")):
            begun.set()
            time.sleep(seconds)

    thread = threading.Thread(target=look)
    thread.start()
    begun.wait()
    yield
    thread.join()


def test_a_look_at_the_workspace_does_not_refuse_a_run(tmp_path: Path) -> None:
    with looked_at(tmp_path, 0.2), hold(tmp_path, "run"):
        assert (tmp_path / ".holder").read_text() == f"process {os.getpid()}, run"


def test_two_looks_at_once_do_not_take_each_other_for_a_run(tmp_path: Path) -> None:
    with looked_at(tmp_path, 0.03):
        assert not is_held(tmp_path)


def test_a_workspace_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for root in (file, file / "below"):
        with pytest.raises(UserError, match=f"Cannot write to the workspace {root}") as caught, hold(root, "run"):
            pass
        assert "another `workspace`" in caught.value.fix
        with pytest.raises(UserError, match="Cannot write to") as caught:  # what a run writes before it holds it
            resolve(RuntimeConfig(device="cpu", threads=1, dtype="auto"), root)
        assert "another `workspace`" in caught.value.fix
        assert not is_held(root)
    assert file.read_text() == "mine"
