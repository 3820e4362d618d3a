"""The queue of one environment: what its callers see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from ..authority import reaches
from ..clock import Clock
from ..errors import Denied, InvalidInput, NotFound, Unavailable
from ..model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    MessageState,
    Principal,
    Role,
    parse_environment,
    printable,
)
from ..settings import QueueSettings
from ..store.aside import Aside
from ..store.database import Database
from ..vault import Ring
from ..views import LaneView, MessageView, QueueCounts
from . import arguments, pages, steering, views
from .alarm import Alarm
from .counters import Counters, Lease, Move, read_snapshot
from .delivery import Ack, Claim, Extend, HolderOperation, Nack, Send, Taken, Untake, Writes
from .edit import Edit, check, edit
from .line import Directory, Line
from .listing import Wish, list_over
from .statements import READY, STATES
from .upkeep import Release, Sweep, Swept
from .waiters import Messages

H = TypeVar("H", bound=HolderOperation)
MessageViews = list[MessageView]
LaneViews = list[LaneView]

RETRY_SWEEP_S: Final = 1.0  # after a sweep the disk refused

_log = logging.getLogger(__name__)


class MessageQueue:
    """All methods belong to the engine's loop. Data-plane methods check their arguments at once
    (InvalidInput, NotFound, Denied, Unavailable) and answer with a future; they take and give
    what crosses the wire. `counters` is exact as of the last commit."""

    def __init__(
        self,
        database: Database,
        settings: QueueSettings,
        clock: Clock,
        directory: Directory,
        writes: Writes,
        keyring: Ring,
    ) -> None:
        self.environment = parse_environment(database.env)
        self.prefix = self.environment.prefix
        self.counters = Counters()
        self.writes = writes
        self.keyring = keyring
        self._database = database
        self._aside = Aside(database)
        self._settings = settings
        self._clock = clock
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(clock, self._ring)
        self._line = Line(self, database, clock, directory, self._alarm)
        self._last_id = 0
        self._deadline_us: int | None = None
        self._sweep: asyncio.Future[None] | None = None
        self._open = False

    async def open(self) -> None:
        """Learn what the file holds. Call once, before anything else."""
        snapshot = await self._database.read(read_snapshot)
        self.counters.load(snapshot)
        self._last_id = snapshot.last_id
        self._open = True
        if snapshot.deadline_us is not None:
            self.due(snapshot.deadline_us)

    async def close(self) -> None:
        """Answer those who wait with nothing. Leases and messages stay as they are."""
        self._open = False
        self._alarm.close()
        self._line.close()
        if self._sweep is not None:
            await asyncio.wait([self._sweep])

    # --- data plane -------------------------------------------------------------------------

    def send(  # noqa: PLR0913, PLR0917 - the fields of a message, as on the wire
        self,
        principal: Principal,
        kind: str,
        body: bytes,
        priority: int = 5,
        delay_s: float = 0,
        expires_s: float | None = None,
        key: str | None = None,
        to: str | None = None,
        max_attempts: int | None = None,
    ) -> asyncio.Future[str]:
        """Store a message; answers with its id. `body` is a JSON text, `to` an agent, team or
        swarm. A `key` that was used before stores nothing and answers with the first id, as
        long as that message is kept. Raises NotFound for an unknown `to`."""
        self._admit(principal)
        self.keyring.require()
        send = Send()
        send.keeper = self
        send.sender = principal.id
        send.kind = arguments.kind(kind)
        send.target = self._target(to)
        send.priority = arguments.whole(priority, 1, 10, "priority")
        send.delay_us = arguments.wait(delay_s)
        send.expires_us = arguments.expiry(expires_s, send.delay_us)
        send.key = arguments.dedup_key(key)
        most = self._settings.max_attempts if max_attempts is None else max_attempts
        send.max_attempts = arguments.whole(most, 1, arguments.MAX_ATTEMPTS, "max_attempts")
        send.text = arguments.body(body)
        self._last_id += 1
        send.ident = self._last_id
        if not send.delay_us:
            self.counters.lanes.sending(send.target, send.kind, send.ident)
            self._line.mark(send.target, send.kind, 1)
        return self._database.submit(send)

    def claim(
        self,
        principal: Principal,
        limit: int = 1,
        lease_s: float | None = None,
        wait_s: float = 0,
        kinds: Iterable[str] | None = None,
    ) -> asyncio.Future[Messages]:
        """Lease up to `limit` messages, most urgent first, as soon as there is one; nothing
        after `wait_s` seconds. Answers [id, kind, body, priority, attempt, lease_until_us,
        sender] each. A caller that cancels takes nothing. Raises Busy when too many wait."""
        self._admit(principal)
        self.keyring.require()
        wanted = arguments.kinds(kinds)
        most = arguments.whole(limit, 1, arguments.MAX_CLAIM, "limit")
        lease_us = arguments.lease(self._settings.lease_s if lease_s is None else lease_s)
        wait_us = arguments.micros(wait_s, 0, arguments.MAX_WAIT_S, "wait")
        return self._line.stand(principal, wanted, most, lease_us, wait_us / 1_000_000)

    def extend(
        self, principal: Principal, ident: str, attempt: int, lease_s: float | None = None
    ) -> asyncio.Future[int]:
        """Hold a lease for `lease_s` seconds from now; answers with its new end in microseconds.
        Conflict when it is no longer the caller's."""
        extend = self._held(Extend(), principal, ident, attempt)
        extend.lease_us = arguments.lease(self._settings.lease_s if lease_s is None else lease_s)
        return self._database.submit(extend)

    def ack(
        self,
        principal: Principal,
        ident: str,
        attempt: int,
        result: bytes | None = None,
        writes: Sequence[Sequence[Any]] = (),
    ) -> asyncio.Future[None]:
        """Finish a message with a result (a JSON text) and memory writes, all in one
        transaction. The writes need the authority of the caller and of the message's sender;
        one that is refused fails the whole ack and the lease stays. Conflict when the lease is
        no longer the caller's."""
        ack = self._held(Ack(), principal, ident, attempt)
        ack.result = None if result is None else arguments.body(result, "result")
        ack.stored = None
        ack.writes = self.writes.check_writes(writes) if writes else ()
        ack.sender = self._sender(ack.ident) if writes else None
        return self._database.submit(ack)

    def nack(
        self,
        principal: Principal,
        ident: str,
        attempt: int,
        error: str = "",
        delay_s: float | None = None,
    ) -> asyncio.Future[str]:
        """Give a message up; answers with its state: delayed (for `delay_s`, by default for a
        time that doubles with each failure), ready, or dead after its last attempt. Conflict
        when the lease is no longer the caller's."""
        nack = self._held(Nack(), principal, ident, attempt)
        nack.error = arguments.error(error)
        nack.delay_us = None if delay_s is None else arguments.wait(delay_s)
        jitter = self._settings.backoff_jitter
        nack.base_s = self._settings.backoff_base_s * self._clock.uniform(1 - jitter, 1 + jitter)
        nack.cap_s = self._settings.backoff_cap_s
        return self._database.submit(nack)

    # --- control plane ----------------------------------------------------------------------

    def counts(self) -> QueueCounts:
        """Messages by state, as of the last commit."""
        return self.counters.counts()

    async def list(
        self,
        *,
        state: MessageState | None = None,
        kind: str | None = None,
        holder: str | None = None,
        limit: int = 200,
    ) -> MessageViews:
        """What `list_over` answers of this queue alone, from the top."""
        return await list_over([self], Wish(state, kind, holder), offset=0, limit=limit)

    def total(self, wanted: Wish) -> int | None:
        """How many messages a wish is about, None where only the file could say."""
        return pages.total(self.counters, wanted)

    async def rows(self, wanted: Wish, skip: int, take: int) -> Sequence[views.Row]:
        """A page of messages in the order of the wish, for `view`."""
        facts = pages.Facts(self.counters, self.environment.value, self.prefix, self._last_id)
        looks = pages.looks(facts, wanted, skip, take)
        return await self._aside.read(pages.read(looks), rows=sum(look.passes for look in looks))

    def view(self, row: views.Row) -> MessageView:
        return views.view(self.environment, row)

    async def lane_views(self) -> LaneViews:
        """Each priority, the most urgent first: how many are ready, delayed, leased and dead as
        of the last commit, and since when the oldest of the ready ones is there."""
        search = self.counters.priorities.search()
        targets = self.counters.lanes.filled()
        oldest = await self._database.read(views.oldest(search.since, targets))
        self.counters.priorities.found(search, oldest)
        return views.lanes(self.environment, self.counters.priorities, oldest)

    async def show(self, ident: str) -> MessageView:
        """One message with its body and result. Raises NotFound, Sealed, Damaged."""
        return await self._database.read(
            views.show(self.environment, self._number(ident), ident, self.keyring)
        )

    async def tally(self, to: str) -> views.Tally:
        """What has become of all messages addressed to `to`. Reads the whole table."""
        return await self._database.read(views.tally(to))

    async def retry(self, principal: Principal, ident: str) -> MessageView:
        """Make a dead, expired or cancelled message ready, with fresh attempts. Raises NotFound,
        Conflict in another state, Denied to an agent that did not send it."""
        return await self._steer(ident, steering.retry(principal, self._number(ident), ident))

    async def cancel(self, principal: Principal, ident: str) -> MessageView:
        """End a ready, delayed or leased message. Raises as `retry` does."""
        return await self._steer(ident, steering.cancel(principal, self._number(ident), ident))

    async def edit(self, principal: Principal, ident: str, wanted: Edit) -> MessageView:
        """Change a message that nobody works on. A delay makes a ready message delayed, none a
        delayed one ready; one that has ended takes no delay and stays as it has ended. Raises as
        `retry` does, Conflict also for one that is leased or done, InvalidInput when nothing
        would change or a time does not fit."""
        change = edit(principal, self._number(ident), ident, check(wanted), self.keyring)
        return await self._steer(ident, change)

    async def _steer(self, ident: str, change: steering.Change) -> MessageView:
        await self._database.write(change, topic="queue", then=self._moved_one)
        return await self.show(ident)

    async def release(self, holder: str) -> int:
        """End all leases of an agent that will not come back, and its waits; how many leases.
        Its messages are ready at once, or dead letters when that was their last attempt."""
        self._line.dismiss(holder)
        released = step = await self._database.submit(Release(self, holder))
        while step:
            step = await self._database.submit(Release(self, holder))
            released += step
        return int(released)

    async def purge(
        self,
        principal: Principal,
        *,
        ids: Iterable[str] | None = None,
        sender: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> int:
        """Delete messages in any state, by id or by all filters given; how many. Raises
        InvalidInput without any, Denied to an agent."""
        self._require_purger(principal)
        wanted = steering.Filter(sender, kind, to)
        if ids is not None:
            numbers = [self._number(ident) for ident in ids]
            return await self._purge_these(principal, numbers, None, "by id", lambda *_: None)
        if not any(wanted):
            raise InvalidInput("nothing says which messages to delete", hint="give ids or a filter")
        gone, after, until = 0, 0, self._last_id
        last: int | None = after
        while last is not None:
            change = steering.purge(principal, wanted, last, until)
            purged = await self._database.write(
                change, topic="queue", then=lambda p: self.moved(p.moves)
            )
            gone, last = gone + len(purged.moves), purged.last
        return gone

    async def purge_state(
        self,
        principal: Principal,
        state: MessageState,
        kind: str | None,
        progress: Callable[[float, str], None],
    ) -> int:
        """Delete all messages that are in a state now (of one kind); how many. A caller that
        cancels leaves those that are not yet deleted. Raises InvalidInput for leased ones,
        Denied to an agent."""
        self._require_purger(principal)
        if state is MessageState.LEASED:
            raise InvalidInput("somebody works on leased messages", hint="cancel them first")
        position = STATES.index(state)
        wanted = None if kind is None else arguments.kind(kind)
        idents = await self._aside.read(pages.idents(position, wanted))
        why = f"state={state}" if wanted is None else f"state={state} kind={wanted}"
        return await self._purge_these(principal, idents, position, why, progress)

    def _require_purger(self, principal: Principal) -> None:
        if not reaches(principal.role, Role.COORDINATOR):
            self._note_denial(principal, "messages", "purge")
            raise Denied(
                f"{principal.id} may not delete messages",
                hint="a coordinator or the operator may do this",
            )

    async def _purge_these(
        self, principal: Principal, idents: Sequence[int], state: int | None, why: str,
        progress: Callable[[float, str], None],
    ) -> int:  # fmt: skip
        gone = 0
        for start in range(0, len(idents), steering.PURGE_ROWS):
            progress(start / len(idents), f"{gone:,} messages deleted")
            part = dict.fromkeys(idents[start : start + steering.PURGE_ROWS])
            change = steering.purge_these(principal, list(part), state, why)
            moves = await self._database.write(change, topic="queue", then=self.moved)
            gone += len(moves)
        return gone

    def refresh(self) -> None:
        """Look again at everyone in line: call it when somebody's teams or swarm have changed,
        or when a swarm starts or stops draining."""
        self._line.refresh()

    async def tick(self) -> None:
        """Do what is due by the clock: expiries, ended leases, delays, waits. The timer does
        this by itself; a test with a clock of its own calls it."""
        self._line.end_waits()
        while (sweep := self._sweep_if_due()) is not None:
            await asyncio.wait([sweep])
            sweep.result()
        self._set_alarm()

    # --- checks -----------------------------------------------------------------------------

    def _admit(self, principal: Principal) -> None:
        if not self._open:
            raise Unavailable(f"the queue of {self.environment} is closed")
        if principal.environment != self.environment and not principal.is_operator:
            self._note_denial(principal, "messages", "use")
            raise Denied(
                f"{principal.id} may not use the queue of {self.environment}",
                hint="agents use the queue of their own environment",
            )

    def _note_denial(self, principal: Principal, object_: str, verb: str) -> None:
        denial = steering.Denial(principal.id, object_, verb)
        self._database.submit(denial).add_done_callback(_heed)

    def _target(self, to: str | None) -> str:
        if to is None:
            return ""
        if not self._directory.knows(arguments.text(to, "target")):
            raise NotFound(
                f"nobody in {self.environment} is called {printable(to)}",
                hint="a message goes to an agent, a team or a swarm",
            )
        return to

    def _number(self, ident: str) -> int:
        return arguments.number(ident, self.prefix)

    def _held(self, operation: H, principal: Principal, ident: str, attempt: int) -> H:
        self._admit(principal)
        operation.keeper = self
        operation.ident = self._number(ident)
        operation.attempt = arguments.whole(attempt, 1, arguments.MAX_ID, "attempt")
        operation.holder = principal
        return operation

    def _sender(self, ident: int) -> Principal:
        """Who sent a leased message, with the authority it has now. One that is not registered
        any more keeps only what its name alone gives."""
        lease = self.counters.leases.get(ident)
        sender = lease.sender if lease is not None else ""
        if sender == OPERATOR:
            return OPERATOR_PRINCIPAL
        known = self._directory.principal(sender)
        return known or Principal(sender, Role.AGENT, self.environment.value)

    # --- after a commit ---------------------------------------------------------------------

    def sent(self, send: Send, *, created: bool) -> None:
        """A send was committed; `created` is false when its key was known."""
        if not send.delay_us:
            self.counters.lanes.sent(send.target, send.kind, send.ident)
        if not created:
            return
        self.counters.added(send.state, send.target, send.kind, send.priority)
        if send.deadline_us is not None:
            self.due(send.deadline_us)
        if send.state == READY:
            self._line.mark(send.target, send.kind)

    def claimed(self, claim: Claim, taken: Taken) -> None:
        """A claim was committed: answer its waiter, or let it wait on."""
        self.moved(taken.moves)
        holder = claim.waiter.principal.id
        messages: Messages = []
        for ident, kind, body, priority, attempt, until_us, sender, target in taken.rows:
            lease = Lease(holder, sender, priority)
            self.counters.taken(ident, (target, kind), lease, attempt)
            messages.append([f"{self.prefix}_msg_{ident}", kind, body, priority, attempt,
                             until_us, sender])  # fmt: skip
        if not messages:
            self._line.claimed_nothing(claim, exhausted=taken.exhausted)
        elif claim.waiter.gone:
            back = [(row[0], row[4]) for row in taken.rows]
            self._database.submit(Untake(self, holder, back)).add_done_callback(_heed)
        else:
            self.due(taken.rows[0][5])
            claim.waiter.answer(messages)

    def finished(self, ident: int) -> None:
        """An ack was committed."""
        self.counters.finished(ident)

    def moved(self, moves: Iterable[Move]) -> None:
        """Messages have changed state."""
        for move in moves:
            self.counters.moved(move)
            if move.deadline_us is not None:
                self.due(move.deadline_us)
            if move.after == READY:
                self._line.mark(move.target, move.kind)

    def _moved_one(self, move: Move) -> None:
        self.moved((move,))

    # --- time -------------------------------------------------------------------------------

    def due(self, deadline_us: int) -> None:
        """Something has to be done at that time."""
        if self._deadline_us is None or deadline_us < self._deadline_us:
            self._deadline_us = deadline_us
            if self._sweep is None:
                self._alarm.at_wall(deadline_us)

    def swept(self, swept: Swept) -> None:
        """A sweep was committed. What it says of the next deadline includes all before it."""
        self._sweep = None
        self._deadline_us = self._clock.wall_us() if swept.more else swept.deadline_us
        self.moved(swept.moves)
        self._set_alarm()

    def _ring(self) -> None:
        self._line.end_waits()
        self._sweep_if_due()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._deadline_us is not None and self._sweep is None:
            self._alarm.at_wall(self._deadline_us)
        self._line.set_alarm()

    def _sweep_if_due(self) -> asyncio.Future[None] | None:
        """The sweep that is under way or was just begun; None if nothing is due."""
        due = self._deadline_us is not None and self._deadline_us <= self._clock.wall_us()
        if self._sweep is None and due and self._open:
            self._sweep = self._database.submit(Sweep(self))
            self._sweep.add_done_callback(self._sweep_ended)
        return self._sweep

    def _sweep_ended(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            _log.warning("%s: a sweep of the queue failed: %s", self.environment, error)
            self._sweep = None
            self._deadline_us = self._clock.wall_us() + int(RETRY_SWEEP_S * 1_000_000)
            self._set_alarm()


def _heed(done: asyncio.Future[Any]) -> None:
    """Say that something nobody waits for has failed."""
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _log.warning("the queue could not do what nobody waits for: %s", error)
