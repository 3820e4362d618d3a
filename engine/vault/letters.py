"""Bodies and results of messages, protected as they are stored.

    form    one byte from 0x80 on: bit 0 sealed, bit 1 LZ4; JSON never begins with such a byte
    key id  four bytes, big-endian: a key of the class `rest`
    nonce   12 bytes
    sealed  ciphertext with its tag of 16          where isolation is strict
    checked tag of 16, then the body as it is      elsewhere

The tag binds environment, message id, kind, sender, target, and whether it is the body or the
result; of a schedule its own id, and kind, sender and target of its messages. A message can be
retried, delayed and moved between priorities; none of that is bound. Texts of other tables
(`columns.py`) are protected in the same way, each column under a number of its own.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..errors import Damaged
from ..store.database import Transaction
from . import record
from .derive import NONCE_BYTES
from .ring import Ring

FORM: Final = 0x80
SEALED: Final = 0x01
LZ4: Final = 0x02
SECRET: Final = 200  # fields from here on are keys: sealed everywhere
KIND: Final = "rest"  # the class of their keys
BODY: Final = 0
RESULT: Final = 1
SCHEDULE: Final = 2  # the body of all messages of a schedule; columns.py has the numbers above

SELECT: Final = "SELECT id, kind, sender, target, body, result FROM message"
SELECT_SCHEDULES: Final = "SELECT id, kind, created_by, target, body FROM schedule"

Row = tuple[int, str, str, str, bytes, bytes | None]

_NAMES: Final = ("the body of message", "the result of message", "the body of schedule")
_BARE: Final = frozenset({BODY, RESULT, SCHEDULE})  # may be of before there were keys
_HEADER: Final = struct.Struct(">BI")
_BOUND: Final = struct.Struct(">BBBIq")  # version, field, form, key id, message id
_NONCE_AT: Final = _HEADER.size
_TAG_AT: Final = _NONCE_AT + NONCE_BYTES
_PLAIN_AT: Final = _TAG_AT + record.TAG_BYTES


class Letter(NamedTuple):
    """What a body or result belongs to."""

    ident: int
    kind: str
    sender: str
    target: str
    field: int = BODY


def protect(ring: Ring, tx: Transaction, letters: Iterable[tuple[Letter, bytes]]) -> list[bytes]:
    """The texts as they are stored, on the writer's thread. Raises Sealed."""
    texts = list(letters)
    active = ring.writing(tx, len(texts))
    nonces = os.urandom(NONCE_BYTES * len(texts))
    active.key.drawn += len(texts)
    found = []
    for number, (letter, text) in enumerate(texts):
        nonce = nonces[number * NONCE_BYTES : (number + 1) * NONCE_BYTES]
        seals = active.seals or letter.field >= SECRET
        this, body = FORM | (SEALED if seals else 0), text
        if len(text) > ring.compress_above and (packed := record.compress(text)) is not None:
            this, body = this | LZ4, packed
        head = _HEADER.pack(this, active.id) + nonce
        bound = _bound(ring, letter, this, active.id)
        if seals:
            found.append(head + active.sealing.encrypt(nonce, body, bound))
        else:
            found.append(head + active.checking.encrypt(nonce, b"", bound + body) + body)
    return found


def unprotect(ring: Ring, letter: Letter, stored: bytes) -> bytes:
    """The text inside, verified. Raises Sealed, Damaged."""
    try:
        form, key_id = _HEADER.unpack_from(stored)
        if form < FORM:
            return _unprotected(ring, letter, stored)
        sealing, checking = ring.opening(key_id)
        bound = _bound(ring, letter, form, key_id)
        nonce = stored[_NONCE_AT:_TAG_AT]
        if form & SEALED:
            text = sealing.decrypt(nonce, stored[_TAG_AT:], bound)
        else:
            text = stored[_PLAIN_AT:]
            checking.decrypt(nonce, stored[_TAG_AT:_PLAIN_AT], bound + text)
        return record.decompress(text) if form & LZ4 else text
    except ring.broken as error:
        raise Damaged(
            f"{ring.environment}: {_spoken(letter)} {letter.ident} does not match its seal",
            hint="purge it, or restore a backup" if letter.field in _BARE else "restore a backup",
        ) from error


def check(ring: Ring, row: Row) -> None:
    """Open body and result of a row of SELECT; of one whose key was destroyed there is nothing to
    open. Raises Sealed, Damaged."""
    ident, kind, sender, target, body, result = row
    if ring.is_shredded(key_of(body)):
        return  # on purpose
    unprotect(ring, Letter(ident, kind, sender, target), body)
    if result is not None:
        unprotect(ring, of_result(ident), result)


def check_schedule(ring: Ring, row: tuple[int, str, str, str, bytes]) -> None:
    """Open a row of SELECT_SCHEDULES. Raises Sealed, Damaged."""
    ident, kind, sender, target, body = row
    unprotect(ring, Letter(ident, kind, sender, target, SCHEDULE), body)


def check_text(ring: Ring, letter: Letter, stored: bytes) -> None:
    """Open a text of another table; one whose key was destroyed is passed. Raises Sealed,
    Damaged."""
    if not ring.is_shredded(key_of(stored)):
        unprotect(ring, letter, stored)


def opened(ring: Ring, letter: Letter, stored: bytes) -> bytes | None:
    """The text inside, verified; None for one whose key was destroyed. Raises Sealed, Damaged."""
    return None if ring.is_shredded(key_of(stored)) else unprotect(ring, letter, stored)


def _spoken(letter: Letter) -> str:
    if letter.field in _BARE:
        return _NAMES[letter.field]
    from .columns import SPOKEN  # noqa: PLC0415 - they are made of letters

    return SPOKEN[letter.field]


def key_of(stored: Any) -> int | None:  # noqa: ANN401 - whatever a damaged row holds
    """The id of the key that protects a text; None for one of before there were keys."""
    if not isinstance(stored, bytes) or len(stored) < _PLAIN_AT or stored[0] < FORM:
        return None
    return int(_HEADER.unpack_from(stored)[1])


def _unprotected(ring: Ring, letter: Letter, stored: bytes) -> bytes:
    """A text of before there were keys. Once all are protected there is none, and there were keys
    before there were columns."""
    if letter.field not in _BARE:
        raise ValueError("something without a check")
    ring.require_bare()
    return stored


def blank(key_id: int) -> bytes:
    """What stands in the place of a text whose key is destroyed: nobody can open it."""
    return _HEADER.pack(FORM, key_id) + bytes(_PLAIN_AT - _HEADER.size)


def _bound(ring: Ring, letter: Letter, form: int, key_id: int) -> bytes:
    names = ring.scope("message", letter.kind, letter.sender, letter.target)
    return _BOUND.pack(1, letter.field, form, key_id, letter.ident) + names


def of_result(ident: int) -> Letter:
    """What the result of a message belongs to: the message, whoever worked on it."""
    return Letter(ident, "", "", "", RESULT)
