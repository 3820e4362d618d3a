"""The hash chain over a file's audit trail.

Each commit hashes the hash before it and a canonical encoding of all the rows it adds, whose
sequence has no gaps, and stores the outcome on the last of them. The head is kept in memory, moves
only after COMMIT, and is read again from the file after anything that went wrong. All of it belongs
to the writer's thread; the loop may look at `head` and `durable`, each replaced in one step.

A chain without a key proves nothing to somebody who can compute it anew: what does is a signed
checkpoint of its head that is also kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from ..model import Durability
from . import driver

Row = tuple[int, str, int, str, str, str, int, str]
"""Sequence, environment, time (microseconds), actor, action, object, allowed (0, 1), detail."""

MAX_DETAIL: Final = 500  # characters
NO_HASH: Final = bytes(32)

INSERT_AUDIT: Final = """
INSERT INTO audit (sequence, env, at, actor, action, object, allowed, detail, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_ANCHOR: Final = "SELECT sequence, hash FROM audit_anchor LIMIT 1"
_LAST_ROW: Final = "SELECT sequence, at FROM audit ORDER BY sequence DESC LIMIT 1"
_LAST_HASH: Final = """
SELECT hash FROM audit WHERE sequence > ? AND hash IS NOT NULL ORDER BY sequence DESC LIMIT 1"""

_encode = msgspec.msgpack.Encoder().encode


class Head(NamedTuple):
    """Where a chain is: the sequence of a commit's last row, and the hash there."""

    sequence: int
    hash: bytes


GENESIS: Final = Head(0, NO_HASH)


def follow(head: Head, rows: Sequence[Row]) -> Head:
    """The head after `rows`, which one commit adds behind `head`."""
    return Head(rows[-1][0], link(head.hash, rows))


def link(before: bytes, rows: Sequence[Row]) -> bytes:
    """SHA-256 over the hash before and the MessagePack of the rows, in which every field has its
    type and its length."""
    found: bytes = _sha256()(before + _encode(rows)).digest()
    return found


@cache
def _sha256() -> Callable[[bytes], Any]:
    """What only looks writes no row, and need not load it."""
    from hashlib import sha256  # noqa: PLC0415

    return sha256


class Chain:
    """The chain of one file. `durable` is the newest head known to be on the disk: None until
    the first commit or flush that has put it there."""

    def __init__(self, durability: Durability) -> None:
        self.head = GENESIS
        self.anchor = GENESIS
        self.opened_at = GENESIS
        self.durable: Head | None = None
        self.last_us = 0  # when the last row was written, as the file said when it was read
        self._commits_last = durability is not Durability.NORMAL
        self._known = False

    def load(self, raw: driver.Raw) -> None:
        """Read anchor and head from a file that has just been opened. A file that is damaged
        there can still be read elsewhere: the first write meets the damage and says so."""
        with suppress(driver.Error):
            self._read(raw)
        self.opened_at = self.head
        self.durable = self.head if self._commits_last else None

    def current(self, raw: driver.Raw) -> Head:
        """The head to go on from, inside a transaction."""
        if not self._known:
            self._read(raw)
        return self.head

    def moved(self, head: Head) -> None:
        """A commit is done."""
        self.head = head
        if self._commits_last:
            self.durable = head

    def flushed(self) -> None:
        """All that was committed is on the disk."""
        self.durable = self.head

    def forget(self) -> None:
        """A transaction failed, perhaps while committing: look at the file before going on."""
        self._known = False

    def _read(self, raw: driver.Raw) -> None:
        self.anchor = anchor = read_anchor(raw.execute(SELECT_ANCHOR).fetchone())
        row = raw.execute(_LAST_ROW).fetchone()
        last, self.last_us = row or (0, 0)
        if last > anchor.sequence:
            hashed = raw.execute(_LAST_HASH, (anchor.sequence,)).fetchone()
            self.head = Head(last, _hash(hashed[0]) if hashed else anchor.hash)
        else:
            self.head = anchor
        self._known = True


def read_anchor(row: tuple[Any, ...] | None) -> Head:
    """The anchor from its row, if there is one. A file somebody has edited may hold anything."""
    if row is None or not isinstance(row[0], int):
        return GENESIS
    return Head(row[0], _hash(row[1]))


def _hash(value: object) -> bytes:
    return value if isinstance(value, bytes) else NO_HASH
