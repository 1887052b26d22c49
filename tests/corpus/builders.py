"""Word files and PDFs to order, some of them wrong on purpose."""

from __future__ import annotations

import io
import struct
import zipfile

import pypdf

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_TYPES = "<Types/>"


def docx(body: str | bytes, before: str = "", **members: str) -> bytes:
    """A Word file with this XML between `<w:body>` and its end."""
    text = body.decode() if isinstance(body, bytes) else body
    return archive({"word/document.xml": f"{before}<w:document {_W}><w:body>{text}</w:body></w:document>", **members})


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def archive(members: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", _TYPES)
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def lying_docx() -> bytes:
    """The directory says 100 bytes, the stream unpacks to 50 million."""
    data = docx(paragraph("x" * 50_000_000))
    true = len(f"<w:document {_W}><w:body>{paragraph('')}</w:body></w:document>") + 50_000_000
    return data.replace(struct.pack("<L", true), struct.pack("<L", 100))


def flagged(data: bytes, mask: int) -> bytes:
    """Set a general purpose flag on every member."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            changed[place + offset] |= mask
    return bytes(changed)


def with_method(data: bytes, number: int) -> bytes:
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            changed[place + offset] = number
    return bytes(changed)


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of objects 1, 2, ... of which the first is the catalogue."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


_FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s /Length %d>>\nstream\n%s\nendstream" % (entries, len(data), data)


def page(content: bytes, resources: bytes = b"/Font<</F 5 0 R>>", *more: bytes, kids: bytes = b"[3 0 R]") -> bytes:
    """A PDF with one page; object 4 is its content, 5 its font, 6 and on are `more`."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids %s>>" % kids,
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<<%s>>>>" % resources,
        content,
        _FONT,
        *more,
    )


def shown(text: str) -> bytes:
    return b"BT /F 12 Tf 50 700 Td (%s) Tj ET" % text.encode("latin-1")


def encrypted_pdf() -> bytes:
    writer, out = pypdf.PdfWriter(), io.BytesIO()
    writer.append(io.BytesIO(page(stream(shown("hidden")))))
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(out)
    return out.getvalue()


def looping_xref() -> bytes:
    data = page(stream(shown("text after a loop")))
    start = data.rindex(b"startxref\n")
    number = int(data[start:].split(b"\n")[1])
    return data.replace(b"/Root 1 0 R", b"/Prev %d /Root 1 0 R" % number)
