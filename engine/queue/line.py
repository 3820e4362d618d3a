"""Who claims when: consumers are called, in turn, as soon as there is something for them.

A claim that finds nothing waits in line. Whatever makes messages ready marks their lanes; just
before the writer takes its next batch, each marked lane calls as many from the line as it has
messages, and their claims ride in the same batch as the sends that called them. Nobody polls, and
nobody is forgotten:

- A caller goes into line only when none of its lanes holds anything as of the last commit.
- From then on a message can become ready only by a commit, and every commit marks its lane.
- A claim that leaves something behind marks its lanes again, also when it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from ..clock import Clock
from ..errors import Busy
from ..model import Principal
from ..store.database import Database
from .alarm import Alarm
from .claiming import Claim
from .counters import Counters
from .delivery import Keeper
from .flow import Flow
from .lanes import Probe
from .waiters import Messages, Waiter, Waiters

MAX_WAITING: Final = 10_000  # callers in line


class Directory(Protocol):
    """Who is who in the environment of the queue. Answers at once, on the engine's loop."""

    def knows(self, ident: str) -> bool:
        """Whether this is the id of an agent, a team or a swarm that can be sent to."""
        ...

    def ended(self, ident: str) -> str:
        """Why nobody will ever claim what is sent to this id, in words; empty while somebody
        may."""
        ...

    def members(self, ident: str | None) -> Iterable[str]:
        """The agents of a swarm or team, an agent itself, or all agents of the environment, but
        for those that have ended."""
        ...

    def principal(self, ident: str) -> Principal | None:
        """Who acts under this agent id now, or None."""
        ...

    def targets(self, principal: Principal) -> Iterable[str]:
        """The ids whose messages it may claim: its own, its teams', its swarm's, as of now."""
        ...

    def may_claim(self, principal: Principal) -> bool:
        """False while it is to take no new work: it has gone, or its swarm drains."""
        ...


class LineKeeper(Keeper, Protocol):
    @property
    def counters(self) -> Counters: ...
    @property
    def flow(self) -> Flow: ...


class Line:
    """The consumers of one queue that wait for something to claim."""

    def __init__(
        self,
        keeper: LineKeeper,
        database: Database,
        clock: Clock,
        directory: Directory,
        alarm: Alarm,
    ) -> None:
        self._keeper = keeper
        self._lanes = keeper.counters.lanes
        self._database = database
        self._clock = clock
        self._directory = directory
        self._alarm = alarm
        self._loop = asyncio.get_running_loop()
        self._waiters = Waiters()
        self._last_ticket = 0
        self._marked: dict[tuple[str, str], int] = {}  # lane: messages on their way into it
        self._calling = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiters)

    def stand(
        self,
        principal: Principal,
        kinds: tuple[str, ...] | None,
        limit: int,
        lease_us: int,
        wait_s: float,
    ) -> asyncio.Future[Messages]:
        """Claim for a caller, now or when it is its turn. Raises Busy when too many wait."""
        if len(self._waiters) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} callers wait for messages already")
        future: asyncio.Future[Messages] = self._loop.create_future()
        deadline_s = self._clock.monotonic_s() + wait_s
        self._last_ticket += 1
        waiter = Waiter(self._last_ticket, principal, kinds, limit, lease_us, deadline_s, future)
        if self._calling:
            self._call()  # those in line come first
        self._seek(waiter, limit)
        return future

    def mark(self, target: str, kind: str, coming: int = 0) -> None:
        """A lane has got messages, or `coming` are on their way. Those in line are called just
        before the writer takes its next batch: their claims become part of it."""
        if not self._waiters:
            return
        lane = (target, kind)
        self._marked[lane] = self._marked.get(lane, 0) + coming
        if not self._calling and not self._closed:
            self._calling = True
            self._database.before_batch(self._call)

    def refresh(self) -> None:
        """Everyone's targets or right to claim may have changed."""
        for waiter in self._waiters:
            self._waiters.leave(waiter)
            self._seek(waiter, waiter.limit)

    def dismiss(self, holder: str | None = None) -> None:
        """Answer those in line (or those of one agent) with nothing."""
        for waiter in self._waiters:
            if holder is None or waiter.principal.id == holder:
                self._waiters.leave(waiter)
                waiter.answer([])

    def end_waits(self) -> None:
        """Answer those who have waited long enough with nothing."""
        for waiter in self._waiters.overdue(self._clock.monotonic_s()):
            waiter.answer([])

    def set_alarm(self) -> None:
        """Be reminded when the first of them has waited long enough."""
        deadline_s = self._waiters.next_deadline_s
        if deadline_s is not None:
            self._alarm.at_monotonic(deadline_s)

    def close(self) -> None:
        self._closed = True
        self._marked.clear()
        self.dismiss()

    def claimed_nothing(self, claim: Claim, *, exhausted: bool) -> None:
        """A claim came back empty, `exhausted` if it has looked at all there was."""
        waiter = claim.waiter
        targets = self._targets(waiter)
        probes = self._lanes.probes(targets, waiter.kinds, expected=False)
        # What was found empty is empty. Ask again only where nobody has looked.
        if probes and not waiter.gone and not (exhausted and set(probes) <= set(claim.probes)):
            self._claim(waiter, probes, waiter.limit)
        else:
            self._wait(waiter, targets)

    def _seek(self, waiter: Waiter, limit: int) -> None:
        """Claim for a caller where there is something or will be, else let it wait."""
        targets = self._targets(waiter)
        probes = self._lanes.probes(targets, waiter.kinds, expected=True)
        if probes:
            self._claim(waiter, probes, limit)
        else:
            self._wait(waiter, targets)

    def _targets(self, waiter: Waiter) -> tuple[str, ...]:
        paused = self._keeper.flow.state.mode == "paused"
        if paused or not self._directory.may_claim(waiter.principal):
            return ()
        return ("", *self._directory.targets(waiter.principal))

    def _claim(self, waiter: Waiter, probes: tuple[Probe, ...], limit: int) -> None:
        self._database.submit(Claim(self._keeper, waiter, probes, limit))

    def _wait(self, waiter: Waiter, targets: Sequence[str]) -> None:
        if self._closed or self._clock.monotonic_s() >= waiter.deadline_s:
            waiter.answer([])
        if waiter.gone:
            return
        kinds: Iterable[str | None] = waiter.kinds or (None,)
        self._waiters.park(waiter, [(target, kind) for target in targets for kind in kinds])
        self._alarm.at_monotonic(waiter.deadline_s)

    def _call(self) -> None:
        """Let those in line claim, as many as there are messages, and share alike."""
        self._calling = False
        marked, self._marked = self._marked, {}
        for (target, kind), coming in marked.items():
            messages = self._lanes.ready(target, kind) + coming
            called = self._waiters.call(target, kind, messages)
            share = -(-messages // len(called)) if called else 0
            for waiter in called:
                self._seek(waiter, min(waiter.limit, share))

    def ended(self, claim: Claim) -> None:
        """What a claim has left behind, or did not get to, is for the next in line."""
        if not self._waiters:
            return
        for target, kind in claim.probes:
            for wanted in self._waiters.wanted(target) if kind is None else (kind,):
                kinds = self._lanes.kinds(target) if wanted is None else (wanted,)
                for each in kinds:
                    if self._lanes.ready(target, each):
                        self.mark(target, each)
