"""Several adapters side by side on one base that is loaded once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from raglift.errors import UserError
from raglift.models import bottleneck
from raglift.models.adapters.bottleneck import identity, put
from raglift.plugins import nearest

_LOCK = threading.Lock()
"""Of a model's list of adapters: one is added at a time."""


class Adapters:
    """The bottleneck adapters of one model in memory; switching copies and loads nothing.

    Args:
        model: A transformers or sentence-transformers model, plain, in half precision or made quick for inference.

    Example:
        >>> adapters = Adapters(raglift.open_run("quickstart").llm("base").generator.model)
        >>> adapters.add("contracts", Path("contracts/model"))
        >>> adapters.use("contracts")
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    @property
    def names(self) -> list[str]:
        """The adapters, sorted."""
        return bottleneck.names(self._model)

    @property
    def active(self) -> str | None:
        """The adapter that acts; None where the model is the base."""
        return bottleneck.active(self._model)

    def add(self, name: str, folder: Path) -> None:
        """Load an adapter beside the others; which one acts stays as it is.

        Args:
            name: Letters, digits, `_` and `-`.
            folder: What a training with the strategy bottleneck_adapter wrote.

        Raises:
            UserError: The name is taken or no name, the folder is damaged, or the adapter belongs to another base.
        """
        if not re.fullmatch(r"[\w-]+", name) or hasattr(nn.ModuleDict(), name):
            raise UserError(
                f"An adapter cannot be called {name!r}.",
                "A name is of letters, digits, _ and -, and none of torch's own attributes.",
            )
        with _LOCK:
            if name in self.names:
                raise UserError(f"There is an adapter called {name!r} already.", fix="Give this one another name.")
            put(self._model, name, folder)

    def ensure(self, folder: Path) -> str:
        """Add the folder's adapter under a name made of what it holds, unless it is there; returns the name.

        Raises:
            UserError: As for `add`.
        """
        name = identity(folder)
        with _LOCK:
            if name not in self.names:
                put(self._model, name, folder)
        return name

    def use(self, name: str | None) -> None:
        """Let one adapter act from now on, in every thread; None: the base as it is.

        Raises:
            UserError: There is no such adapter.
        """
        self._check(name)
        bottleneck.use(self._model, name)

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Let one adapter act, or none, within a `with` block of this thread or task alone.

        Raises:
            UserError: There is no such adapter.
        """
        self._check(name)
        with bottleneck.using(self._model, name):
            yield

    def _check(self, name: str | None) -> None:
        if name is not None and name not in self.names:
            raise UserError(f"There is no adapter called {name!r}.", nearest(name, self.names))
