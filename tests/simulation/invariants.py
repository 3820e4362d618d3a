"""What must be true of the engine at any moment, and of its files at the end.

Looked at from outside the calls: memory is compared with the file only while no batch is under way,
and what is promised within a time only while nothing was done that may take longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, Final

from swarmdeck.engine.environment import database_path
from swarmdeck.engine.model import OPERATOR
from swarmdeck.engine.queue.counters import Counters, read_snapshot
from swarmdeck.engine.queue.statements import DEAD, DONE, LEASED, READY, STATES
from swarmdeck.engine.store import driver
from swarmdeck.engine.store.chain import NO_HASH, link
from swarmdeck.engine.store.reader import Reader

from .actors import TICK
from .oracle import MAX_ATTEMPTS, Job, Violation

if TYPE_CHECKING:
    from .world import World

LATE_S: Final = 4.0  # what is due is done by then
RESUMED_US: Final = 5_000_000  # a disk may take that long to record that a queue goes on
NEARLY_FULL: Final = 10  # messages may come and go between two looks
ROOM_S: Final = 10.0  # after which what waits for room has had some
FREED_S: Final = 1.0  # and what a dead agent held is free
_COUNTED: Final = ("_states", "leases", "leased_by", "done_by", "redelivered")

_OVERDUE: Final = """
SELECT id, state, due_at, lease_until, expires_at FROM message
WHERE (state = 1 AND due_at <= ?1) OR (state = 2 AND lease_until <= ?1)
   OR (state IN (0, 1) AND expires_at <= ?1)
ORDER BY id LIMIT 1"""
_LATE: Final = "SELECT id, next_at FROM schedule WHERE enabled = 1 AND next_at <= ?"
_LEASES: Final = "SELECT id, holder, attempt, updated_at FROM message WHERE state = 2 ORDER BY id"
_MESSAGES: Final = """
SELECT id, kind, priority, state, attempt, spent, max_attempts, holder, dedup_key, target
FROM message ORDER BY id"""
_EFFECTS: Final = "SELECT key, version, owner FROM memory WHERE namespace = 'effects' ORDER BY key"
_TRAIL: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail, hash FROM audit
ORDER BY sequence"""


def look(world: World) -> None:
    """At any moment. Raises Violation."""
    one_process_each(world)
    if not world.is_up or (world.engine is not None and world.engine.frozen):
        return
    _ledger(world)
    for name in world.environments:
        place = world.core.places[name]
        if place.refusal is not None:
            raise Violation(f"{name} is out of use: {place.refusal.message}")
        database = place.database
        if database._draining is None and database._writer._inner is not None:
            raw = database._writer._inner.raw
            _counters(name, place.queue, raw)
            _depth(name, database, place.queue)
            if world.is_calm:
                _due(world, name, place, raw)


def one_process_each(world: World) -> None:
    """An agent is one process, and one that the engine knows."""
    for agent, running in world.kernel.alive().items():
        if len(running) > 1:
            raise Violation(f"{agent} runs {len(running)} times")
    if world.is_calm and not world.steering:
        _those_recorded(world)


def _those_recorded(world: World) -> None:
    """Who runs is recorded, and who is recorded as running does, or will soon."""
    known = {
        ident: agent
        for name in world.environments
        for ident, agent in world.core.places[name].registry.agents.items()
    }
    if strangers := sorted(set(world.kernel.alive()) - set(known)):
        raise Violation(f"{strangers} run, and no file knows of them")
    crew = world.core.swarms._crew
    under_way = (agent for agent, turn in crew._turns.items() if turn.locked())
    cared_for = {*crew.watched, *crew._settling, *under_way}
    for ident, agent in known.items():
        if agent.is_live and not agent.is_external and ident not in cared_for:
            raise Violation(f"{ident} is {agent.state}, does not run, and nobody will start it")


