"""Events are taken to be worked on, and completed or given up by whoever holds them.

Everything here runs on the writer's thread. What is due by the clock is done before something is
taken, so that no timer is needed for it: retries whose wait is over, leases that ran out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from ..errors import Conflict, Damaged, NotFound, SwarmDeckError
from ..model import Principal, Right
from ..store.database import Operation, Transaction
from ..views import EventView
from . import rows
from .publishing import Keeper
from .rows import COMPLETED, EXPIRED, FAILED, PROCESSING, WAITING, Event

ENGINE: Final = "engine"  # the actor of what nobody asked for
STEP_ROWS: Final = 100  # that one transaction looks after
RAN_OUT: Final = "its lease ran out"

_TAKEABLE: Final = f"""
SELECT {rows.COLUMNS}, payload FROM event INDEXED BY {{index}}
WHERE env = ? AND lane = ? {{more}} AND state = 0 AND expires_at > ?
ORDER BY priority DESC, id"""  # noqa: S608 - constants
OF_ANY_TYPE: Final = _TAKEABLE.format(index="event_ready", more="")
OF_A_TYPE: Final = _TAKEABLE.format(index="event_ready_type", more="AND type = ?")
_TAKE: Final = """
UPDATE event SET state = 2, holder = ?, attempt = attempt + 1, lease_until = ?, taken_at = ?,
    due_at = NULL, updated_at = ?
WHERE id = ?"""
_SETTLE: Final = """
UPDATE event SET state = ?, retries = ?, due_at = ?, lease_until = NULL, duration_us = ?,
    error = ?, updated_at = ?
WHERE id = ?"""
_READY_AGAIN: Final = """
UPDATE event SET state = 0, due_at = NULL, updated_at = ? WHERE id IN (
    SELECT id FROM event WHERE env = ? AND state = 1 AND due_at <= ? LIMIT ?)"""
_LAPSED: Final = f"""
SELECT {rows.COLUMNS} FROM event
WHERE env = ? AND state = 2 AND lease_until <= ? ORDER BY lease_until LIMIT ?"""  # noqa: S608


class Backoff(Protocol):
    """How long a retry waits."""

    def wait_us(self, failures: int) -> int: ...


class Worked(Keeper, Protocol):
    """What taking and giving up need besides."""

    @property
    def backoff(self) -> Backoff: ...
    def finished(self, event: EventView) -> None:
        """On the loop: it was completed or given up."""
        ...


class Take(Operation):
    """Lease the most urgent events of some lanes; answers with them, oldest first of a priority."""

    __slots__ = ("keeper", "lanes", "lease_us", "limit", "principal", "types")
    topic = "events"

    def __init__(
        self,
        keeper: Worked,
        principal: Principal,
        lanes: Sequence[str],
        types: Sequence[str] | None,
        limit: int,
        lease_us: int,
    ) -> None:
        self.keeper = keeper
        self.principal = principal
        self.lanes = lanes
        self.types = types
        self.limit = limit
        self.lease_us = lease_us

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        keeper = operations[0].keeper
        turn(tx, keeper)
        outcomes: list[Any] = []
        for operation in operations:
            try:
                keeper.ring.require()
                outcomes.append(operation.take(tx))
            except SwarmDeckError as error:
                outcomes.append(error)
        return outcomes

    def take(self, tx: Transaction) -> list[EventView]:
        """One that is damaged has failed, and stands in nobody's way."""
        taken: list[EventView] = []
        for found, stored in self._candidates(tx):
            if len(taken) == self.limit:
                break
            try:
                said = rows.payload(self.keeper.ring, found, stored)
            except Damaged as error:
                settle(tx, found, FAILED, error.message)
                tx.audit(ENGINE, "event.damaged", self._shown(found.ident))
                continue
            taken.append(rows.view(self.keeper.environment, self._leased(tx, found), said))
        return taken

    def _candidates(self, tx: Transaction) -> list[tuple[Event, bytes]]:
        """The first of each lane and type in the order in which they are taken; enough of them,
        unless some are damaged: those come again with the next call."""
        found: list[tuple[Event, bytes]] = []
        for lane in dict.fromkeys(self.lanes):
            for type_ in self.types or (None,):
                found += self._of_lane(tx, lane, type_)
        found.sort(key=lambda each: (-each[0].priority, each[0].ident))
        return found

    def _of_lane(self, tx: Transaction, lane: str, type_: str | None) -> list[tuple[Event, bytes]]:
        """The level lets everyone of a lane read what is in it; entries may say otherwise."""
        statement = OF_ANY_TYPE if type_ is None else OF_A_TYPE
        named = () if type_ is None else (type_,)
        found: list[tuple[Event, bytes]] = []
        for row in tx.execute(statement, (tx.env, lane, *named, tx.now_us)):
            each = rows.event(row[:-1])
            ident = self._shown(each.ident)
            if self.keeper.rows.allows(self.principal, Right.READ, each, ident):
                found.append((each, row[-1]))
                if len(found) == self.limit:
                    break
        return found

    def _leased(self, tx: Transaction, found: Event) -> Event:
        until_us = tx.now_us + self.lease_us
        tx.execute(_TAKE, (self.principal.id, until_us, tx.now_us, tx.now_us, found.ident))
        tx.audit(self.principal.id, "event.take", self._shown(found.ident), detail=found.type)
        return msgspec.structs.replace(
            found, state=PROCESSING, holder=self.principal.id, attempt=found.attempt + 1,
            lease_until_us=until_us, taken_us=tx.now_us, due_us=None, updated_us=tx.now_us,
        )  # fmt: skip

    def _shown(self, ident: int) -> str:
        return rows.shown(self.keeper.environment, ident)

    def committed(self, outcome: list[EventView]) -> list[EventView]:
        for taken in outcome:
            self.keeper.due(taken.lease_until_us or 0)
        return outcome


