"""One address of a URL list, fetched in the process that parses it."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from raglift import plugins
from raglift.corpus.readers._reader import TOO_LARGE, Limits, Reader, UnreadableError

_AGENT = "raglift (https://pypi.org/project/raglift)"
_FAILED = "could not be fetched"


def check(url: str) -> str:
    """The address, if it is one that may be fetched.

    Raises:
        UnreadableError: It is not http or https, names no host, or carries a password.
    """
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        raise UnreadableError("not an address", str(error)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or not url.isprintable():
        raise UnreadableError("not an address", "It must begin with http:// or https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise UnreadableError("not an address", "It carries a user name or password, which would be stored.")
    if " " in url or not url.isascii():
        raise UnreadableError("not an address", "Write other characters than ASCII percent-encoded.")
    return url


def fetch(url: str, limits: Limits) -> tuple[Reader, bytes, str | None]:
    """What is there: its reader, by media type and else by the path's ending, its bytes, its declared encoding.

    Raises:
        UnreadableError: It cannot be had, is too large, or is in no format that is read.
    """
    opener = urllib.request.build_opener(_Redirects())
    request = urllib.request.Request(check(url), headers={"User-Agent": _AGENT})
    try:
        with opener.open(request, timeout=limits.seconds) as response:
            data = response.read(limits.file_bytes + 1)
            headers, path = response.headers, urlsplit(response.url).path
    except urllib.error.HTTPError as error:
        raise UnreadableError(_FAILED, f"The server answers {error.code}.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UnreadableError(_FAILED, str(getattr(reason, "strerror", None) or reason)) from error
    if len(data) > limits.file_bytes:
        raise UnreadableError(TOO_LARGE)
    return _reader(headers, path), data, headers.get_content_charset()


def _reader(headers: Message, path: str) -> Reader:
    media_type = headers.get_content_type() if "content-type" in headers else ""
    readers: list[Reader] = [plugins.load("document reader", name) for name in plugins.names("document reader")]
    by_ending = [reader for reader in readers if path.lower().endswith(reader.suffixes)]
    by_type = [reader for reader in readers if media_type in reader.media_types]
    # Servers call Markdown, CSV and the like plain text, and what they do not know a stream of bytes.
    vague = media_type in ("", "text/plain", "application/octet-stream")
    found = (by_ending + by_type) if vague else by_type
    if not found:
        raise UnreadableError("no format that is read", f"The server calls it {media_type or 'nothing'}.")
    return found[0]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the web, but not from a public host into the network that this machine stands in."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check(newurl)
        if _is_private(newurl) and not _is_private(req.full_url):
            raise UnreadableError(_FAILED, "It redirects from a public host to a private one.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False  # it cannot be reached either
    return any(not ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_global for entry in found)
