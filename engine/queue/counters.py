"""What the queue knows without asking the store: counts, leases, the next deadline.

Changed only on the engine's loop, after a commit, by what the commit did. Nothing here is ever
counted in the file again while the queue is open.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ..store.database import Reader
from ..views import QueueCounts
from . import statements as sql
from .lanes import Lanes
from .statements import DELAYED, DONE, GONE, LEASED, READY, STATES


class Move(NamedTuple):
    """One message that went from one state to another."""

    ident: int
    before: int
    after: int
    target: str
    kind: str
    deadline_us: int | None = None  # something will have to be done about it then
    holder: str | None = None  # who finished it, if it was done
    redelivered: int = 0  # change of the count of deliveries after the first


class Lease(NamedTuple):
    holder: str
    sender: str


class Snapshot(NamedTuple):
    """What a file holds when the queue is opened."""

    ready: list[tuple[str, str, int]]
    states: list[tuple[int, int]]
    leases: list[tuple[int, str, str]]
    done: list[tuple[str, int]]
    redelivered: int
    last_id: int
    deadline_us: int | None


class Counters:
    """The queue's numbers. Belongs to the engine's loop; read it, never change it."""

    __slots__ = ("_states", "done_by", "lanes", "leased_by", "leases", "redelivered")

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.leases: dict[int, Lease] = {}
        self.leased_by: Counter[str] = Counter()
        self.done_by: Counter[str] = Counter()
        self.redelivered = 0
        self._states = [0] * len(STATES)

    def load(self, snapshot: Snapshot) -> None:
        for target, kind, count in snapshot.ready:
            self.lanes.add(target, kind, count)
            self._states[READY] += count
        for state, count in snapshot.states:
            self._states[state] += count
        for ident, holder, sender in snapshot.leases:
            self._begin_lease(ident, holder, sender)
        self._states[LEASED] = len(self.leases)
        self.done_by.update(dict(snapshot.done))
        self._states[DONE] = self.done_by.total()
        self.redelivered = snapshot.redelivered

    def counts(self) -> QueueCounts:
        """Messages by state."""
        return QueueCounts(**dict(zip(STATES, self._states, strict=True)))

    def added(self, state: int, target: str, kind: str) -> None:
        """A message was sent."""
        self._states[state] += 1
        if state == READY:
            self.lanes.add(target, kind)

    def taken(self, ident: int, lane: tuple[str, str], lease: Lease, attempt: int) -> None:
        """A ready message was claimed."""
        self.lanes.remove(*lane)
        self._states[READY] -= 1
        self._states[LEASED] += 1
        self._begin_lease(ident, lease.holder, lease.sender)
        if attempt > 1:
            self.redelivered += 1

    def finished(self, ident: int) -> None:
        """A leased message is done."""
        holder = self._end_lease(ident)
        self._states[LEASED] -= 1
        self._states[DONE] += 1
        self.done_by[holder] += 1

    def moved(self, move: Move) -> None:
        """Any other change of state."""
        self._states[move.before] -= 1
        if move.after != GONE:
            self._states[move.after] += 1
        if move.before == READY:
            self.lanes.remove(move.target, move.kind)
        elif move.before == LEASED:
            self._end_lease(move.ident)
        elif move.before == DONE and move.holder is not None:
            _lower(self.done_by, move.holder)
        if move.after == READY:
            self.lanes.add(move.target, move.kind)
        self.redelivered += move.redelivered

    def _begin_lease(self, ident: int, holder: str, sender: str) -> None:
        self.leases[ident] = Lease(holder, sender)
        self.leased_by[holder] += 1

    def _end_lease(self, ident: int) -> str:
        holder = self.leases.pop(ident).holder
        _lower(self.leased_by, holder)
        return holder


def _lower(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]


def read_snapshot(reader: Reader) -> Snapshot:
    """Read from the partial indexes alone, but for the rows of leases."""
    env = (reader.env,)

    def number(statement: str) -> int:
        row = reader.execute(statement, env if "?" in statement else ()).fetchone()
        return int(row[0] or 0) if row else 0

    delayed = [(DELAYED, number(sql.COUNT_DELAYED))]
    finished = reader.execute(sql.COUNT_FINISHED, env).fetchall()
    deadlines = (sql.NEXT_DELAY, sql.NEXT_LEASE, sql.NEXT_EXPIRY)
    return Snapshot(
        ready=reader.execute(sql.COUNT_READY, env).fetchall(),
        states=delayed + finished,
        leases=reader.execute(sql.SELECT_LEASES, env).fetchall(),
        done=reader.execute(sql.COUNT_DONE, env).fetchall(),
        redelivered=number(sql.SUM_REDELIVERED),
        last_id=number(sql.LAST_ID),
        deadline_us=min(filter(None, map(number, deadlines)), default=None),
    )
