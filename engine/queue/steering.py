"""Changes an operator or a sender makes by hand. Each is one transaction of the control plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..authority import reaches
from ..errors import Conflict, Denied, NotFound
from ..model import Principal, Role
from ..store.database import Transaction
from . import statements as sql
from .counters import Move
from .delivery import QueueOperation
from .statements import (
    CANCELLED,
    DEAD,
    DELAYED,
    DONE,
    EXPIRED,
    GONE,
    LEASED,
    READY,
    STATES,
)

PURGE_ROWS: Final = 500
DENIED: Final = "queue.denied"

Change = Callable[[Transaction], Move]


class Filter(NamedTuple):
    """Which messages to delete; None is any."""

    sender: str | None
    kind: str | None
    target: str | None

    @property
    def words(self) -> str:
        named = zip(("sender", "kind", "to"), self, strict=True)
        return " ".join(f"{name}={value}" for name, value in named if value is not None)


class Purged(NamedTuple):
    """`last` is the id to go on after, None when the end was reached."""

    moves: list[Move]
    last: int | None


def retry(principal: Principal, ident: int, shown: str) -> Change:
    """Make a message that has ended without being done ready again. Attempt numbers go on, so
    that a lease of its earlier life stays stale; the count towards max_attempts starts anew."""

    def change(tx: Transaction) -> Move:
        state = steered(tx, principal, ident, shown, "retry").state
        if state not in (DEAD, EXPIRED, CANCELLED):
            raise Conflict(
                f"{shown} is {STATES[state]}",
                hint="only a dead, expired or cancelled message can be retried",
            )
        row = tx.execute(sql.RETRY, (tx.now_us, tx.now_us, ident)).fetchone()
        assert row is not None, "a message that was just read is there"
        tx.audit(principal.id, "queue.retry", shown, detail=f"was {STATES[state]}")
        return Move(ident, state, READY, *row)

    return change


def cancel(principal: Principal, ident: int, shown: str) -> Change:
    """End a message that has not ended. Its holder, if any, finds the lease gone."""

    def change(tx: Transaction) -> Move:
        found = steered(tx, principal, ident, shown, "cancel")
        state = found.state
        if state not in (READY, DELAYED, LEASED):
            raise Conflict(f"{shown} is {STATES[state]}", hint="it has already ended")
        tx.execute(sql.CANCEL, (tx.now_us, ident))
        tx.audit(principal.id, "queue.cancel", shown, detail=f"was {STATES[state]}")
        return Move(
            ident, state, CANCELLED, found.target, found.kind, found.priority, found.sent_us
        )

    return change


def purge(
    principal: Principal, wanted: Filter, after: int, until: int
) -> Callable[[Transaction], Purged]:
    """Delete the next messages that match, whatever their state."""

    def change(tx: Transaction) -> Purged:
        pairs = [value for value in wanted for _ in range(2)]
        rows = tx.execute(sql.SELECT_DOOMED, (tx.env, after, until, *pairs, PURGE_ROWS)).fetchall()
        moves = delete(tx, principal.id, "queue.purge", rows, wanted.words)
        return Purged(moves, rows[-1][0] if len(rows) == PURGE_ROWS else None)

    return change


def purge_these(
    principal: Principal, idents: Sequence[int], state: int | None, why: str
) -> Callable[[Transaction], list[Move]]:
    """Delete these messages if they are in `state` (None: whatever it is); those that are not
    there are left out."""

    def change(tx: Transaction) -> list[Move]:
        found = [tx.execute(sql.SELECT_ONE_DOOMED, (i, tx.env)).fetchone() for i in idents]
        doomed = [row for row in found if row is not None and state in (None, row[1])]
        return delete(tx, principal.id, "queue.purge", doomed, why)

    return change


def delete(
    tx: Transaction, actor: str, action: str, rows: Sequence[tuple[Any, ...]], why: str
) -> list[Move]:
    """Delete messages, as rows of SELECT_DOOMED, with one row in the trail."""
    if not rows:
        return []
    tx.executemany(sql.DELETE, [(row[0],) for row in rows])
    tx.audit(actor, action, f"{len(rows)} messages",
             detail=f"{why} from {rows[0][0]} to {rows[-1][0]}")  # fmt: skip
    return [
        Move(ident, state, GONE, target, kind, priority, sent_us,
             holder=holder if state == DONE else None, redelivered=-max(attempt - 1, 0))
        for ident, state, target, kind, priority, sent_us, holder, attempt in rows
    ]  # fmt: skip


class Steered(NamedTuple):
    state: int
    target: str
    kind: str
    priority: int
    sent_us: int
    sender: str


def steered(tx: Transaction, principal: Principal, ident: int, shown: str, verb: str) -> Steered:
    """A message its steerer may steer. Raises NotFound or Denied; a denial is audited, although
    the change is not made."""
    row = tx.execute(sql.SELECT_STEERED, (ident, tx.env)).fetchone()
    if row is None:
        raise NotFound(f"no message {shown}")
    found = Steered(*row)
    sender = found.sender
    if principal.id != sender and not reaches(principal.role, Role.COORDINATOR):
        tx.audit(principal.id, DENIED, shown, allowed=False, detail=verb)
        raise Denied(
            f"{principal.id} did not send {shown}",
            hint="its sender, a coordinator or the operator may do this",
        )
    return found


class Denial(QueueOperation):
    """Note that somebody was refused before anything was asked of the store."""

    __slots__ = ("actor", "object_", "verb")

    def __init__(self, actor: str, object_: str, verb: str) -> None:
        self.actor = actor
        self.object_ = object_
        self.verb = verb

    def change(self, tx: Transaction) -> None:
        tx.audit(self.actor, DENIED, self.object_, allowed=False, detail=self.verb)