class Finish(Operation):
    """Complete an event, or give it up with an `error`: it is tried again after a while until its
    retries are used up. For who holds it (at that `attempt`, None: whichever) and for those who
    may delete it; answers with what it is then."""

    __slots__ = ("attempt", "error", "ident", "keeper", "principal")
    topic = "events"

    def __init__(
        self,
        keeper: Worked,
        principal: Principal,
        ident: int,
        attempt: int | None,
        error: str | None,
    ) -> None:
        self.keeper = keeper
        self.principal = principal
        self.ident = ident
        self.attempt = attempt
        self.error = error

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        outcomes: list[Any] = []
        for operation in operations:
            try:
                outcomes.append(operation.change(tx))
            except SwarmDeckError as error:
                outcomes.append(error)
        return outcomes

    def change(self, tx: Transaction) -> EventView:
        ident = rows.shown(self.keeper.environment, self.ident)
        found = rows.find(tx, self.ident)
        if found is None:
            raise NotFound(f"no event {ident}")
        held = found[0]
        self._require(held, ident)
        if self.error is None:
            now = settle(tx, held, COMPLETED, "")
            tx.audit(self.principal.id, "event.complete", ident)
        else:
            now = give_up(tx, self.keeper.backoff, held, self.error)
            tx.audit(self.principal.id, "event.fail", ident, detail=self.error)
        return rows.view(self.keeper.environment, now)

    def _require(self, held: Event, ident: str) -> None:
        """Raises NotFound, Conflict."""
        holds = held.state == PROCESSING and held.holder == self.principal.id
        if not holds:
            self.keeper.rows.require(self.principal, Right.READ, held, ident)
        fenced = self.attempt not in (None, held.attempt)
        by_hand = held.state == PROCESSING and self.keeper.rows.allows(
            self.principal, Right.DELETE, held, ident
        )
        if fenced or not (holds or by_hand):
            raise Conflict(
                f"{ident} is not held by {self.principal.id}"
                f"{'' if self.attempt is None else f' at attempt {self.attempt}'}: it is "
                f"{rows.STATUSES[held.state]} at attempt {held.attempt}",
                hint="take it first; a lease that ran out is taken back",
            )

    def committed(self, outcome: EventView) -> EventView:
        self.keeper.finished(outcome)
        return outcome


def give_up(tx: Transaction, backoff: Backoff, held: Event, error: str) -> Event:
    """Let an event be tried again after a while, or no more."""
    if held.retries >= held.max_retries:
        return settle(tx, held, FAILED, error)
    due_us = tx.now_us + backoff.wait_us(held.retries + 1)
    if held.expires_us <= due_us:
        return settle(tx, held, EXPIRED, error)
    return settle(tx, held, WAITING, error, due_us)


def settle(
    tx: Transaction, held: Event, state: int, error: str, due_us: int | None = None
) -> Event:
    """Bring an event into another state and out of its holder's hands."""
    retries = held.retries + (state == WAITING)
    worked = held.state == PROCESSING and held.taken_us is not None
    spent_us = tx.now_us - (held.taken_us or 0) if worked else held.duration_us
    tx.execute(_SETTLE, (state, retries, due_us, spent_us, error, tx.now_us, held.ident))
    return msgspec.structs.replace(
        held, state=state, retries=retries, due_us=due_us, lease_until_us=None,
        duration_us=spent_us, error=error, updated_us=tx.now_us,
    )  # fmt: skip


def turn(tx: Transaction, keeper: Worked) -> int:
    """Do what is due: leases that ran out are failures of their holders, retries are ready. How
    many events that were, at most STEP_ROWS of each."""
    ready = tx.execute(_READY_AGAIN, (tx.now_us, tx.env, tx.now_us, STEP_ROWS)).rowcount
    lapsed = tx.execute(_LAPSED, (tx.env, tx.now_us, STEP_ROWS)).fetchall()
    for row in lapsed:
        held = rows.event(row)
        give_up(tx, keeper.backoff, held, RAN_OUT)
        ident = rows.shown(keeper.environment, held.ident)
        tx.audit(ENGINE, "event.lapse", ident, detail=held.holder or "")
    return ready + len(lapsed)
