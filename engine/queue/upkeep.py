"""What time and reaped agents do to messages, in bounded steps."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from ..store.database import Transaction
from . import statements as sql
from .counters import Move
from .delivery import Keeper, QueueOperation
from .statements import DEAD, DELAYED, EXPIRED, LEASED, READY

STEP_ROWS: Final = 100  # rows one transaction moves: callers wait behind it
ENGINE: Final = "engine"  # the actor of what nobody asked for


class Swept(NamedTuple):
    """`more`: the step was full; `deadline_us`: when there is something to do again."""

    moves: list[Move]
    more: bool
    deadline_us: int | None


class SweepKeeper(Keeper, Protocol):
    def swept(self, swept: Swept) -> None: ...


class Sweep(QueueOperation):
    """Expire, end leases, promote what was delayed: up to STEP_ROWS, in that order, so that
    nothing becomes ready that has expired."""

    __slots__ = ()
    keeper: SweepKeeper

    def __init__(self, keeper: SweepKeeper) -> None:
        self.keeper = keeper

    def change(self, tx: Transaction) -> Swept:
        moves = self._expire(tx, STEP_ROWS)
        moves += self._end_leases(tx, STEP_ROWS - len(moves))
        moves += self._promote(tx, STEP_ROWS - len(moves))
        return Swept(moves, len(moves) == STEP_ROWS, _next_deadline(tx))

    def _expire(self, tx: Transaction, room: int) -> list[Move]:
        rows = tx.execute(sql.DUE_EXPIRY, (tx.env, tx.now_us, room)).fetchall()
        tx.executemany(sql.EXPIRE, [(tx.now_us, row[0]) for row in rows])
        for row in rows:
            tx.audit(ENGINE, "queue.expire", self.shown(row[0]))
        return [Move(ident, state, EXPIRED, *lane) for ident, state, *lane in rows]

    def _end_leases(self, tx: Transaction, room: int) -> list[Move]:
        rows = tx.execute(sql.DUE_LEASE, (tx.env, tx.now_us, room)).fetchall()
        return [_take_back(tx, self, row, "the lease of {} ran out") for row in rows]

    def _promote(self, tx: Transaction, room: int) -> list[Move]:
        rows = tx.execute(sql.DUE_DELAY, (tx.env, tx.now_us, room)).fetchall()
        tx.executemany(sql.PROMOTE, [(tx.now_us, row[0]) for row in rows])
        return [Move(ident, DELAYED, READY, *lane) for ident, *lane in rows]

    def committed(self, outcome: Swept) -> None:
        self.keeper.swept(outcome)


class Release(QueueOperation):
    """End up to STEP_ROWS leases of a holder that will not come back; how many."""

    __slots__ = ("holder",)

    def __init__(self, keeper: Keeper, holder: str) -> None:
        self.keeper = keeper
        self.holder = holder

    def change(self, tx: Transaction) -> list[Move]:
        rows = tx.execute(sql.HELD, (tx.env, self.holder, STEP_ROWS)).fetchall()
        return [_take_back(tx, self, row, "{} ended while it held this") for row in rows]

    def committed(self, outcome: list[Move]) -> int:
        self.keeper.moved(outcome)
        return len(outcome)


def _take_back(
    tx: Transaction, operation: QueueOperation, row: tuple[Any, ...], reason: str
) -> Move:
    """End a lease: ready at once, or a dead letter when that was the last attempt."""
    ident, target, kind, priority, sent_us, attempt, spent, max_attempts, expires_us, holder = row
    lane = target, kind, priority, sent_us
    error = f"{reason.format(holder)} (attempt {attempt})"
    tx.audit(ENGINE, "queue.take_back", operation.shown(ident), detail=error)
    if attempt - spent >= max_attempts:
        tx.execute(sql.BURY, (error, tx.now_us, ident))
        return Move(ident, LEASED, DEAD, *lane)
    tx.execute(sql.SETTLE, (READY, None, error, tx.now_us, ident))
    return Move(ident, LEASED, READY, *lane, expires_us)


def _next_deadline(tx: Transaction) -> int | None:
    found = []
    for statement in (sql.NEXT_DELAY, sql.NEXT_LEASE, sql.NEXT_EXPIRY):
        row = tx.execute(statement, (tx.env,)).fetchone()
        if row is not None and row[0] is not None:
            found.append(int(row[0]))
    return min(found, default=None)
