"""What somebody does to events by hand: try one again, delete some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ..errors import Conflict, NotFound
from ..model import Principal, Right
from ..store.database import Reader, Transaction
from ..views import EventView
from . import rows
from .publishing import Keeper
from .rows import COMPLETED, EXPIRED, FAILED, PROCESSING, READY, WAITING, Event

STEP_ROWS: Final = 100  # deleted in one transaction

_RETRY: Final = """
UPDATE event SET state = 0, retries = 0, due_at = NULL, expires_at = ?, error = '', updated_at = ?
WHERE id = ?"""
_DELETE: Final = "DELETE FROM event WHERE id = ?"
_STATES: Final = {
    "pending": (READY, WAITING), "processing": (PROCESSING,), "completed": (COMPLETED,),
    "failed": (FAILED,), "expired": (EXPIRED,),
}  # fmt: skip


class Filter(NamedTuple):
    """Which events: of a status, a type, a source, and older than `before_us`; None is any."""

    status: str | None = None
    type: str | None = None
    source: str | None = None
    before_us: int | None = None

    @property
    def where(self) -> tuple[str, tuple[object, ...]]:
        """As a condition on the table."""
        parts: list[str] = []
        values: list[object] = []
        if self.status is not None:
            states = states_of(self.status)
            parts.append(f"state IN ({', '.join(map(str, states))})")
        for column, wanted in (("type", self.type), ("owner", self.source)):
            if wanted is not None:
                parts.append(f"{column} = ?")
                values.append(wanted)
        if self.before_us is not None:
            parts.append("created_at < ?")
            values.append(self.before_us)
        return " AND ".join(parts) or "1", tuple(values)


def states_of(status: str) -> tuple[int, ...]:
    """The states that are called so."""
    return _STATES[status]


def retry(keeper: Keeper, principal: Principal, ident: int) -> Callable[[Transaction], EventView]:
    """Make an event that failed, expired or waits for another try ready, with fresh retries and
    all of its time. Raises NotFound, Denied, Conflict."""

    def change(tx: Transaction) -> EventView:
        found, shown = _mine(tx, keeper, principal, ident)
        if found.state not in (WAITING, FAILED, EXPIRED):
            raise Conflict(
                f"{shown} is {rows.STATUSES[found.state]}",
                hint="only what failed, expired or waits for another try is tried again",
            )
        expires_us = tx.now_us + found.ttl_us
        tx.execute(_RETRY, (expires_us, tx.now_us, ident))
        tx.audit(principal.id, "event.retry", shown)
        again = msgspec.structs.replace(
            found, state=READY, retries=0, due_us=None, expires_us=expires_us, error="",
            updated_us=tx.now_us,
        )  # fmt: skip
        return rows.view(keeper.environment, again)

    return change


def _mine(tx: Transaction, keeper: Keeper, principal: Principal, ident: int) -> tuple[Event, str]:
    found, shown = rows.find(tx, ident), rows.shown(keeper.environment, ident)
    if found is None:
        raise NotFound(f"no event {shown}")
    keeper.rows.require(principal, Right.DELETE, found[0], shown)
    return found[0], shown


def doomed(keeper: Keeper, principal: Principal, wanted: Filter) -> Callable[[Reader], list[int]]:
    """The numbers of the events that a filter names and that `principal` may delete."""
    where, values = wanted.where
    statement = f"SELECT {rows.COLUMNS} FROM event WHERE env = ? AND {where} ORDER BY id"  # noqa: S608

    def query(reader: Reader) -> list[int]:
        found = map(rows.event, reader.execute(statement, (reader.env, *values)))
        return [each.ident for each in found if _may_delete(keeper, principal, each)]

    return query


def delete(
    keeper: Keeper, principal: Principal, idents: Iterable[int], wanted: Filter | None
) -> Callable[[Transaction], int]:
    """Delete those of some events that are still what the filter says (None: any) and that
    `principal` may delete; how many that were."""
    states = None if wanted is None or wanted.status is None else states_of(wanted.status)

    def change(tx: Transaction) -> int:
        gone = 0
        for ident in idents:
            found = rows.find(tx, ident)
            if found is None or not _may_delete(keeper, principal, found[0]):
                continue
            if states is None or found[0].state in states:
                tx.execute(_DELETE, (ident,))
                shown = rows.shown(keeper.environment, ident)
                tx.audit(principal.id, "event.purge", shown, detail=found[0].type)
                gone += 1
        return gone

    return change


def _may_delete(keeper: Keeper, principal: Principal, found: Event) -> bool:
    shown = rows.shown(keeper.environment, found.ident)
    return keeper.rows.allows(principal, Right.DELETE, found, shown)
