"""The versions of the libraries that a result was made with."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version


def installed(names: Sequence[str]) -> dict[str, str]:
    """Python's version, and that of each of the packages that is installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
