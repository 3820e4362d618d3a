"""Values as a client protects them itself, before they reach the engine.

Sealed with AES-256-GCM under a key the engine never sees, bound to where they are stored: moved to
another environment, namespace or key, a value does not open. Compressed with LZ4 before that, where
that is long enough to gain.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

NONCE_BYTES: Final = 12
COMPRESS_ABOVE_BYTES: Final = 1024
_PLAIN: Final = b"\x00"
_LZ4: Final = b"\x01"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def place(environment: str, namespace: str, key: str) -> bytes:
    """Where a value belongs, as it is bound to it. None of the three can hold a zero byte."""
    return f"{environment}\0{namespace}\0{key}".encode()


class Protection:
    """Seals and compresses, or does one of the two. A key of its own for each object."""

    def __init__(self, *, encryption: bool, compression: bool) -> None:
        self.encryption = encryption
        self.compression = compression

    def seal(self, value: Any, where: bytes) -> bytes:  # noqa: ANN401 - any JSON value
        """The value as it is stored at `where`."""
        plain: bytes = self._packed(_encode(value))
        if not self.encryption:
            return plain
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = self._cipher.encrypt(nonce, plain, where)
        return nonce + sealed

    def open(self, stored: bytes, where: bytes) -> Any:  # noqa: ANN401 - any JSON value
        """The value again. Raises cryptography's InvalidTag for one that was changed or moved."""
        if self.encryption:
            stored = self._cipher.decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], where)
        body = stored[1:]
        return _decode(self._lz4.decompress(body) if stored[:1] == _LZ4 else body)

    def seal_text(self, value: Any, where: bytes) -> str:  # noqa: ANN401 - any JSON value
        """`seal` for where only JSON is taken: base64."""
        return b64encode(self.seal(value, where)).decode()

    def open_text(self, stored: str, where: bytes) -> Any:  # noqa: ANN401 - any JSON value
        return self.open(b64decode(stored), where)

    def describe(self, values: Sequence[Any]) -> str:
        """In words what is done to these values, and how small they become."""
        words = []
        if self.compression:
            plain = sum(len(_encode(value)) for value in values)
            packed = sum(len(self._packed(_encode(value))) for value in values)
            words.append(
                f"LZ4 above {COMPRESS_ABOVE_BYTES:,} bytes by the client "
                f"(to {100 * packed / plain:.0f} %)"
            )
        if self.encryption:
            words.append("AES-256-GCM by the client")
        return ", ".join(words)

    def _packed(self, body: bytes) -> bytes:
        if self.compression and len(body) > COMPRESS_ABOVE_BYTES:
            packed: bytes = self._lz4.compress(body)
            return _LZ4 + packed
        return _PLAIN + body

    @cached_property
    def _cipher(self) -> Any:  # noqa: ANN401 - AESGCM, loaded only where it is used
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - slow

        return AESGCM(AESGCM.generate_key(bit_length=256))

    @cached_property
    def _lz4(self) -> Any:  # noqa: ANN401 - a module without types
        import lz4.block  # noqa: PLC0415 - only for --compression

        return lz4.block
