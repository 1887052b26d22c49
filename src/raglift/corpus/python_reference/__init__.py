"""The Python language reference that ships with the interpreter, and questions about it that people wrote.

`questions.jsonl` holds one question a line: `id`, `question`, `answer` (null where the reference does not say),
`topics` (every topic whose text holds a quote) and `quotes` (the exact text that shows the answer). They are for
choosing and for testing; nothing trains on them.
"""

from __future__ import annotations

from importlib import resources
from pydoc_data.topics import topics

NAME = "python-reference"


def texts() -> dict[str, str]:
    """Topic -> text, for this interpreter's version of Python."""
    return dict(sorted(topics.items()))


def questions() -> list[str]:
    """The lines of the question file."""
    return resources.files(__name__).joinpath("questions.jsonl").read_text("utf-8").splitlines()
