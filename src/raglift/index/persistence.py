"""A folder of versions: written whole or not at all, by one process at a time, and read by any number.

FOLDER/current.json     the name of the version that holds, replaced in one step
FOLDER/v000001/         its files, and manifest.json with the sha256 of each
FOLDER/.lock            held while a version is written
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from raglift.artifacts import disk_errors, file_sha256, sync, write_json
from raglift.errors import UserError

POINTER = "current.json"
MANIFEST = "manifest.json"
LOCK = ".lock"
FORMAT = 1
_VERSION = re.compile(r"v[0-9]{6,}")
_PARTIAL = re.compile(r"\.v[0-9]{6,}\.partial")
_TEMPORARY = re.compile(rf"\.{re.escape(POINTER)}\.[0-9]+\.tmp")
_MANIFEST_KEYS = {"format", "facts", "files"}
_PATIENCE = 0.2
"""Seconds after which a held folder is refused."""
_READS = 5
"""Tries to read a version that another process replaces meanwhile."""


Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Version:
    """A finished version.

    Attributes:
        path: Its folder.
        facts: What its writer said of it.
    """

    path: Path
    facts: dict[str, Any]


def write_version(root: Path, fill: Callable[[Path], dict[str, Any]], based_on: str | None) -> str:
    """Write a new version and make it the one that holds; its name. A process that dies leaves the old one.

    Args:
        fill: Fills the folder that it is given; what it returns is kept in the manifest as facts.
        based_on: The version that the new one was made from: where another one holds meanwhile, nothing is written.
            None: replace whatever is there.

    Raises:
        UserError: Another process is writing or has written, or the disk is full or may not be written.
    """
    with disk_errors(root, "another folder"):
        root.mkdir(parents=True, exist_ok=True)
        with _only_writer(root):
            current = current_version(root)
            if based_on is not None and current != based_on:
                raise UserError(
                    f"{root} has changed since it was opened.",
                    f"It was opened at {based_on} and is at {current}; writing would lose what came between.",
                    "Open it again and repeat the change.",
                )
            name = _next_name(root)
            _write(root, name, fill)
            _sweep(root, name)
            return name


def _write(root: Path, name: str, fill: Callable[[Path], dict[str, Any]]) -> None:
    partial = _partial(root, name)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        facts = fill(partial)
        within = sorted(partial.rglob("*"))
        for path in within:
            sync(path)
        files = {path.relative_to(partial).as_posix(): file_sha256(path) for path in within if path.is_file()}
        write_json(partial / MANIFEST, {"format": FORMAT, "facts": facts, "files": files})
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(partial)
        raise
    os.replace(partial, root / name)
    sync(root)
    write_json(root / POINTER, {"version": name, "manifest": file_sha256(root / name / MANIFEST)})


def current_version(root: Path) -> str | None:
    """The name of the version that holds, or None."""
    pointer = _pointer(root)
    return None if pointer is None else pointer["version"]


def open_version(root: Path, read: Callable[[Version], Opened], verify: bool = True) -> tuple[str, Opened]:
    """The version that holds, and what `read` made of it.

    Args:
        verify: Whether every file is compared with its checksum first.

    Raises:
        UserError: There is none, or a file is missing or changed; the error names it.
    """
    for _ in range(_READS):
        pointer = _pointer(root)
        if pointer is None:
            raise UserError(
                f"There is no index in {root}.", f"{root / POINTER} is missing.", "Check the path, or build the index."
            )
        try:
            version = _version(root, pointer, verify)
            return pointer["version"], read(version)
        except FileNotFoundError as error:
            missing = error
            if _pointer(root) == pointer:
                break  # nobody has replaced it: it really is missing
        except (ValueError, KeyError, TypeError, EOFError) as error:  # sealed, but not by this program
            raise damaged(root / pointer["version"], f"{type(error).__name__}: {error}") from error
    raise damaged(Path(missing.filename or root), "It is missing.") from missing


def _inside(name: str) -> bool:
    """Whether a name is of a file in the folder itself, or in one that lies in it."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _version(root: Path, pointer: dict[str, str], verify: bool) -> Version:
    path = root / pointer["version"]
    if file_sha256(path / MANIFEST) != pointer["manifest"]:
        raise damaged(path / MANIFEST, "Its sha256 differs from what the folder says.")
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    if manifest["format"] != FORMAT:
        raise UserError(
            f"{path} was written in format {manifest['format']}.",
            f"This raglift reads format {FORMAT}.",
            "Use the raglift that wrote it, or build the index anew.",
        )
    files = manifest["files"]
    if not isinstance(files, dict) or not files or not all(map(_inside, files)):
        raise damaged(path / MANIFEST, "It does not list the files of its folder.")
    for name, digest in files.items() if verify else ():
        if file_sha256(path / name) != digest:
            raise damaged(path / name, "Its sha256 differs from the manifest.")
    return Version(path, manifest["facts"])


def _pointer(root: Path) -> dict[str, str] | None:
    try:
        pointer = json.loads((root / POINTER).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise damaged(root / POINTER, str(error)) from error
    if not isinstance(pointer, dict) or set(pointer) != {"version", "manifest"}:
        raise damaged(root / POINTER, "It does not name a version.")
    if not isinstance(pointer["version"], str) or not _VERSION.fullmatch(pointer["version"]):
        raise damaged(root / POINTER, f"It names {pointer['version']!r}, which is no version.")
    return pointer


def damaged(path: Path, why: str) -> UserError:
    """The error of a file that is not what `write_version` made."""
    return UserError(f"{path} is damaged.", why, "Put a copy of the folder back, or build the index anew.")


def _partial(root: Path, name: str) -> Path:
    return root / f".{name}.partial"


def _next_name(root: Path) -> str:
    numbers = [int(path.name[1:]) for path in root.iterdir() if _VERSION.fullmatch(path.name)]
    return f"v{max(numbers, default=0) + 1:06d}"


def _sweep(root: Path, kept: str) -> None:
    """Remove the versions before, and what writers that died left; a reader keeps the files that it has open.

    The folder may hold what is somebody else's: only what this module has written goes.
    """
    for path in [path for path in root.iterdir() if _PARTIAL.fullmatch(path.name)]:
        shutil.rmtree(path, ignore_errors=True)  # a system that locks open files: the next writer tries again
    for path in [path for path in root.iterdir() if path.name != kept and _is_version(path)]:
        with suppress(OSError):
            # Once its manifest is gone nobody knows a version: a writer that dies here leaves it by a partial's name.
            gone = path.rename(_partial(root, path.name))
            shutil.rmtree(gone, ignore_errors=True)
    for path in [path for path in root.iterdir() if _TEMPORARY.fullmatch(path.name)]:
        path.unlink(missing_ok=True)


def _is_version(path: Path) -> bool:
    if not _VERSION.fullmatch(path.name) or path.is_symlink():
        return False
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and set(manifest) == _MANIFEST_KEYS


@contextmanager
def _only_writer(root: Path) -> Iterator[None]:
    lock = FileLock(str(root / LOCK), timeout=_PATIENCE, poll_interval=0.01)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"Another process is writing to {root}.", "An index has one writer at a time.", "Wait for it to end."
        ) from error
    try:
        yield
    finally:
        lock.release()
