"""Keeps the model libraries' own bars and notices off the user's screen; importing it is enough."""

from __future__ import annotations

import warnings

import transformers

# PEFT asks transformers for a name that it has deprecated; nothing that a user could change.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