def _ledger(world: World) -> None:
    """What is allocated is what the swarms that are not over were given, and within the plan."""
    ledger = world.core.ledger
    use = ledger.use()
    for each in use:
        if each.allocated_bytes > each.max_bytes:
            raise Violation(f"{each.name} holds {each.allocated_bytes} of {each.max_bytes} bytes")
    if world.steering or not world.is_calm:
        return
    recorded = {
        swarm.id: swarm.memory_bytes
        for name in world.environments
        for swarm in world.core.places[name].registry.swarms.values()
        if not swarm.is_over
    }
    total = sum(each.allocated_bytes for each in use)
    if total != sum(recorded.values()):
        raise Violation(f"{total} bytes are allocated, {recorded} are recorded")
    for ident, size_bytes in recorded.items():
        if ledger.holding(ident).bytes != size_bytes:
            raise Violation(f"{ident} holds {ledger.holding(ident).bytes}, not {size_bytes}")


def _counters(name: str, queue: Any, raw: Any) -> None:
    """What the queue counts in memory is what its file holds."""
    fresh = Counters()
    fresh.load(read_snapshot(Reader(raw, name)))
    for what in _COUNTED:
        mine, real = getattr(queue.counters, what), getattr(fresh, what)
        if _plain(mine) != _plain(real):
            raise Violation(f"{name} counts {what} {_plain(mine)}, its file {_plain(real)}")
    if queue.counters.lanes._ready != fresh.lanes._ready:
        raise Violation(
            f"{name} counts lanes {queue.counters.lanes._ready}, its file {fresh.lanes._ready}"
        )
    kept = (STATES.index(state) for state in STATES if state in {"ready", "delayed", "leased"})
    for state in kept:
        if queue.counters.priorities.by[state] != fresh.priorities.by[state]:
            raise Violation(f"{name} counts priorities of {STATES[state]} wrong")


def _depth(name: str, database: Any, queue: Any) -> None:
    """Not more is open than may be, nothing is on its way that has arrived, and nobody waits for
    room that is there."""
    flow = queue.flow
    if queue.counters.open > flow.limit:
        raise Violation(f"{name} holds {queue.counters.open} messages, {flow.limit} are allowed")
    if not database._waiting and flow._coming:
        raise Violation(f"{name} counts {flow._coming} messages on their way, and none is")
    first = next(iter(flow._line.values()), None)
    room = flow._coming + queue.counters.open < flow.limit and flow.state.mode != "draining"
    if first is not None and first.messages == 1 and room and flow._serving is None:
        raise Violation(f"{name} has room, and {len(flow._line)} senders wait for some")


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return {key: count for key, count in sorted(value.items()) if count}
    return value


def _due(world: World, name: str, place: Any, raw: Any) -> None:
    """What time brings is done in time, and whoever waits is served."""
    late_us = world.now_us() - int(LATE_S * 1e6)
    if (row := raw.execute(_OVERDUE, (late_us,)).fetchone()) is not None:
        raise Violation(f"{name}: message {row} is overdue since {late_us}")
    for ident, holder, attempt, since_us in raw.execute(_LEASES).fetchall():
        old = since_us < late_us
        _holder(world, name, f"{place.queue.prefix}_msg_{ident}", holder, attempt, old=old)
    mode = place.queue.flow.state.mode
    if mode != "paused":
        _served(name, place.queue)
    now_s, flow = world.loop.time(), place.queue.flow
    if mode == "draining" or flow.depth + NEARLY_FULL > flow.limit:
        world.full_s[name] = now_s
    changed_s = (world.now_us() - flow.state.changed_us) / 1e6  # it may have been drained till then
    had_room = min(now_s - world.full_s.get(name, -ROOM_S), changed_s) >= ROOM_S
    if had_room and (row := raw.execute(_LATE, (late_us,)).fetchone()):
        raise Violation(f"{name}: schedule {row} is late since {late_us}")


def _holder(world: World, name: str, ident: str, holder: str, attempt: int, *, old: bool) -> None:
    """A lease belongs to somebody who lives and, being the operator, knows of it."""
    job = world.oracle.idents.get((name, ident))
    given = None if job is None else job.given.get(attempt)
    if given is None:
        if old and job is not None and holder == OPERATOR:
            raise Violation(f"{ident} is leased to an operator who has left")
    elif given.process is not None and not given.process.alive:
        dead_s = world.loop.time() - given.process.died_s
        if dead_s > FREED_S:
            raise Violation(f"{ident} is leased to {holder}, which died {dead_s:.1f} s ago")


