"""What the queue knows without asking the store: counts, leases, the next deadline.

Changed only on the engine's loop, after a commit, by what the commit did. Nothing here is ever
counted in the file again while the queue is open.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from ..store.database import Reader
from ..views import QueueCounts
from . import statements as sql
from .ages import Ages
from .lanes import Lanes
from .statements import DEAD, DELAYED, DONE, GONE, LEASED, READY, STATES

_PRIORITIES: Final = 11  # 1 to 10, by their own number


class Move(NamedTuple):
    """One message that went from one state to another."""

    ident: int
    before: int
    after: int
    target: str
    kind: str
    priority: int
    sent_us: int
    deadline_us: int | None = None  # something will have to be done about it then
    holder: str | None = None  # who finished it, if it was done
    redelivered: int = 0  # change of the count of deliveries after the first
    to_priority: int = 0  # its priority from now on, 0 as before
    to_target: str = ""  # whom it is for from now on, empty as before


class Lease(NamedTuple):
    holder: str
    sender: str
    priority: int


class Snapshot(NamedTuple):
    """What a file holds when the queue is opened. `ages` has the first time of a priority with
    all its messages where `brief`."""

    ready: list[tuple[str, str, int, int]]
    ages: list[tuple[int, int, int]]
    delayed: list[tuple[int, int]]
    finished: list[tuple[int, int]]
    dead: list[tuple[int, int]]
    leases: list[tuple[int, str, str, int]]
    done: list[tuple[str, int]]
    redelivered: int
    last_id: int
    deadline_us: int | None
    brief: bool = False


class Priorities:
    """Messages by priority: `by[state][priority]` of those that are ready, delayed, leased or
    dead. Of other states nothing is kept: what they would count goes where nobody looks.
    `ages[priority]` says since when its messages are ready."""

    __slots__ = ("ages", "by")

    def __init__(self) -> None:
        unseen = [0] * _PRIORITIES
        kept = {READY, DELAYED, LEASED, DEAD}
        states = (*range(len(STATES)), GONE)  # GONE is -1 and finds the last
        self.by = [[0] * _PRIORITIES if state in kept else unseen for state in states]
        self.ages = [Ages() for _ in range(_PRIORITIES)]

    def moved(self, move: Move) -> None:
        to = move.to_priority or move.priority
        self.by[move.before][move.priority] -= 1
        self.by[move.after][to] += 1
        if move.before == READY:
            self.ages[move.priority].remove(move.sent_us)
        if move.after == READY:
            self.ages[to].add(move.sent_us)

    @property
    def oldest_us(self) -> int | None:
        """When the oldest ready message of all was sent."""
        found = [age for ages in self.ages if (age := ages.oldest_us) is not None]
        return min(found, default=None)

    def counts(self, priority: int) -> dict[str, int]:
        """Messages of a priority by state."""
        states = (READY, DELAYED, LEASED, DEAD)
        return {STATES[state].value: self.by[state][priority] for state in states}


class Counters:
    """The queue's numbers. Belongs to the engine's loop; read it, never change it."""

    __slots__ = ("_states", "acked", "claimed", "done_by", "lanes", "leased_by", "leases",
                 "priorities", "redelivered", "sent")  # fmt: skip

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.priorities = Priorities()
        self.leases: dict[int, Lease] = {}
        self.leased_by: Counter[str] = Counter()
        self.done_by: Counter[str] = Counter()
        self.redelivered = 0
        self.sent = self.claimed = self.acked = 0  # since the queue was opened
        self._states = [0] * len(STATES)

    def load(self, snapshot: Snapshot) -> None:
        by = self.priorities.by
        for target, kind, priority, count in snapshot.ready:
            self.lanes.add(target, kind, count)
            self._states[READY] += count
            by[READY][priority] += count
        for priority, sent_us, count in snapshot.ages:
            ages = self.priorities.ages[priority]
            (ages.leave_unread if snapshot.brief else ages.add)(sent_us, count)
        for priority, count in snapshot.delayed:
            self._states[DELAYED] += count
            by[DELAYED][priority] = count
        for state, count in snapshot.finished:
            self._states[state] = count
        for priority, count in snapshot.dead:
            by[DEAD][priority] = count
        for ident, holder, sender, priority in snapshot.leases:
            self._begin_lease(ident, Lease(holder, sender, priority))
            by[LEASED][priority] += 1
        self._states[LEASED] = len(self.leases)
        self.done_by.update(dict(snapshot.done))
        self._states[DONE] = self.done_by.total()
        self.redelivered = snapshot.redelivered

    @property
    def open(self) -> int:
        """Messages that are ready, delayed or leased."""
        states = self._states
        return states[READY] + states[DELAYED] + states[LEASED]

    def counts(self) -> QueueCounts:
        """Messages by state."""
        return QueueCounts(**dict(zip(STATES, self._states, strict=True)))

    def added(
        self, state: int, target: str, kind: str, priority: int, sent_us: int, count: int
    ) -> None:
        """So many messages were sent, in one commit."""
        self.sent += count
        self._states[state] += count
        self.priorities.by[state][priority] += count
        if state == READY:
            self.lanes.add(target, kind, count)
            self.priorities.ages[priority].add(sent_us, count)

    def taken(
        self, ident: int, lane: tuple[str, str], lease: Lease, attempt: int, sent_us: int
    ) -> None:
        """A ready message was claimed."""
        self.claimed += 1
        self.lanes.remove(*lane)
        self._states[READY] -= 1
        self._states[LEASED] += 1
        by = self.priorities.by
        by[READY][lease.priority] -= 1
        by[LEASED][lease.priority] += 1
        self.priorities.ages[lease.priority].remove(sent_us)
        self._begin_lease(ident, lease)
        if attempt > 1:
            self.redelivered += 1

    def finished(self, ident: int) -> None:
        """A leased message is done."""
        self.acked += 1
        lease = self._end_lease(ident)
        self._states[LEASED] -= 1
        self._states[DONE] += 1
        self.priorities.by[LEASED][lease.priority] -= 1
        self.done_by[lease.holder] += 1

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
            self.lanes.add(move.to_target or move.target, move.kind)
        self.priorities.moved(move)
        self.redelivered += move.redelivered

    def _begin_lease(self, ident: int, lease: Lease) -> None:
        self.leases[ident] = lease
        self.leased_by[lease.holder] += 1

    def _end_lease(self, ident: int) -> Lease:
        lease = self.leases.pop(ident)
        _lower(self.leased_by, lease.holder)
        return lease


def _lower(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]


def read_snapshot(reader: Reader, *, brief: bool = False) -> Snapshot:
    """Read from the partial indexes alone, but for the rows of what is leased and, unless `brief`,
    ready."""
    env = (reader.env,)

    def number(statement: str) -> int:
        row = reader.execute(statement, env if "?" in statement else ()).fetchone()
        return int(row[0] or 0) if row else 0

    deadlines = (sql.NEXT_DELAY, sql.NEXT_LEASE, sql.NEXT_EXPIRY)
    return Snapshot(
        ready=reader.execute(sql.COUNT_READY, env).fetchall(),
        ages=reader.execute(sql.FIRST_AGES if brief else sql.COUNT_AGES, env).fetchall(),
        delayed=reader.execute(sql.COUNT_DELAYED, env).fetchall(),
        finished=reader.execute(sql.COUNT_FINISHED, env).fetchall(),
        dead=reader.execute(sql.COUNT_DEAD, env).fetchall(),
        leases=reader.execute(sql.SELECT_LEASES, env).fetchall(),
        done=reader.execute(sql.COUNT_DONE, env).fetchall(),
        redelivered=number(sql.SUM_REDELIVERED),
        last_id=number(sql.LAST_ID),
        deadline_us=min(filter(None, map(number, deadlines)), default=None),
        brief=brief,
    )
