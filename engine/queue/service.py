"""The queue of one environment: what its callers see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..clock import Clock
from ..errors import SwarmDeckError
from ..model import OPERATOR, OPERATOR_PRINCIPAL, Principal, Role
from ..settings import QueueSettings
from ..store.database import Database
from ..vault import Ring
from . import arguments
from .alarm import Alarm
from .claiming import Claim, Taken, Untake
from .counters import Lease, Move, read_snapshot
from .delivery import Ack, Extend, HolderOperation, Nack, Writes
from .desk import heed
from .flow import Flow, Mode, State, read_state, store
from .line import Directory, Line
from .sending import Sending
from .statements import READY
from .upkeep import Release, Sweep, Swept
from .waiters import Messages

if TYPE_CHECKING:
    from .leftovers import Leftovers
    from .retention import Retention
    from .schedules import Schedules

H = TypeVar("H", bound=HolderOperation)

RETRY_SWEEP_S: Final = 1.0  # after a sweep the disk refused

_log = logging.getLogger(__name__)


class MessageQueue(Sending):
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
        super().__init__(database, keyring, settings, directory)
        self.writes = writes
        self._clock = clock
        self._alarm = Alarm(clock, self._ring)
        limit = settings.depth[self.environment]
        self.flow = Flow(self.environment, limit, self.counters, clock, self._alarm)
        self._line = Line(self, database, clock, directory, self._alarm)
        self._deadline_us: int | None = None
        self._sweep: asyncio.Future[None] | None = None
        self._keeper = self

    @cached_property
    def retention(self) -> Retention:
        """Deletes what has ended, in an engine that stays."""
        from .retention import Retention  # noqa: PLC0415 - as below

        return Retention(self, self._database, self._settings, self._clock)

    @cached_property
    def leftovers(self) -> Leftovers:
        """Cancels what is for somebody who has ended."""
        from .leftovers import Leftovers  # noqa: PLC0415 - as below

        return Leftovers(self, self._database, self._directory, self._clock, self._shown)

    async def cancel_for(self, targets: Sequence[str], why: str) -> int:
        """Cancel what waits for any of `targets`, who have ended; how many messages. Many are
        cancelled later, by what an engine does by itself. Raises StorageError, Unavailable."""
        return await self.leftovers.cancel(targets, why)

    @cached_property
    def schedules(self) -> Schedules:
        """What is sent again and again."""
        from .schedules import Schedules  # noqa: PLC0415 - most commands need none

        return Schedules(self, self._database, self._settings, self._clock)

    @property
    def settings(self) -> QueueSettings:
        """By which it goes now."""
        return self._settings

    def take(self, settings: QueueSettings) -> None:
        """Go by other settings, for what is sent, claimed and kept from now on."""
        self._settings = settings
        self.flow.resize(settings.depth[self.environment])
        self.retention.take(settings)
        self.schedules.take(settings)

    async def open(self, *, brief: bool = False) -> None:
        """Learn what the file holds; `brief` of ready messages only how many there are and since
        when the oldest is. Call once, before anything else."""
        snapshot = await self._database.read(partial(read_snapshot, brief=brief))
        self.counters.load(snapshot)
        self._last_id = snapshot.last_id
        self.flow.state = await self._database.read(read_state)
        self._open = True
        if snapshot.deadline_us is not None:
            self.due(snapshot.deadline_us)

    async def close(self) -> None:
        """Answer those who wait with nothing. Leases and messages stay as they are."""
        self._open = False
        self._alarm.close()
        self.flow.close()
        self.awaited.close()
        self._line.close()
        if self._sweep is not None:
            await asyncio.wait([self._sweep])

    # --- data plane -------------------------------------------------------------------------

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

    async def release(self, holder: str) -> int:
        """End all leases of an agent that will not come back, and its waits; how many leases.
        Its messages are ready at once, or dead letters when that was their last attempt."""
        self._line.dismiss(holder)
        released = step = await self._database.submit(Release(self, holder))
        while step:
            step = await self._database.submit(Release(self, holder))
            released += step
        return int(released)

    # --- stopping and going on --------------------------------------------------------------

    async def pause(self, principal: Principal, reason: str = "") -> None:
        """Hand out nothing until it is resumed, also after a restart. What is sent is taken in, up
        to the limit; who holds a message extends and finishes it; leases run out, delays and
        expiries go on. Raises Denied to an agent, InvalidInput for the reason."""
        await self._turn("paused", principal, reason)

    async def drain(self, principal: Principal, reason: str = "") -> None:
        """Take in nothing until it is resumed, also after a restart: sends and retries are Busy,
        also those that wait for room. What is there is handed out and finished; what fails comes
        back. Raises as `pause` does."""
        await self._turn("draining", principal, reason)

    async def resume(self, principal: Principal, reason: str = "") -> None:
        """Take in and hand out again. Raises as `pause` does."""
        await self._turn("running", principal, reason)

    async def _turn(self, mode: Mode, principal: Principal, reason: str) -> None:
        self._require_coordinator(principal, "stop and resume a queue", mode)
        said, before = arguments.reason(reason), self.flow.state
        # At once, not with the commit: whoever claims after this call comes after this change.
        self._apply(State(mode, said, self._clock.wall_us(), principal.id))
        try:
            await self._database.write(store(self.flow.state), topic="queue")
        except SwarmDeckError:
            self._apply(before)
            raise

    def _apply(self, state: State) -> None:
        self.flow.turn(state)
        self._line.refresh()

    def refresh(self) -> None:
        """Look again at everyone in line: call it when somebody's teams or swarm have changed,
        or when a swarm starts or stops draining."""
        self._line.refresh()

    async def tick(self) -> None:
        """Do what is due by the clock: expiries, ended leases, delays, waits. The timer does
        this by itself; a test with a clock of its own calls it."""
        self.flow.end_waits()
        self._line.end_waits()
        while (sweep := self._sweep_if_due()) is not None:
            await asyncio.wait([sweep])
            sweep.result()
        self._set_alarm()

    # --- checks -----------------------------------------------------------------------------

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

    def claimed(self, claim: Claim, taken: Taken) -> None:
        """A claim was committed: answer its waiter, or let it wait on."""
        self.moved(taken.moves)
        holder = claim.waiter.principal.id
        messages: Messages = []
        for (
            ident, kind, body, priority, attempt, until_us, sender, target, sent_us,
        ) in taken.rows:  # fmt: skip
            lease = Lease(holder, sender, priority)
            self.counters.taken(ident, (target, kind), lease, attempt, sent_us)
            messages.append([f"{self.prefix}_msg_{ident}", kind, body, priority, attempt,
                             until_us, sender])  # fmt: skip
        if not messages:
            self._line.claimed_nothing(claim, exhausted=taken.exhausted)
        elif claim.waiter.gone:
            back = [(row[0], row[4]) for row in taken.rows]
            self._database.submit(Untake(self, holder, back)).add_done_callback(heed)
        else:
            self.due(taken.rows[0][5])
            claim.waiter.answer(messages)
        self._line.ended(claim)

    def unclaimed(self, claim: Claim, error: Exception) -> None:
        """A claim has failed: so has its caller's."""
        claim.waiter.fail(error)
        self._line.ended(claim)

    def finished(self, ident: int) -> None:
        """An ack was committed."""
        self.counters.finished(ident)
        if self.awaited:
            self.awaited.ended(ident)
        if self.flow.waiting:
            self.flow.serve_soon()

    def moved(self, moves: Sequence[Move]) -> None:
        """Messages have changed state."""
        for move in moves:
            self.counters.moved(move)
            if move.deadline_us is not None:
                self.due(move.deadline_us)
            if move.after == READY:
                self._line.mark(move.to_target or move.target, move.kind)
        if self.awaited:
            self.awaited.moved(moves)
        self.flow.serve_soon()

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
        self.flow.end_waits()
        self._line.end_waits()
        self._sweep_if_due()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._deadline_us is not None and self._sweep is None:
            self._alarm.at_wall(self._deadline_us)
        self.flow.set_alarm()
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
