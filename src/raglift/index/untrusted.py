"""An index of unknown source is opened in a child process first, which has little memory and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raglift.child import START_SECONDS, Child, TooLongError, ending
from raglift.confined import OUT_OF_MEMORY
from raglift.errors import UserError

_SECONDS = 60.0
_SECONDS_A_BYTE = 1e-7
_MEMORY_MB = 2000
"""Address space of the child, FAISS's libraries among it; four times the file's size is added."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def examine(path: Path) -> None:
    """Let a child process read a FAISS file, every vector of it, and search it.

    Raises:
        UserError: The child found it unusable, crashed, or ran into a limit; this process has not touched the file.
    """
    size = path.stat().st_size
    limits = {"seconds": _SECONDS + _SECONDS_A_BYTE * size, "memory_mb": _MEMORY_MB + 4 * size // 1_000_000}
    child = Child("raglift.index.untrusted_child", limits, 100_000, _ONE_THREAD)
    try:
        answer = _answer(child, path, limits)
    except TimeoutError:
        raise _refused(path, f"A child process that opened it was not done after {limits['seconds']:.0f} s.") from None
    except (MemoryError, TooLongError):
        raise _refused(path, _HUNGRY) from None
    finally:
        child.end()
    if "reason" in answer:
        raise _refused(path, answer["reason"])


_HUNGRY = "A child process that opened it ran into its limit on memory."


def _answer(child: Child, path: Path, limits: dict[str, float]) -> dict[str, Any]:
    if child.hear(START_SECONDS, None) is None:
        return {"reason": f"The child process that was to open it did not start. {ending(child.status())}"}
    child.ask({"path": str(path.resolve())})
    answer = child.hear(limits["seconds"], int(limits["memory_mb"] * 1_000_000))
    if answer is not None:
        return answer
    status = child.status()
    return {"reason": _HUNGRY if status == OUT_OF_MEMORY else f"A child process that opened it died. {ending(status)}"}


def _refused(path: Path, why: str) -> UserError:
    return UserError(f"{path} is not opened.", why, "Get it from a source that you trust, or build the index anew.")
