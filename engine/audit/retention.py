"""Deleting audit rows that are too old, so that what is left can still be verified.

The chain begins anew at a signed checkpoint: that is said outside, then the anchor moves there and
the trail says so, and then the rows before it are deleted, a bounded batch at a time. A kill at any
moment leaves more rows than needed, never fewer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..clock import Clock
from ..settings import AuditSettings
from ..store.chain import Head
from ..store.database import Database, Reader, Transaction

LOOK_AFTER_S: Final = 60.0  # first
LOOK_EVERY_S: Final = 3_600.0
BATCH_ROWS: Final = 1_000
_DAY_US: Final = 86_400_000_000

# Never the newest checkpoint: there are rows behind every anchor.
_OLDEST_KEPT: Final = """
SELECT sequence, hash FROM audit_checkpoint
WHERE env = ? AND at < ? AND kind = 'checkpoint'
  AND sequence < (SELECT max(sequence) FROM audit_checkpoint WHERE env = ?)
ORDER BY sequence DESC LIMIT 1"""
_MOVE: Final = """
INSERT INTO audit_anchor (env, sequence, hash) VALUES (?, ?, ?)
ON CONFLICT (env) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash"""
_FORGET: Final = "DELETE FROM audit_checkpoint WHERE env = ? AND sequence < ?"
_DELETE: Final = """
DELETE FROM audit WHERE at < ? AND sequence IN (
    SELECT sequence FROM audit WHERE sequence <= ? ORDER BY sequence LIMIT ?)"""


class Retention:
    """Prunes trails. `announce(database, anchor)` says outside where a chain will begin."""

    def __init__(
        self,
        settings: AuditSettings,
        clock: Clock,
        announce: Callable[[Database, Head], Awaitable[None]],
    ) -> None:
        self._keep_us = int(settings.retention_days * _DAY_US)
        self._clock = clock
        self._announce = announce
        self._next_s: dict[str, float] = {}

    def due(self, database: Database) -> bool:
        """Whether it is time to look: now and then, and at once while there is more to delete."""
        now_s = self._clock.monotonic_s()
        return now_s >= self._next_s.setdefault(database.env, now_s + LOOK_AFTER_S)

    async def prune(self, database: Database) -> int:
        """Do one step; how many rows it deleted. Raises StorageError, Sealed."""
        before_us = self._clock.wall_us() - self._keep_us
        anchor = await database.read(lambda reader: _next_anchor(reader, before_us))
        if anchor is not None and anchor.sequence > database.chain.anchor.sequence:
            await self._announce(database, anchor)
            await database.write(lambda tx: _move(tx, anchor, database))
        gone = await self._delete(database, before_us)
        if gone < BATCH_ROWS:
            self._next_s[database.env] = self._clock.monotonic_s() + LOOK_EVERY_S
        return gone

    async def _delete(self, database: Database, before_us: int) -> int:
        last = database.chain.anchor.sequence
        if not last:
            return 0
        return await database.write(
            lambda tx: tx.execute(_DELETE, (before_us, last, BATCH_ROWS)).rowcount
        )


def _next_anchor(reader: Reader, before_us: int) -> Head | None:
    row = reader.execute(_OLDEST_KEPT, (reader.env, before_us, reader.env)).fetchone()
    return None if row is None else Head(row[0], row[1])


def _move(tx: Transaction, anchor: Head, database: Database) -> None:
    tx.execute(_MOVE, (tx.env, *anchor))
    tx.execute(_FORGET, (tx.env, anchor.sequence))
    tx.audit("system", "audit.prune", f"rows up to {anchor.sequence}", detail="they are too old")
    database.chain.anchor = anchor  # on the writer's thread; read anew if the commit fails
