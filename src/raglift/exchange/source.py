"""A file while it is read: its layout checked, mistakes named by file and line, what raglift cannot hold counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from raglift.errors import UserError
from raglift.progress import Bar

Steps = Sequence[str | int]
Id = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""An id, which some files write as a number."""


class Layout(BaseModel):
    """The keys that a format has; others are counted and said."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Layout)
T = TypeVar("T")


class Source:
    """What a format reads from.

    Args:
        path: A file, or a folder where the format is one.
        name: The format's name, for messages.
        bar: Shows how many records are read.

    Attributes:
        unheld: What the file says and raglift's records cannot hold -> how often.
    """

    def __init__(self, path: Path, name: str, bar: Bar) -> None:
        self.path = path
        self.unheld: Counter[str] = Counter()
        self._name = name
        self._bar = bar
        self._text = ""

    def json(self, model: type[Model]) -> Model:
        """The whole file as one JSON document.

        Raises:
            UserError: It cannot be read, is not JSON, or is not in the layout.
        """
        self._text = self.text()
        value = self._value(self._text, 0, "")
        try:
            found = model.model_validate(value)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            raise self.wrong(_said(detail), detail["loc"]) from error
        self._count_unheld(found)
        return found

    def each(self, items: Collection[T]) -> Iterator[T]:
        """The items one after the other, as the bar shows."""
        self._bar.total = (self._bar.total or 0) + len(items)
        for item in items:
            yield item
            self._bar.advance()

    def lines(self, model: type[Model], file: str = "") -> Iterator[tuple[int, Model]]:
        """Every line that is not empty, with its number.

        Args:
            file: The file within the folder; "" where the source is a file.

        Raises:
            UserError: As `json`.
        """
        lines = self.text(file).split("\n")
        self._bar.total = (self._bar.total or 0) + len(lines)
        for number, line in enumerate(lines, 1):
            self._bar.advance()
            if not line.strip():
                continue
            value = self._value(line, number - 1, file)
            try:
                found = model.model_validate(value)
            except ValidationError as error:
                detail = error.errors(include_url=False)[0]
                where = _dotted(detail["loc"])
                raise self.wrong_line(f"{where} {_said(detail)}".strip(), number, file) from error
            self._count_unheld(found)
            yield number, found

    def text(self, file: str = "") -> str:
        """The file's text.

        Raises:
            UserError: It cannot be read, or is not UTF-8.
        """
        path = self.path / file if file else self.path
        try:
            return path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise UserError(
                f"{path}:{line} cannot be decoded as UTF-8.",
                f"Byte {error.start} is {error.object[error.start]:#04x}.",
                f"Convert it, for example: iconv -f latin1 -t utf-8 '{path}' -o '{path}.utf8'.",
            ) from error
        except OSError as error:
            raise UserError(f"{path} cannot be read.", str(error), f"Is it in the format {self._name!r}?") from error

    def wrong(self, what: str, steps: Steps) -> UserError:
        """A mistake at a place in the JSON document, such as `examples[3].query must be text`."""
        return self.wrong_line(f"{_dotted(steps)} {what}".strip(), line_of(self._text, steps))

    def wrong_line(self, what: str, line: int, file: str = "") -> UserError:
        """A mistake on a line."""
        path = self.path / file if file else self.path
        return UserError(
            f"{path}:{line} is not in the format {self._name!r}.",
            f"{what[:1].upper()}{what[1:]}.",
            "Mend the line, or name the format that the file is in (`raglift formats` lists them).",
        )

    def _value(self, text: str, before: int, file: str) -> Any:
        """The JSON value of `text`, which begins after `before` lines; a key that is repeated would hide another."""
        closed, twice = 0, ""

        def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal closed, twice
            closed += 1
            found = dict(items)
            if len(found) < len(items) and not twice:
                names = [name for name, _ in items]
                twice = next(name for name in names if names.count(name) > 1)
                raise _RepeatedError
            return found

        try:
            value = json.loads(text, object_pairs_hook=unique)
        except _RepeatedError:
            line = before + _line(text, _repeated_at(text, twice, closed))
            raise self.wrong_line(f"the key {twice!r} stands twice in one object", line, file) from None
        except json.JSONDecodeError as error:
            said = f"it is not JSON: {error.msg} in column {error.colno}"
            raise self.wrong_line(said, before + error.lineno, file) from error
        except RecursionError as error:
            raise self.wrong_line("it is nested too deeply", before + 1, file) from error
        except ValueError as error:  # such as a number of thousands of digits
            raise self.wrong_line(f"it is not JSON: {error}", before + 1, file) from error
        half = _HALF.search(text)
        if half is not None and not _is_text(value):
            said = f"{half.group()} is half of a surrogate pair, which is no text"
            raise self.wrong_line(said, before + _line(text, half.start()), file)
        return value

    def _count_unheld(self, layout: BaseModel) -> None:
        for name, value in (layout.model_extra or {}).items():
            if value not in (None, "", [], {}):
                self.unheld[name] += 1
        for name in type(layout).model_fields:
            value = getattr(layout, name)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Layout):
                    self._count_unheld(item)


class _RepeatedError(Exception):
    """A key stands twice in one object."""


def line_of(text: str, steps: Steps) -> int:
    """The line on which the value at `steps` of a JSON document begins, or the nearest value around it."""
    at = _skip(text, 0)
    for step in steps:
        child = _child(text, at, step)
        if child is None:
            break
        at = child
    return _line(text, at)


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]..")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing at all, too
    return found.end()


def _child(text: str, at: int, step: str | int) -> int | None:
    """Where the member or item begins, of the object or list that begins at `at` in sound JSON."""
    if text[at : at + 1] != ("{" if isinstance(step, str) else "["):
        return None
    at, number = _skip(text, at + 1), 0
    while text[at] not in "}]":
        name: object = number
        if isinstance(step, str):
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if name == step:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        number += 1
    return None


def _repeated_at(text: str, name: str, closed: int) -> int:
    """Where the key last stands before the end of the object that is the `closed`th to end."""
    ends = (token.start() for token in _TOKEN.finditer(text) if token.group() == "}")
    end = next((at for number, at in enumerate(ends, 1) if number == closed), len(text))
    return max(0, text.rfind(json.dumps(name), 0, end), text.rfind(json.dumps(name, ensure_ascii=False), 0, end))


def _dotted(steps: Steps) -> str:
    """Such as `examples[3].query`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _said(detail: Any) -> str:
    """Pydantic's message as the rest of a sentence."""
    plain = {
        "missing": "is missing",
        "string_type": "must be text",
        "int_type": "must be a whole number",
        "list_type": "must be a list",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "model_attributes_type": "must be an object",
        "bool_type": "must be true or false",
    }
    return plain.get(detail["type"], str(detail["msg"]).replace("Input should", "must", 1))
