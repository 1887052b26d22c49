"""The process that parses files: it limits itself, then answers one request after the other.

Started by `parsing.Parser`. It imports the standard library and, when first needed, one format's library: a small
process starts quickly and leaves its memory to the file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from raglift import plugins
from raglift.confined import serve
from raglift.corpus.readers import _rows, _text
from raglift.corpus.readers._reader import (
    DAMAGED,
    EMPTY,
    TOO_DEEP,
    TOO_LARGE,
    TOO_LONG,
    TOO_MANY,
    UNREACHABLE,
    Limits,
    Piece,
    Reader,
    UnreadableError,
)


def main() -> None:
    """Serve requests on standard input until it ends. The limits are the last argument, as JSON."""
    limits = Limits(**json.loads(sys.argv[-1]))
    serve(lambda request: answer(request, limits), limits.seconds, limits.memory_mb)


def answer(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The documents of one file or address, or why there are none.

    Args:
        request: `reader` and `path`, or `url`.
        limits: What it may cost; memory and time are limited from outside.

    Returns:
        `documents` ([key, text, metadata] each), `removed` (characters that `_text.clean` took out), `guessed` (the
        encoding, if it had to be) and `repeated` (rows left out because an earlier one has their id); or `reason` and
        `detail`.
    """
    _text.guessed, _rows.repeated = None, 0
    try:
        if "url" in request:
            from raglift.corpus.fetch import fetch  # urllib would double the time that a start takes

            reader, data, encoding = fetch(request["url"], limits)
        else:
            reader, data, encoding = plugins.load("document reader", request["reader"]), _bytes(request["path"]), None
        if len(data) > limits.file_bytes:
            raise UnreadableError(TOO_LARGE)
        return _documents(reader, data, encoding, limits)
    except UnreadableError as error:
        return _failed(error.reason, error.detail)
    except MemoryError:
        raise
    except RecursionError:
        return _failed(TOO_DEEP, "")
    except OSError as error:
        return _failed(UNREACHABLE, error.strerror or str(error))
    except Exception as error:  # a library that is surprised by a damaged file raises anything
        return _failed(DAMAGED, f"{type(error).__name__}: {error}")


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _failed(reason: str, detail: str) -> dict[str, Any]:
    line = " ".join(_text.clean(re.sub(r"0x[0-9a-f]{6,}", "0x...", detail)).split())  # addresses differ by run
    return {"reason": reason, "detail": line if len(line) <= 200 else line[:197] + "..."}


def _documents(reader: Reader, data: bytes, encoding: str | None, limits: Limits) -> dict[str, Any]:
    removed = 0
    documents: list[tuple[str, str, dict[str, str]]] = []
    for key, texts, metadata in _gathered(reader.read(data, limits, encoding), limits):
        text = "\n\n".join(texts)
        # Line ends are no trick: they are made equal before what is taken out is counted.
        before = text.replace("\r\n", "\n")
        text = _text.clean(before)
        removed += len(before) - len(text)
        if text.strip():
            cleaned = {name: _text.clean(value) for name, value in metadata.items()}
            documents.append((_text.clean(key), text, cleaned))
    if not documents:
        raise UnreadableError(EMPTY)
    return {"documents": documents, "removed": removed, "guessed": _text.guessed, "repeated": _rows.repeated}


def _gathered(pieces: Iterator[Piece], limits: Limits) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Key, texts and metadata of each document, within the limits on characters and documents."""
    characters = count = 0
    current: tuple[str, list[str], dict[str, str]] | None = None
    for piece in pieces:
        characters += len(piece.text) + len(piece.key) + sum(map(len, piece.metadata.values()))
        if characters > limits.characters:
            raise UnreadableError(TOO_LONG)
        if current is not None and current[0] == piece.key:
            if piece.text:
                current[1].append(piece.text)
            continue
        if current is not None:
            yield current
        count += 1
        if count > limits.documents:
            raise UnreadableError(TOO_MANY)
        current = (piece.key, [piece.text] if piece.text else [], piece.metadata)
    if current is not None:
        yield current
