"""Python's, numpy's and torch's randomness: begun anew for every batch, and put back where it was."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import numpy as np
import torch


def seed_everything(seed: int, place: int) -> None:
    """Begin all randomness anew for the batch at a place, so that no generator's state is carried over."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/{place}".encode()).digest()[:4], "big")
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def kept_randomness() -> Callable[[], None]:
    """What puts all randomness back to where it is now, that of GPUs in use included."""
    python, numpy, processor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(processor)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)

    return put_back
