"""Question sets from and to the files of other projects; one file a format under `formats/`."""

from __future__ import annotations

from raglift.exchange.files import read as read
from raglift.exchange.files import write as write
from raglift.exchange.sets import QuestionSet as QuestionSet

__all__ = ["QuestionSet", "read", "write"]