def _served(name: str, queue: Any) -> None:
    """Nobody waits in line for what is there."""
    lanes = queue.counters.lanes
    for target, kinds in lanes._ready.items():
        wanted = queue._line._waiters.wanted(target)
        for kind in kinds:
            if kind in wanted or None in wanted:
                whose = target or "anybody"
                raise Violation(f"{name}: {kinds} of {whose} are ready, and some wait for {wanted}")


# --- at the end -----------------------------------------------------------------------------------


def open_messages(world: World) -> str:
    """What is not done yet, in words; empty when all is."""
    unsent = [job.key for job in world.oracle.jobs.values() if not job.ident]
    found = {name: counts for name in world.environments if (counts := _open(world, name))}
    return f"unsent {unsent}, open {found}" if unsent or found else ""


def _open(world: World, name: str) -> dict[str, int]:
    """By state."""
    counts = world.core.places[name].queue.counts()
    found = {state: getattr(counts, state) for state in ("ready", "delayed", "leased")}
    return {state: count for state, count in found.items() if count}


def ended(world: World) -> None:
    """All swarms are over."""
    if left := [each for each in world.core.ledger.use() if each.allocated_bytes]:
        raise Violation(f"memory is held by nobody: {left}")
    one_process_each(world)


def files(world: World) -> None:
    """What the files say once the engine is closed. Raises Violation."""
    for name in world.environments:
        raw = driver.look(database_path(world.data, name))
        try:
            _messages(world, name, raw)
            _trail(world, name, raw)
        finally:
            raw.close()


def _messages(world: World, name: str, raw: Any) -> None:
    """Each job is there once, has ended as it had to, and its effect once, if it is done."""
    effects: Counter[int] = Counter()
    for key, version, _ in raw.execute(_EFFECTS).fetchall():
        effects[int(key.split(":")[1])] += version
    rows = raw.execute(_MESSAGES).fetchall()
    by_key = {row[8]: row for row in rows if row[1] != TICK}
    _ticks(name, [row[8] for row in rows if row[1] == TICK], raw)
    for job in world.oracle.jobs.values():
        if job.environment == name:
            row = by_key.pop(job.key, None)
            if row is None:
                raise Violation(f"{job.ident} was acknowledged and is lost")
            _ended_well(job, row, effects[job.number])
            world.oracle.absorb(row)
    if by_key:
        raise Violation(f"messages that nobody has sent: {sorted(map(str, by_key))}")


def _ticks(name: str, keys: Sequence[str | None], raw: Any) -> None:
    """Each time a schedule was due there is one message."""
    [(runs, skipped)] = raw.execute("SELECT runs, skipped FROM schedule").fetchall()
    if len(keys) != runs or len(set(keys)) != runs or None in keys:
        raise Violation(f"{name} ran {runs} times and skipped {skipped}: {keys}")


def _ended_well(job: Job, row: Sequence[Any], effects: int) -> None:
    ident, _, _, state, attempt, spent, most, *_ = row
    if not job.ident.endswith(f"_{ident}"):
        raise Violation(f"{job.ident} is message {ident} in the file")
    if attempt - spent > most:
        raise Violation(f"{job.ident} was tried {attempt - spent} times, {most} are allowed")
    if job.acknowledged and state != DONE:
        raise Violation(f"{job.ident} was acknowledged and is {STATES[state]}")
    if effects != (1 if state == DONE else 0):
        raise Violation(f"{job.ident} is {STATES[state]} and has had {effects} effects")
    if state == DEAD and attempt < MAX_ATTEMPTS:
        raise Violation(f"{job.ident} is dead after {attempt} attempts")
    if state in {READY, LEASED}:
        raise Violation(f"{job.ident} is {STATES[state]} at the end")


def _trail(world: World, name: str, raw: Any) -> None:
    """The trail is whole, and tells of a queue that keeps its rules."""
    before, commit = NO_HASH, []
    replay = Replay(name, raw, {job.key for job in world.oracle.jobs.values() if job.delay_s})
    for number, (*row, found) in enumerate(raw.execute(_TRAIL).fetchall(), start=1):
        if row[0] != number:
            raise Violation(f"{name}: the trail has {row[0]} where {number} should be")
        commit.append(tuple(row))
        replay.follow(row)
        if found is not None:
            if link(before, commit) != found:
                raise Violation(f"{name}: the chain breaks at {row[0]}")
            before, commit = found, []
    world.oracle.absorb(before)


