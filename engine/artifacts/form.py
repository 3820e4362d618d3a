"""The file of a content, in chunks that are checked one by one. Pure: bytes in, bytes out.

    file   "swarmdeck artifact 1\\n", then the chunks, the last one marked
    chunk  flags (1: last, 2: LZ4, 4: sealed), plain length, stored length, body, tag of 16

Each content has a key of its own, which nothing else is under, so the nonce is the number of the
chunk. The tag is that of AES-256-GCM and binds the number, the flags and the lengths: a chunk that
was changed, moved, left out or taken from another content is found before anybody reads it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ..errors import Damaged
from ..vault import record
from ..vault.record import Cipher

MAGIC: Final = b"swarmdeck artifact 1\n"
CHUNK_BYTES: Final = 1 << 20  # of the content; the last one may be shorter
KEY_BYTES: Final = 32
TAG_BYTES: Final = record.TAG_BYTES

LAST: Final = 0x01
LZ4: Final = 0x02
SEALED: Final = 0x04
_KNOWN: Final = LAST | LZ4 | SEALED

_HEAD: Final = struct.Struct(">BII")
_BOUND: Final = struct.Struct(">QBII")
HEAD_BYTES: Final = _HEAD.size


class Head(NamedTuple):
    """What stands before a chunk: `plain` bytes of the content, `stored` in the file behind it,
    without the tag."""

    flags: int
    plain: int
    stored: int

    @property
    def is_last(self) -> bool:
        return bool(self.flags & LAST)

    @property
    def whole(self) -> int:
        """Bytes of the chunk in the file."""
        return HEAD_BYTES + self.stored + TAG_BYTES


def cipher(key: bytes) -> Cipher:
    """What seals and checks the chunks of one content."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - slow

    return AESGCM(key)


def pack(
    cipher: Cipher, number: int, body: bytes, *, last: bool, seal: bool, compress: bool
) -> bytes:
    """A chunk as it stands in the file."""
    packed = record.compress(body) if compress else None
    flags = (LAST if last else 0) | (SEALED if seal else 0) | (0 if packed is None else LZ4)
    inner = body if packed is None else packed
    bound = _BOUND.pack(number, flags, len(body), len(inner))
    nonce = number.to_bytes(12, "big")
    if seal:
        found = cipher.encrypt(nonce, inner, bound)
    else:
        found = inner + cipher.encrypt(nonce, b"", bound + inner)
    return _HEAD.pack(flags, len(body), len(inner)) + found


def head(found: bytes) -> Head:
    """What stands before a chunk, if it can be. Raises Damaged."""
    if len(found) != HEAD_BYTES:
        raise Damaged("the file ends too early")
    made = Head(*_HEAD.unpack(found))
    short = made.plain < CHUNK_BYTES and not made.is_last
    if made.flags & ~_KNOWN or not made.stored <= made.plain <= CHUNK_BYTES or short:
        raise Damaged("its head cannot be")
    return made


def unpack(cipher: Cipher, number: int, head: Head, found: bytes) -> bytes:
    """The part of the content in a chunk, checked. Raises Damaged."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow

    bound = _BOUND.pack(number, *head)
    nonce = number.to_bytes(12, "big")
    try:
        if head.flags & SEALED:
            inner = cipher.decrypt(nonce, found, bound)
        else:
            inner = found[: head.stored]
            cipher.decrypt(nonce, found[head.stored :], bound + inner)
    except (InvalidTag, ValueError) as error:
        raise Damaged("it does not match its seal") from error
    return record.decompress(inner) if head.flags & LZ4 else inner
