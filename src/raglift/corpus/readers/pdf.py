"""PDF, page by page, with pypdf: pure Python, so a damaged file cannot corrupt memory, and it is kept up."""

from __future__ import annotations

import io
from collections.abc import Iterator

from raglift.corpus.readers._reader import DAMAGED, TOO_LONG, Limits, Piece, Reader, UnreadableError

_PAGES = 100_000


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """The text of every page, in order.

    Raises:
        UnreadableError: It is not a PDF, needs a password, or its pages hold no text.
    """
    import pypdf
    from pypdf.errors import DependencyError, PyPdfError

    if b"%PDF-" not in data[:1024]:
        raise UnreadableError(DAMAGED, "It does not begin like a PDF.")
    try:
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("encrypted", "Save it without a password.")
        found = False
        for number, page in enumerate(reader.pages):
            if number >= _PAGES:
                raise UnreadableError(TOO_LONG, f"It has more than {_PAGES} pages.")
            text = page.extract_text().strip()
            found = found or bool(text)
            yield Piece(text)
    except DependencyError as error:
        raise UnreadableError(
            "encrypted", "Save it without encryption, or install the package cryptography."
        ) from error
    except PyPdfError as error:
        raise UnreadableError(DAMAGED, str(error)) from error
    if not found:
        raise UnreadableError("no text in its pages", "Scanned pages need text recognition (OCR) first.")


PLUGIN = Reader((".pdf",), read, ("application/pdf",))
