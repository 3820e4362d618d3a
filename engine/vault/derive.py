"""Keys from keys: HKDF-SHA256 (RFC 5869), and wrapping one key by another.

source bytes --extract(vault id)--> root --expand(label)--> keys that wrap or check
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Final

from ..errors import Damaged

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
CHECK_BYTES: Final = 8
_SHA256: Final = "sha256"


def extract(source: bytes, salt: bytes) -> bytes:
    """HKDF's first step: a uniform key out of whatever the source gave."""
    return hmac.digest(salt, source, _SHA256)


def expand(key: bytes, label: str) -> bytes:
    """HKDF's second step, one block: a key of 32 bytes for one purpose."""
    return hmac.digest(key, label.encode() + b"\x01", _SHA256)


def check_value(root: bytes) -> str:
    """Eight bytes as hex that tell a wrong key from a damaged file. Says nothing of the key."""
    return expand(root, "swarmdeck key check").hex()[: 2 * CHECK_BYTES]


def authenticate(root: bytes, body: bytes) -> str:
    """A keyed check of a file, as hex."""
    return hmac.digest(expand(root, "swarmdeck vault file"), body, _SHA256).hex()


def checksum(body: bytes) -> str:
    """A check anybody can make, as hex: damage shows before a key is there."""
    return hashlib.sha256(body).hexdigest()


def wrap(wrapping: bytes, key: bytes, label: str) -> bytes:
    """A key sealed by another, bound to what it is for: nonce, ciphertext and tag."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - slow

    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(wrapping).encrypt(nonce, key, label.encode())


def unwrap(wrapping: bytes, wrapped: bytes, label: str) -> bytes:
    """The key inside. Raises Damaged when it is not the one that was wrapped for this."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        return AESGCM(wrapping).decrypt(nonce, sealed, label.encode())
    except (InvalidTag, ValueError, TypeError) as error:
        raise Damaged(
            f"the key for {label} is damaged, or was wrapped by another vault",
            hint="restore keys/vault.json and the database from one backup",
        ) from error
