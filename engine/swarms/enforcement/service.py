"""What holds swarms to their memory: limits, a guard or groups of the kernel, and giving way.

The level is a setting: `auto` takes groups of the kernel where a part of cgroup v2 was given to
the engine and the guard elsewhere, `guarded` always the guard, `advisory` measures only. Which one
is in force is read from the processes (see hostmem), not from here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Final, Protocol

from ...clock import Clock
from ...errors import Busy, SwarmDeckError
from ...events import Enforced, Event
from ...hostmem import HostMemory, descendants
from ...ledger import Ledger
from ...model import environment_of, format_size
from ...settings import EnforcementSettings
from ..presence import MEMORY
from ..supervisor import Exit, Launch, Running
from .cgroup import Groups, find_groups
from .guard import Breach, Guard
from .limits import choose_before_engine, limit_data
from .pressure import STALLED_PERCENT, Candidate, Deed, Pressure, Step
from .shares import Asked, Shares

RENEW_DRAIN_S: Final = 20.0  # to finish what an agent holds, before it is started anew
GIVE_WAY_DRAIN_S: Final = 5.0  # the host is short of memory now

log = logging.getLogger(__name__)


class Agents(Protocol):
    """What is done with agents that hold too much."""

    @property
    def running(self) -> Mapping[str, Running]:
        """Their processes."""
        ...

    def swarm_of(self, agent: str) -> str | None: ...

    def cpu_of(self, swarm: str) -> int | None:
        """The processor time a swarm may have, in percent of one core."""
        ...

    async def rest(self, agents: Collection[str], reason: str, drain_s: float) -> None:
        """End agents gracefully and leave them ended, for `reason`, until they are resumed."""
        ...

    async def resume(self, agents: Collection[str]) -> None:
        """Start agents that rest."""
        ...


class Enforcement:
    """Holds the swarms of one engine to what they were granted. All methods belong to the
    engine's loop, `spawned` alone is called on the threads that start processes. Nothing runs
    before the first process is watched."""

    def __init__(
        self,
        settings: EnforcementSettings,
        *,
        ledger: Ledger,
        host: HostMemory,
        clock: Clock,
        agents: Agents,
        publish: Callable[[Event], object],
        notify: Callable[[str, str], object],
    ) -> None:
        self.breaches: Counter[str] = Counter()  # by swarm, since the engine opened
        self._settings = settings
        self._ledger = ledger
        self._host = host
        self._clock = clock
        self._agents = agents
        self._publish = publish
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._priorities = {each.name.value: each.priority for each in ledger.use()}
        self._pressure = Pressure(settings.pressure_available, self._priorities)
        self._shares = Shares()
        self._held: Mapping[str, int] = {}  # by swarm
        self._used: Mapping[str, int] = {}  # by agent
        self._resting: dict[str, tuple[str, ...]] = {}  # the agents of swarms that gave way
        self._guard: Guard | None = None
        self._groups: Groups | None = None
        self._why_no_groups = "" if settings.level == "auto" else f"set to {settings.level}"
        self._looked_for_groups = settings.level != "auto"
        self._in_group: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def change(self, settings: EnforcementSettings) -> None:
        """Take over new settings of the same level."""
        self._settings = settings
        self._pressure.share = settings.pressure_available
        if self._guard is not None:
            self._guard.interval_s = settings.guard_interval_s

    @property
    def is_on(self) -> bool:
        """Whether anything is done, or all is measured only."""
        return self._settings.level != "advisory"

    @property
    def is_busy(self) -> bool:
        """Whether agents are being ended or started for memory now."""
        return self._task is not None

    @property
    def gave_way(self) -> Mapping[str, str]:
        """Swarms that were stopped for the host's memory and are not back, with the reason."""
        return self._pressure.rested

    @property
    def has_cpu(self) -> bool:
        """Whether a quota of processor time can be kept here."""
        groups = self._find_groups()
        return groups is not None and groups.has_cpu

    @property
    def why_no_cpu(self) -> str:
        """Why no such quota can be kept."""
        return self._why_no_groups or "the cpu controller was not delegated"

    def veto(self) -> str:
        """Why no agent should be started on this host now, or nothing."""
        host = self._host.latest
        if self.is_on and self._pressure.is_short(host.total_bytes, host.available_bytes):
            available, total = format_size(host.available_bytes), format_size(host.total_bytes)
            return f"the host has {available} of {total} available"
        stalled = self._host.probe.stalled() if self.is_on else None
        if stalled is not None and stalled >= STALLED_PERCENT:
            return f"work on this host waited for memory {stalled:.0f} % of the last 10 s"
        return ""

    def require_room(self) -> None:
        """Raise Busy while the host is too short of memory for more agents."""
        if why := self.veto():
            raise Busy(f"no agent is started now: {why}", hint="try again when others have ended")

    # --- processes ------------------------------------------------------------------------------

    def starting(self, launch: Launch) -> None:
        """A process is about to be started: from its first moment its share must be known."""
        if launch.swarm not in self._shares.limits:
            self.follow()

    def spawned(self, launch: Launch, pid: int) -> None:
        """A process has just been started, on this thread: put its limits on it."""
        share = self._shares.limits.get(launch.swarm)
        if share is None or not self.is_on:
            return
        if self._groups is not None and launch.swarm in self._in_group:
            self._groups.place(launch.swarm, pid)
        limit_data(pid, share)
        choose_before_engine(pid, self._priorities.get(launch.environment, 1))

    def watching(self, running: Running) -> None:
        """A process is watched from now on."""
        swarm = self._agents.swarm_of(running.agent)
        if swarm is not None and self.is_on:
            if swarm not in self._shares.limits:
                self.follow()
            if (share := self._shares.limits.get(swarm)) is not None:
                limit_data(running.pid, share)  # another engine may have set another, or none
            if not self._is_in_group(swarm, running.pid):
                self._watchdog().watch(running.agent, swarm, running.pid, running.started_at)

    def _is_in_group(self, swarm: str, pid: int) -> bool:
        """Whether a group of the kernel holds a process and what it has started. Another engine may
        have started them elsewhere, where they cannot be taken from: then the guard watches."""
        if self._groups is None or swarm not in self._in_group:
            return False
        place, probe = self._groups.place, self._host.probe
        return place(swarm, pid) and all(place(swarm, each) for each in descendants(probe, pid))

    def leaving(self, agent: str) -> None:
        """A process has ended and is about to be reaped."""
        if self._guard is not None:
            self._guard.forget(agent)

    def why_ended(self, ended: Exit) -> str:
        """Why a process ended, if that was for its memory; asked once."""
        breach = None if self._guard is None else self._guard.verdict(ended.agent)
        if breach is not None:
            return breach.reason
        swarm = self._agents.swarm_of(ended.agent)
        if self._groups is None or swarm is None or swarm not in self._in_group:
            return ""
        if not self._groups.new_kills(swarm):
            return ""
        share = format_size(self._shares.limits.get(swarm, 0))
        reason = f"killed by the kernel: its swarm held all of its {share}"
        self._tell_breach(swarm, ended.agent, reason)
        return reason

    # --- shares ---------------------------------------------------------------------------------

    def follow(self) -> None:
        """Hold every swarm to what it is granted now."""
        if not self.is_on:
            return
        grants = {
            holding.swarm: holding.bytes for use in self._ledger.use() for holding in use.holders
        }
        before = self._shares.limits
        asked = self._shares.follow(grants, self._held, self._clock.monotonic_s())
        changed = {
            swarm for swarm, share in self._shares.limits.items() if before.get(swarm) != share
        }
        if changed or before.keys() != grants.keys():
            self._apply(changed)
        for each in asked:
            self._ask(each)

    def _apply(self, changed: Collection[str]) -> None:
        limits = self._shares.limits
        groups = self._find_groups()
        if groups is not None:
            held = {swarm for swarm in limits if self._hold_group(groups, swarm, changed)}
            self._in_group = frozenset(held)
            groups.keep(limits.keys())
        self._watchdog().share(limits)
        for running in self._agents.running.values():
            swarm = self._agents.swarm_of(running.agent)
            if swarm is not None and swarm in changed:
                for pid in (running.pid, *descendants(self._host.probe, running.pid)):
                    limit_data(pid, limits[swarm])

    def _hold_group(self, groups: Groups, swarm: str, changed: Collection[str]) -> bool:
        if swarm not in changed:
            return swarm in self._in_group
        return groups.hold(swarm, self._shares.limits[swarm], self._agents.cpu_of(swarm))

    def _ask(self, asked: Asked) -> None:
        """A loan was taken back, and the swarm holds more than is left to it."""
        size = format_size(asked.bytes)
        agents = self._agents_of(asked.swarm)
        if not asked.renew:
            self._say(asked.swarm, "told", f"asked to give back {size}")
            for agent in agents:
                self._notify(agent, f"{MEMORY} {asked.bytes // len(agents)}")
        elif agents and self._task is None:
            most = max(agents, key=lambda agent: self._used.get(agent, 0))
            self._say(asked.swarm, "renewed", f"{most} is started anew to give back {size}")
            self._do(self._renew(most, f"started anew to give back {size}"))

    async def _renew(self, agent: str, reason: str) -> None:
        try:
            await self._agents.rest([agent], reason, RENEW_DRAIN_S)
        except SwarmDeckError:  # nobody else would ever start it again
            await self._agents.resume([agent])
            raise
        await self._agents.resume([agent])

    # --- once a second ----------------------------------------------------------------------------

    def tick(self, used: Mapping[str, int]) -> None:
        """Follow the grants, and see whether the host has enough. `used` is what the process of
        each agent holds."""
        if not self.is_on:
            return
        held: defaultdict[str, int] = defaultdict(int)
        for agent, size in used.items():
            if (swarm := self._agents.swarm_of(agent)) is not None:
                held[swarm] += size
        self._used, self._held = used, held
        self.follow()
        self._pressure.forget(self._shares.limits)
        if self._task is None and self._settings.pressure_available > 0:
            self._see_host()

    def _see_host(self) -> None:
        host = self._host.latest
        running = {self._agents.swarm_of(agent) for agent in self._agents.running}
        candidates = [
            Candidate(swarm, environment_of(swarm).value, self._held.get(swarm, 0))
            for swarm in self._shares.limits
            if swarm in running
        ]
        step = self._pressure.step(
            self._clock.monotonic_s(),
            host.total_bytes,
            host.available_bytes,
            candidates,
            stalled=self._host.probe.stalled() if self.gave_way else None,
        )
        if step is not None:
            self._take(step)

    def _take(self, step: Step) -> None:
        swarm, agents = step.swarm, self._agents_of(step.swarm)
        if step.deed is Deed.TELL:
            short = format_size(step.bytes)
            self._say(swarm, "told", f"{step.text}: asked to give back {short}")
            for agent in agents:
                self._notify(agent, f"{MEMORY} {step.bytes // max(1, len(agents))}")
        elif step.deed is Deed.STOP:
            self._resting[swarm] = tuple(agents)
            self._say(swarm, "gave way", step.text)
            self._do(self._agents.rest(agents, f"gave way: {step.text}", GIVE_WAY_DRAIN_S))
        else:
            self._say(swarm, "came back", step.text)
            self._do(self._agents.resume(self._resting.pop(swarm, ())))

    def _do(self, work: Coroutine[None, None, None]) -> None:
        """One thing at a time: what it frees is seen before the next is decided."""
        self._task = asyncio.create_task(self._guarded(work), name="enforcement")

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except SwarmDeckError as error:
            log.warning("memory could not be taken back: %s", error.message)
        finally:
            self._task = None

    async def close(self) -> None:
        """Kill and change nothing any more. Limits on processes stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._guard is not None:
            self._guard.close()
        self._host.guarded = False

    # --- parts ------------------------------------------------------------------------------------

    def _watchdog(self) -> Guard:
        if self._guard is None:
            self._guard = Guard(
                self._host.probe, self._clock, self._settings.guard_interval_s, self._breached
            )
            self._host.guarded = True
        return self._guard

    def _find_groups(self) -> Groups | None:
        if not self._looked_for_groups:
            self._looked_for_groups = True
            self._groups, self._why_no_groups = find_groups()
        return self._groups

    def _breached(self, breach: Breach) -> None:
        """On the guard's thread."""
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(
                self._tell_breach, breach.swarm, breach.agent, breach.reason
            )

    def _tell_breach(self, swarm: str, agent: str, reason: str) -> None:
        self.breaches[swarm] += 1
        self._publish(Enforced(swarm, agent, "killed", reason))

    def _say(self, swarm: str, what: str, text: str) -> None:
        self._publish(Enforced(swarm, "", what, text))

    def _agents_of(self, swarm: str) -> list[str]:
        return [each for each in self._agents.running if self._agents.swarm_of(each) == swarm]
