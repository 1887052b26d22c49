"""Keeps the model libraries' own bars and notices off the user's screen; importing it is enough."""

from __future__ import annotations

import transformers

transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
