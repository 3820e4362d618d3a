"""What is due by the clock: events that nobody took in time expire, what has ended long ago goes.

Each step is one transaction over a bounded number of rows, so that a caller behind it waits
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..settings import QueueSettings
from ..store.database import Reader, Transaction
from . import rows
from .rows import COMPLETED, EXPIRED, FAILED
from .taking import ENGINE, STEP_ROWS, Worked, turn

NEVER_US: Final = 1 << 62

_EXPIRED: Final = """
SELECT id, type FROM event WHERE env = ? AND state < 2 AND expires_at <= ?
ORDER BY expires_at LIMIT ?"""
_EXPIRE: Final = "UPDATE event SET state = 5, due_at = NULL, updated_at = ? WHERE id = ?"
_ENDED: Final = """
SELECT id FROM event WHERE env = ? AND state = ? AND state >= 3 AND updated_at <= ?
ORDER BY updated_at LIMIT ?"""
_DELETE: Final = "DELETE FROM event WHERE id = ?"
_DEADLINES: Final = (
    "SELECT min(expires_at) FROM event WHERE env = ? AND state < 2",
    "SELECT min(due_at) FROM event WHERE env = ? AND state = 1",
    "SELECT min(lease_until) FROM event WHERE env = ? AND state = 2",
)
_OLDEST_ENDED: Final = """
SELECT min(updated_at) FROM event WHERE env = ? AND state = ? AND state >= 3"""


class Kept(NamedTuple):
    """How long events are kept that have ended, in microseconds, by state."""

    completed_us: int
    failed_us: int
    expired_us: int

    @classmethod
    def of(cls, settings: QueueSettings) -> Kept:
        """As long as messages that are done, dead and expired."""
        kept_s = settings.done_keep_s, settings.dead_keep_s, settings.ended_keep_s
        return cls(*(int(each * 1_000_000) for each in kept_s))

    def of_states(self) -> tuple[tuple[int, int], ...]:
        return (COMPLETED, self.completed_us), (FAILED, self.failed_us), (EXPIRED, self.expired_us)


class Step(NamedTuple):
    """How many events a step has changed, whether more are due, and how many it deleted."""

    changed: int
    more: bool
    deleted: int = 0


def expire(keeper: Worked) -> Callable[[Transaction], Step]:
    """Do what is due of leases, retries and expiries, STEP_ROWS of each."""

    def change(tx: Transaction) -> Step:
        turned = turn(tx, keeper)
        found = tx.execute(_EXPIRED, (tx.env, tx.now_us, STEP_ROWS)).fetchall()
        tx.executemany(_EXPIRE, [(tx.now_us, ident) for ident, _ in found])
        for ident, type_ in found:
            tx.audit(ENGINE, "event.expire", rows.shown(keeper.environment, ident), detail=type_)
        return Step(turned + len(found), max(turned, len(found)) >= STEP_ROWS)

    return change


def clean(kept: Kept) -> Callable[[Transaction], Step]:
    """Delete STEP_ROWS of those that have ended long enough ago."""

    def change(tx: Transaction) -> Step:
        room = STEP_ROWS
        for state, kept_us in kept.of_states():
            bounds = (tx.env, state, tx.now_us - kept_us, room)
            found = tx.execute(_ENDED, bounds).fetchall()
            tx.executemany(_DELETE, found)
            room -= len(found)
            if not room:
                break
        gone = STEP_ROWS - room
        if gone:
            tx.audit(ENGINE, "event.clean", f"{gone} events")
        return Step(gone, not room, gone)

    return change


def deadline(kept: Kept) -> Callable[[Reader], int]:
    """When something is due next; NEVER_US while there are no events."""

    def query(reader: Reader) -> int:
        found = [_first(reader, statement) for statement in _DEADLINES]
        found += [
            _first(reader, _OLDEST_ENDED, state) + kept_us for state, kept_us in kept.of_states()
        ]
        return min(found)

    return query


def _first(reader: Reader, statement: str, *more: object) -> int:
    row = reader.execute(statement, (reader.env, *more)).fetchone()
    return NEVER_US if row is None or row[0] is None else int(row[0])
