"""What every stage is given beside its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raglift.progress import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """Where a stage writes, what its randomness begins with, and where it shows how far it is.

    Attributes:
        out: The artifact's folder; what lies under `out/work` survives an interruption and is not part of it.
    """

    out: Path
    seed: int
    display: Progress