class Replay:
    """The queue once more, from its trail. What was ever delayed or given back may be ready at any
    time; all others are claimed in the order of their lane."""

    def __init__(self, name: str, raw: Any, odd: Set[str]) -> None:
        self._name = name
        self._rows = {row[0]: row for row in raw.execute(_MESSAGES).fetchall()}
        self._ready: dict[tuple[str, str], dict[int, int]] = {}  # priority of the plain ones
        self._leased: dict[int, tuple[str, int]] = {}
        self._attempt: Counter[int] = Counter()
        self._odd = odd
        self._paused = False
        self._early = ""
        self._claimed_us = 0

    def follow(self, row: Sequence[Any]) -> None:
        _, _, at_us, actor, action, object_, _, detail = row
        if self._early == "":
            self._claimed_us = at_us
        if action in {"queue.pause", "queue.drain", "queue.resume"}:
            self._turn(action, at_us)
        step = getattr(self, "_" + action.removeprefix("queue."), None)
        if action.startswith("queue.") and step is not None and "_msg_" in object_:
            step(int(object_.rpartition("_")[2]), actor, detail)

    def _turn(self, action: str, at_us: int) -> None:
        """Going on is in force before it is recorded, with what is claimed meanwhile."""
        if self._early and (action != "queue.resume" or at_us - self._claimed_us > RESUMED_US):
            raise Violation(self._early)
        self._early = ""
        self._paused = action == "queue.pause"

    def _lane(self, ident: int) -> tuple[str, str]:
        row = self._rows[ident]
        return row[9], row[1]

    def _send(self, ident: int, _: str, __: str) -> None:
        if self._rows[ident][8] not in self._odd:
            self._ready.setdefault(self._lane(ident), {})[ident] = self._rows[ident][2]

    def _claim(self, ident: int, actor: str, detail: str) -> None:
        attempt = int(detail.split()[1])
        if ident in self._leased:
            raise Violation(f"{self._name}: {ident} was claimed while it was leased")
        if self._paused and not self._early:
            self._early = f"{self._name}: {ident} was claimed while the queue was paused"
        if attempt != self._attempt[ident] + 1:
            raise Violation(f"{self._name}: {ident} was claimed at attempt {attempt}")
        self._attempt[ident] = attempt
        self._leased[ident] = actor, attempt
        lane = self._ready.get(self._lane(ident), {})
        if (priority := lane.pop(ident, None)) is not None:
            for other, theirs in self._ahead(lane, ident, priority):
                raise Violation(
                    f"{self._name}: {ident} (priority {priority}) was claimed before {other} "
                    f"(priority {theirs})"
                )

    @staticmethod
    def _ahead(lane: dict[int, int], ident: int, priority: int) -> Iterator[tuple[int, int]]:
        return (
            (other, theirs)
            for other, theirs in lane.items()
            if theirs > priority or (theirs == priority and other < ident)
        )

    def _end_lease(self, ident: int, actor: str, what: str) -> None:
        holder = self._leased.pop(ident, None)
        if holder is None or (actor not in {"engine", "operator"} and holder[0] != actor):
            raise Violation(f"{self._name}: {what} of {ident} by {actor}, held by {holder}")

    def _ack(self, ident: int, actor: str, _: str) -> None:
        self._end_lease(ident, actor, "ack")

    def _nack(self, ident: int, actor: str, _: str) -> None:
        self._end_lease(ident, actor, "nack")

    def _take_back(self, ident: int, actor: str, _: str) -> None:
        self._end_lease(ident, actor, "taking back")

    def _untake(self, ident: int, actor: str, _: str) -> None:
        self._end_lease(ident, actor, "giving back")
        self._attempt[ident] -= 1

    def _damaged(self, ident: int, *_: str) -> None:
        raise Violation(f"{self._name}: {ident} is damaged")

    def _expire(self, ident: int, *_: str) -> None:
        self._gone(ident)

    def _cancel(self, ident: int, *_: str) -> None:
        self._gone(ident)

    def _gone(self, ident: int) -> None:
        self._leased.pop(ident, None)
        self._ready.get(self._lane(ident), {}).pop(ident, None)
