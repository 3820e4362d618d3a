"""The form of a protected record. Pure: bytes in, bytes out, no files and no clock.

    format  bits 0-3 the plain form, bit 4 LZ4 block, bit 5 sealed
    sealed  version byte 1, nonce 12, AES-256-GCM ciphertext with its tag of 16; no mac
    checked the body as it is; mac = nonce 12, tag 16 of AES-256-GCM over no plaintext (GMAC)
    LZ4     plain length as 4 bytes big-endian, then one LZ4 block; sealed as a whole

Both tags bind the context: everything the row says beside its body. Each text in it has its
length before it, so that "a", "bc" and "ab", "c" differ, and None differs from an empty text.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Protocol

from ..errors import Damaged
from ..model import MAX_VALUE_BYTES
from .derive import NONCE_BYTES

PLAIN_BITS: Final = 0x0F
LZ4: Final = 0x10
SEALED: Final = 0x20
VERSION: Final = b"\x01"
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = len(VERSION) + NONCE_BYTES + TAG_BYTES
MAC_BYTES: Final = NONCE_BYTES + TAG_BYTES
MAX_RATIO: Final = 255  # no LZ4 block can hold more

_BODY_AT: Final = len(VERSION) + NONCE_BYTES
_ABSENT: Final = b"\xff\xff"
_FIXED: Final = struct.Struct(">BBBIQqqqH")  # version, level, format, key id, row version, times
_LENGTH: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")

# The context is bind(1, level, format, key id, version, created, updated, expires, length of the
# key) + the key + scope(...). Raises struct.error for values that no row of ours holds.
bind: Final[Callable[..., bytes]] = _FIXED.pack


class Cipher(Protocol):
    """AES-256-GCM with one key. `decrypt` raises InvalidTag."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


def scope(*texts: str | None) -> bytes:
    """Environment, namespace, owner, team and swarm, each behind its length. Raises ValueError
    for what is no text."""
    parts = []
    for text in texts:
        if text is None:
            parts.append(_ABSENT)
            continue
        if not isinstance(text, str):
            raise ValueError("a name that is not text")  # noqa: TRY004 - the row is damaged
        body = text.encode()
        if len(body) >= 0xFFFF:
            raise ValueError("a name too long")
        parts.append(_SHORT.pack(len(body)) + body)
    return b"".join(parts)


def seal(cipher: Cipher, nonce: bytes, body: bytes, bound: bytes) -> bytes:
    """A sealed body."""
    return VERSION + nonce + cipher.encrypt(nonce, body, bound)


def unseal(cipher: Cipher, body: bytes, bound: bytes) -> bytes:
    """The body inside. Raises InvalidTag, ValueError."""
    if body[:1] != VERSION:
        raise ValueError("a sealed form that is not known")
    return cipher.decrypt(body[1:_BODY_AT], body[_BODY_AT:], bound)


def mac(cipher: Cipher, nonce: bytes, body: bytes, bound: bytes) -> bytes:
    """The keyed check of a body that is not sealed."""
    return nonce + cipher.encrypt(nonce, b"", bound + body)


def verify(cipher: Cipher, body: bytes, found: bytes, bound: bytes) -> None:
    """Raises InvalidTag, ValueError unless `found` is the check of that body."""
    if len(found) != MAC_BYTES:
        raise ValueError("a check of the wrong size")
    cipher.decrypt(found[:NONCE_BYTES], found[NONCE_BYTES:], bound + body)


def compress(body: bytes) -> bytes | None:
    """An LZ4 block behind the plain length, or None where that is not smaller."""
    from lz4.block import compress as squeeze  # noqa: PLC0415 - most records are not that large

    packed = _LENGTH.pack(len(body)) + squeeze(body, store_size=False)
    return packed if len(packed) < len(body) else None


def decompress(body: bytes) -> bytes:
    """What `compress` was given. Raises Damaged for a length that cannot be, before any room is
    made for it, and for a block that does not give exactly that."""
    from lz4.block import LZ4BlockError, decompress  # noqa: PLC0415

    size = _LENGTH.unpack_from(body)[0] if len(body) > _LENGTH.size else 0
    block = body[_LENGTH.size :]
    if not 0 < size <= min(MAX_VALUE_BYTES, MAX_RATIO * len(block)):
        raise Damaged(f"a compressed value claims {size} bytes", hint="restore it from a backup")
    try:
        plain: bytes = decompress(block, uncompressed_size=size)
    except (LZ4BlockError, ValueError, OverflowError) as error:
        raise Damaged("a compressed value is damaged", hint="restore it from a backup") from error
    if len(plain) != size:
        raise Damaged("a compressed value is shorter than it says", hint="restore it from a backup")
    return plain
