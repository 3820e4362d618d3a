"""Whether a note that a file was put back is to be believed.

Such a note silences the alarm about a file older than what was signed. So it is signed by the
vault, and bound to the copy it speaks of: whoever can write the data directory can pass no other
file off as restored.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

import msgspec

from ..errors import Sealed
from .database import Database, Reader
from .swap import Reason

_LABEL: Final = "swarmdeck restore 1"  # a signature for this is one for nothing else
_HASH_AT: Final = "SELECT hash FROM audit WHERE sequence = ?"

_encode = msgspec.msgpack.Encoder().encode
log = logging.getLogger(__name__)


class Signer(Protocol):
    """What a note needs of the vault."""

    @property
    def id(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


def signed(reason: Reason, environment: str, vault: Signer) -> Reason:
    """The same with a signature. Raises Sealed."""
    signature = vault.sign(_message(reason, environment, vault))
    return msgspec.structs.replace(reason, signature=signature)


async def believed(reason: Reason | None, database: Database, vault: Signer) -> Reason | None:
    """The note about a file, None unless this vault has signed it and its trail is that of the
    copy, or goes on from it. Raises StorageError, Corrupt."""
    if reason is None:
        return None
    if _is_signed(reason, database.env, vault) and await _is_of(reason, database):
        return reason
    log.error("%s: a note says its file was put back, and this vault has not signed that",
              database.env)  # fmt: skip
    return None


def _is_signed(reason: Reason, environment: str, vault: Signer) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow, rarely asked
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        key = Ed25519PublicKey.from_public_bytes(vault.public_key)
        key.verify(reason.signature, _message(reason, environment, vault))
    except (InvalidSignature, ValueError, Sealed):  # sealed: it has never signed anything
        return False
    return True


async def _is_of(reason: Reason, database: Database) -> bool:
    anchor = database.chain.anchor
    if reason.sequence == anchor.sequence:
        return reason.hash == anchor.hash

    def query(reader: Reader) -> bool:
        return reader.execute(_HASH_AT, (reason.sequence,)).fetchone() == (reason.hash,)

    return await database.read(query)


def _message(reason: Reason, environment: str, vault: Signer) -> bytes:
    return _encode(
        (_LABEL, vault.id, environment, reason.backup, reason.actor, reason.kept, reason.at_us,
         reason.sequence, reason.hash, reason.bare)
    )  # fmt: skip
