"""One GET of an HTTP address, to see whether something answers there. Nothing is followed, and of
the answer only the first line is read."""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ..errors import InvalidInput, Unavailable
from ..model import printable
from ..text import safe_text

MAX_ADDRESS: Final = 2048  # characters
MAX_LINE: Final = 8192  # bytes
PORTS: Final = {"http": 80, "https": 443}
FIRST_BAD: Final = 400  # statuses from here on are failures

_STATUS: Final = re.compile("[0-9]{3}")


class Address(NamedTuple):
    """Where to ask, and what for."""

    scheme: str
    host: str
    port: int
    path: str
    authority: str


def parse_address(text: str) -> Address:
    """Raises InvalidInput for anything but http://host[:port][/path] or the same with https."""
    shown = printable(text)
    if len(text) > MAX_ADDRESS or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput(f"{shown} is no address", hint="http://127.0.0.1:8080/health")
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as it is looked up: labels of 1 to 63 characters
    except ValueError as error:
        raise InvalidInput(f"{shown} is no address: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise InvalidInput(
            f"{shown} is no http or https address", hint="http://127.0.0.1:8080/health"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("an address that is probed holds no user or password")
    path = parts.path or "/"
    return Address(
        parts.scheme,
        parts.hostname,
        port or PORTS[parts.scheme],
        f"{path}?{parts.query}" if parts.query else path,
        parts.netloc,
    )


async def ask(address: Address) -> str:
    """What came back, such as `200 OK`. Raises Unavailable when nothing answers there or the
    answer is a failure. Waits as long as its caller lets it."""
    try:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=address.scheme == "https" or None, limit=MAX_LINE
        )
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be looked up
        # What an `ssl.SSLCertVerificationError` has, and nothing else: ssl stays unloaded for http.
        if untrusted := getattr(error, "verify_message", ""):
            raise Unavailable(f"its certificate is not trusted: {untrusted}") from error
        why = getattr(error, "strerror", None) or error
        raise Unavailable(f"no connection: {why}") from error
    try:
        writer.write(_request(address))
        line = await reader.readline()
    except (OSError, ValueError) as error:  # ValueError: no line within the limit
        raise Unavailable(f"no answer: {error}") from error
    finally:
        writer.transport.abort()
    return _status(line)


def _request(address: Address) -> bytes:
    return (
        f"GET {address.path} HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: swarmdeck\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _status(line: bytes) -> str:
    words = line.decode("latin-1").strip().split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not _STATUS.fullmatch(words[1]):
        raise Unavailable("the answer is not HTTP" if line else "it closed without an answer")
    said = safe_text(" ".join(words[1:]), 100)
    if int(words[1]) >= FIRST_BAD:
        raise Unavailable(f"it answers {said}")
    return said
