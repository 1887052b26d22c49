"""The content-addressed store: every stage writes one folder, named by the hash of all that it depends on.

An artifact is built in `ROOT/STAGE/KEY.partial/`, which survives an interruption so that the stage can go on from its
own journals and checkpoints (kept under `work/`, removed at the end). It is finished by writing `manifest.json`
with the sha256 of every file, syncing, and renaming the folder. A folder without a manifest does not exist.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raglift.errors import UserError

MANIFEST = "manifest.json"
WORK = "work"


def stage_key(stage: str, version: int, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Sixteen hex digits over everything that decides a stage's output.

    Args:
        stage: The stage's name.
        version: Raised when the stage's code changes what it writes.
        settings: The stage's own settings, JSON-serialisable.
        inputs: Name -> key of an artifact, or revision hash of a model or a folder of documents.
    """
    text = json.dumps([stage, version, settings, inputs], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_NOT_WRITABLE = (
    *(errno.EACCES, errno.EROFS, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG),
)


class DiskError(UserError):
    """The disk is full, or may not be written: whatever is tried next would fail as well."""


@contextmanager
def disk_errors(folder: Path, instead: str = "another `workspace`") -> Iterator[None]:
    """Turn what writing into `folder` raises, where the disk is full or may not be written, into a `UserError`.

    Args:
        instead: What to choose where it may not be written.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        # faiss, safetensors and tokenizers report a full disk as errors of their own.
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            raise _full(folder) from error
        if number in _NOT_WRITABLE:
            raise DiskError(
                f"Cannot write to {folder}.", str(error), f"Choose {instead}, or mend its permissions."
            ) from error
        raise


def _full(folder: Path) -> DiskError:
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free / 1e6
    return DiskError(
        f"The disk that holds {folder} is full.",
        f"{free:.0f} MB are free.",
        "Free some space and run the same command again: it goes on from the last finished unit of work.",
    )


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` so that a reader sees the old bytes or the new ones, never a part.

    Raises:
        UserError: The disk is full or may not be written; what was there is still there, and nothing else.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `value` as readable JSON."""
    write_atomic(path, _json_bytes(value))


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished stage folder.

    `seconds` is what building it took, over all its attempts; `cached` whether this call found it done.
    """

    stage: str
    key: str
    path: Path
    seconds: float
    cached: bool


class DamagedError(UserError):
    """A file of a finished artifact is missing or differs from its manifest."""


class Store:
    """Finished artifacts under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Where the artifact lies once it is finished."""
        return self.root / stage / key

    def open(self, stage: str, key: str) -> Artifact | None:
        """The finished artifact, every file checked against its manifest; None if there is none.

        Raises:
            DamagedError: A file is missing, added or changed; the error names it.
        """
        folder = self.folder(stage, key)
        try:
            data = (folder / MANIFEST).read_bytes()
            manifest = json.loads(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DamagedError(f"{folder / MANIFEST} is damaged.", str(error), _REBUILD) from error
        if not _sealed(data, manifest) or (manifest["stage"], manifest["key"]) != (stage, key):
            raise DamagedError(f"{folder / MANIFEST} is damaged.", "Its own checksum does not match.", _REBUILD)
        files = manifest["files"]
        found = {_relative(path, folder) for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
        for name in sorted(found ^ set(files)):
            raise DamagedError(
                f"{folder / name} is {'missing' if name in files else 'not in the manifest'}.", "", _REBUILD
            )
        for name, digest in files.items():
            if file_sha256(folder / name) != digest:
                raise DamagedError(f"{folder / name} is damaged.", "Its sha256 differs from the manifest.", _REBUILD)
        return Artifact(stage, key, folder, float(manifest["seconds"]), cached=True)

    def build(
        self, stage: str, key: str, write: Callable[[Path], None], warn: Callable[[str], None] = lambda _: None
    ) -> Artifact:
        """The artifact, from the store if it is there and sound, else written by `write`.

        Args:
            write: Fills the folder that it is given. What it leaves under `work/` is for going on after an
                interruption and is not part of the artifact.
            warn: Told when a damaged artifact is being rebuilt.
        """
        try:
            existing = self.open(stage, key)
        except DamagedError as error:
            warn(f"{error.what} Building it again.")
            existing = None
        if existing is not None:
            return existing
        folder = self.folder(stage, key)
        partial = folder.with_name(folder.name + ".partial")
        with disk_errors(partial):
            if folder.exists():  # damaged, or without a manifest
                shutil.rmtree(folder)
            _keep_work_only(partial)
        spent = _Stopwatch(partial / WORK / "seconds")
        try:
            with disk_errors(partial):
                write(partial)
        finally:
            spent.stop()
        return _finish(stage, key, partial, folder, spent.total)


class _Stopwatch:
    """Seconds over all attempts, kept beside the work so that a resumed stage reports its whole cost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.perf_counter()
        try:
            self._before = float(path.read_text())
        except (OSError, ValueError):
            self._before = 0.0
        self.total = self._before

    def stop(self) -> None:
        self.total = self._before + time.perf_counter() - self._began
        try:
            self._path.write_text(f"{self.total:.3f}")
        except OSError:
            return  # a full disk must not hide the error that is being raised


_REBUILD = "Run the same `raglift run` command again: it builds what is damaged anew."


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _seal(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sealed(data: bytes, manifest: Any) -> bool:
    """Whether the manifest is, to the byte, what `_finish` wrote."""
    if not isinstance(manifest, dict) or set(manifest) != {"stage", "key", "seconds", "files", "sha256"}:
        return False
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return _json_bytes(manifest) == data and manifest["sha256"] == _seal(content)


def _keep_work_only(partial: Path) -> None:
    """What an interrupted attempt left outside of `work/` may be half written, and would be taken for finished."""
    (partial / WORK).mkdir(parents=True, exist_ok=True)
    for path in partial.iterdir():
        if path.name != WORK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _finish(stage: str, key: str, partial: Path, folder: Path, seconds: float) -> Artifact:
    with disk_errors(partial):
        skipped = (partial / MANIFEST, partial / WORK)
        paths = sorted(
            path for top in partial.iterdir() if top not in skipped for path in (top, *top.rglob("*")) if path.is_file()
        )
        for path in paths:
            sync(path)
        files = {_relative(path, partial): file_sha256(path) for path in paths}
        content = {"stage": stage, "key": key, "seconds": round(seconds, 3), "files": files}
        write_json(partial / MANIFEST, content | {"sha256": _seal(content)})
        if (partial / WORK).exists():  # only now: until here a full disk or a crash loses no work
            shutil.rmtree(partial / WORK)
        os.replace(partial, folder)
        sync(folder.parent)
    return Artifact(stage, key, folder, seconds, cached=False)
