"""The agents that have processes: started with a token, restarted within limits, ended.

Between the registry, which records them, and the supervisor, which watches their processes.
What follows an exit runs here: leases are freed first, then the end is recorded, then the agent
is started again unless it is meant to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol, Self

import msgspec

from ..clock import Clock
from ..errors import SwarmDeckError, Unavailable
from ..events import Event
from ..hostmem import HostMemory
from ..ledger import Ledger
from ..model import AgentState, SwarmState, environment_of
from ..queue import Counters
from ..settings import AgentSettings, EnforcementSettings
from .output import Rotation
from .presence import ORPHANED, STOP
from .registry import Registry
from .roster import Agent, Swarm
from .spawning import WAITS, SpawnRates
from .supervisor import (
    BUNDLED_WORKER,
    Exit,
    Launch,
    RestartHistory,
    RestartLimits,
    Running,
    Supervisor,
    is_running,
)
from .warming import Warming

RECORD_AGAIN_S: Final = 1.0  # after the disk has refused to record what became of an agent

TAKEN: Final = (
    "agents.spawn_per_minute", "agents.warm_up_s", "agents.kill_after_s", "agents.grace_s",
    "agents.output_bytes", "agents.output_files",
)  # fmt: skip
"""Settings that can change while agents run. Of the others a process is told when it starts, or
an agent's history is kept by them."""

Measure = Callable[[Collection[int]], Mapping[int, int]]

log = logging.getLogger(__name__)


class Work(Protocol):
    """What the crew needs of an environment's queue."""

    @property
    def counters(self) -> Counters: ...

    async def release(self, holder: str) -> int:
        """Free what an agent holds; how many messages that were."""
        ...

    async def cancel_for(self, targets: Sequence[str], why: str) -> int:
        """Cancel what waits for somebody who has ended; how many messages that were."""
        ...

    def refresh(self) -> None:
        """Look again at who may claim."""
        ...


class Site(Protocol):
    """One environment: who is there and what there is to do."""

    @property
    def registry(self) -> Registry: ...

    @property
    def queue(self) -> Work: ...

    @property
    def refusal(self) -> SwarmDeckError | None:
        """Why it cannot be used, if it cannot."""
        ...


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What swarms live in.

    `sites` are the environments in use by name; `open_site` opens one that is not yet. `notify`
    tells a connected agent a word. `measure` gives the bytes each process holds, by pid; it is
    called on a thread. Without `enforcement` and `host` agents are held to nothing.
    """

    sites: Mapping[str, Site]
    open_site: Callable[[str], Awaitable[Site]]
    directory: Path
    socket: Path
    ledger: Ledger
    clock: Clock
    settings: AgentSettings
    publish: Callable[[Event], object]
    notify: Callable[[str, str], object]
    measure: Measure
    enforcement: EnforcementSettings | None = None
    host: HostMemory | None = None


class Crew:
    """The agents with processes, of all environments. Use it as an async context; leaving it
    kills the processes that are left."""

    def __init__(self, around: Surroundings) -> None:
        settings = around.settings
        self.supervisor = Supervisor(
            around.directory,
            around.socket,
            on_exit=self._exited,
            variables={
                "SWARMDECK_HEARTBEAT_S": f"{settings.heartbeat_s:g}",
                "SWARMDECK_ORPHAN_GRACE_S": f"{settings.orphan_grace_s:g}",
            },
            output=Rotation(settings.output_bytes, settings.output_files),
        )
        self.rates = SpawnRates(settings.spawn_per_minute)
        self._warm_up_s = settings.warm_up_s
        self._sites = around.sites
        self._clock = around.clock
        self._notify = around.notify
        self._kill_after_s = settings.kill_after_s
        self._limits = RestartLimits(restarts=settings.restarts, window_s=settings.restart_window_s)
        self._tasks = asyncio.TaskGroup()
        self._ending: set[str] = set()
        self._histories: dict[str, RestartHistory] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}  # for their next start
        self._settling: dict[str, asyncio.Task[None]] = {}
        self.warming = Warming(self._is_cold, self.condemn)
        self._blamed: dict[str, str] = {}
        self._condemned: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, str] = {}  # ended until they are resumed, and why
        self.why_memory: Callable[[Exit], str] = lambda _: ""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._waiting.values():
            task.cancel()
        self.warming.close()
        try:
            await self.supervisor.close(kill_after_s=0)
            await self._settled(list(self._settling))
        finally:
            await self._tasks.__aexit__(None, None, None)

    def take(self, settings: AgentSettings) -> None:
        """Go by other settings for what is started, ended and put aside from now on: those of
        TAKEN. A process that runs keeps what it was started with."""
        self.rates.change(settings.spawn_per_minute, self._clock.monotonic_s())
        self._warm_up_s = settings.warm_up_s
        self._kill_after_s = settings.kill_after_s
        self.supervisor.rotation = Rotation(settings.output_bytes, settings.output_files)

    # --- starting -----------------------------------------------------------------------------

    async def start(self, swarm: Swarm, agent: str, token: str) -> bool:
        """Start the process of a recorded agent, if its swarm may start one now; else it is
        started when its turn comes. Raises InvalidInput, Unavailable."""
        wait_s = self.rates.take(swarm.id, self._clock.monotonic_s())
        if wait_s:
            registry = self._sites[swarm.environment].registry
            await registry.waits(agent, self._why_waiting)
            self._later(agent, partial(self._start_in_turn, swarm, agent, token, wait_s))
            return False
        async with self._turns[agent]:
            await self._start(swarm, agent, token)
        return True

    @property
    def _why_waiting(self) -> str:
        return f"{WAITS}: {self.rates.per_minute} a minute may start"

    async def _start_in_turn(self, swarm: Swarm, agent: str, token: str, wait_s: float) -> None:
        await self._wait_turn(swarm.id, wait_s)
        await self._begin(agent, lambda now: self._start(now, agent, token, reason=""))

    async def _wait_turn(self, swarm: str, wait_s: float) -> None:
        """A start that was taken is given back when it does not happen after all."""
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            self.rates.give_back(swarm)
            raise

    async def _start(
        self, swarm: Swarm, agent: str, token: str, *, reason: str | None = None
    ) -> None:
        """In the agent's turn, so that its end waits until its start is recorded."""
        launch = Launch(
            agent=agent,
            environment=swarm.environment,
            swarm=swarm.id,
            token=token,
            command=swarm.command or BUNDLED_WORKER,
            variables=swarm.setup.variables,
            directory=swarm.setup.directory,
        )
        self._blamed.pop(agent, None)
        running = await self.supervisor.start(launch)
        registry = self._sites[swarm.environment].registry
        try:
            await registry.started(agent, running.pid, running.started_at, reason=reason)
        except BaseException:  # a process that no file knows of would be nobody's
            await self.supervisor.kill([agent])
            raise
        self._warm(swarm, agent)

    def adopt(self, agent: Agent) -> bool:
        """Watch again an agent whose process outlived its engine. False when it is gone."""
        if agent.pid is None or agent.started_at is None:
            return False
        running = Running(agent.id, agent.environment, agent.pid, agent.started_at)
        if not self.supervisor.adopt(running):
            return False
        if agent.state is AgentState.STARTING:
            self._warm(self._sites[agent.environment].registry.swarm(agent.swarm or ""), agent.id)
        return True

    async def lost(self, agent: Agent) -> str:
        """An agent's process ended while no engine watched it. Returns what is known of it."""
        site = self._sites[agent.environment]
        await site.queue.release(agent.id)
        reason = agent.reason.partition("; ")[0]  # without when it was to start again
        if agent.pid is None:
            reason = "never started" if not reason or reason.startswith(WAITS) else reason
        else:
            words = await self.supervisor.last_words(agent.environment, agent.id)
            reason = told("ended while no engine ran", words)
        await site.registry.ended(agent.id, AgentState.EXITED, reason)
        return reason

    def leave(self, agents: Collection[str]) -> None:
        """Leave agents to the next engine: their processes run on, with what they hold, and those
        that wait for a start are started there. For an engine that ends."""
        for agent in agents:
            if (task := self._waiting.pop(agent, None)) is not None:
                task.cancel()
            self.warming.forget(agent)
        self.supervisor.let_go(agents)

    # --- becoming ready -----------------------------------------------------------------------

    def _warm(self, swarm: Swarm, agent: str) -> None:
        """Give a process its time to say that it is ready."""
        limit_s = swarm.setup.limit_s(self._warm_up_s)
        process = self.supervisor.running.get(agent)
        if limit_s and process is not None:
            self.warming.begin(process, limit_s)

    def _is_cold(self, process: Running) -> bool:
        agent = self._sites[process.environment].registry.agents.get(process.agent)
        return agent is not None and agent.pid == process.pid and agent.state is AgentState.STARTING

    # --- ending -------------------------------------------------------------------------------

    def blame(self, agent: str, why: str) -> None:
        """Say why the process of an agent is about to be ended; its exit is recorded with it."""
        if agent in self.supervisor.running:
            self._blamed[agent] = why

    def condemn(self, agent: str, why: str) -> None:
        """End the process of an agent that does not do what it should: SIGTERM, then SIGKILL. It
        is started again as after any other exit. Returns at once."""
        self.blame(agent, why)
        stop = partial(self.supervisor.stop, [agent], self._kill_after_s)
        task = self._tasks.create_task(self._guarded(agent, stop))
        _keep(self._condemned, agent, task)

    @property
    def watched(self) -> list[str]:
        """Agents whose process runs, or waits for its next start, or rests."""
        return list(dict.fromkeys((*self.supervisor.running, *self._waiting, *self._resting)))

    async def end(
        self, agents: Collection[str], *, force: bool, kill_after_s: float | None = None
    ) -> None:
        """End agents: told, then SIGTERM, then after `kill_after_s` (None: the setting) SIGKILL;
        with `force` SIGKILL at once. Returns when they are gone, recorded, and their leases are
        free. Raises Unavailable when the kernel keeps one."""
        self._ending.update(agents)
        try:
            await self._stop_starting(agents)
            if force:
                await self.supervisor.kill(agents)
            else:
                for agent in agents:
                    self._notify(agent, STOP)
                wait_s = self._kill_after_s if kill_after_s is None else kill_after_s
                await self.supervisor.stop(agents, wait_s)
            await self._settled(agents)
            await self._close_records(agents)
        finally:
            self._ending.difference_update(agents)

    async def rest(self, agents: Collection[str], reason: str) -> None:
        """End agents as `end` does, but for a time: they keep their places among the live ones.
        `reason` is shown meanwhile. Raises Unavailable when the kernel keeps one."""
        self._resting.update((agent, reason) for agent in agents)
        await self._stop_starting(agents)
        for agent in agents:
            self._notify(agent, STOP)
        await self.supervisor.stop(agents, self._kill_after_s)
        await self._settled(agents)
        for ident in agents:
            registry = self._sites[environment_of(ident)].registry
            if ident in self._resting and registry.agent(ident).pid is None:
                await registry.waits(ident, reason)

    async def resume(self, agents: Collection[str]) -> None:
        """Start agents that rest; one that was ended meanwhile stays so."""
        for ident in agents:
            reason = self._resting.pop(ident, None)
            agent = self._sites[environment_of(ident)].registry.agents.get(ident)
            if reason is not None and agent is not None and self._is_wanted(agent):
                self._later(ident, partial(self._restart, agent, 0.0, reason))

    async def _stop_starting(self, agents: Collection[str]) -> None:
        """After this none of them is being started: those that wait never will be, those under
        way are running."""
        for agent in agents:
            if (task := self._waiting.pop(agent, None)) is not None:
                task.cancel()
        for agent in agents:
            async with self._turns[agent]:
                pass

    async def _settled(self, agents: Collection[str]) -> None:
        tasks = [self._settling[agent] for agent in agents if agent in self._settling]
        if tasks:
            await asyncio.wait(tasks)

    async def _close_records(self, agents: Collection[str]) -> None:
        """Those that waited for their next start have no process whose end would be recorded."""
        for ident in agents:
            registry = self._sites[environment_of(ident)].registry
            agent = registry.agents.get(ident)
            if agent is not None and agent.is_live and ident not in self.supervisor.running:
                await registry.ended(ident, AgentState.EXITED, "ended before its next start")
            self._turns.pop(ident, None)
            self._histories.pop(ident, None)
            self._resting.pop(ident, None)

    # --- what follows an exit -----------------------------------------------------------------

    def _exited(self, exit_: Exit) -> None:
        task = self._tasks.create_task(self._guarded(exit_.agent, partial(self._settle, exit_)))
        _keep(self._settling, exit_.agent, task)

    async def _settle(self, exit_: Exit) -> None:
        site = self._sites[exit_.environment]
        if site.refusal is not None:
            return  # there is nowhere to record it
        await self._surely(site, lambda: site.queue.release(exit_.agent))
        async with self._turns[exit_.agent]:
            agent = site.registry.agents.get(exit_.agent)
            if agent is None:
                return
            reason = await self._why_ended(exit_)
            if self._is_wanted(agent) and agent.id in self._resting:
                await self._record(agent, AgentState.STARTING, self._resting[agent.id])
            elif self._is_wanted(agent):
                await self.start_later(agent, reason)
            else:
                await self._record(agent, AgentState.EXITED, reason)

    async def _record(self, agent: Agent, state: AgentState, reason: str) -> None:
        """Record that an agent's process has ended."""
        site = self._sites[agent.environment]
        await self._surely(site, lambda: site.registry.ended(agent.id, state, reason))

    async def _surely(self, site: Site, write: Callable[[], Awaitable[object]]) -> None:
        """Write what nobody else would write, once the disk takes it: an agent whose end is not
        recorded is never started again. Raises SwarmDeckError when the engine ends before."""
        while True:
            try:
                await write()
            except Unavailable as error:
                if site.refusal is not None or self.supervisor.closing:
                    raise
                log.warning("what became of an agent is not recorded yet: %s", error.message)
            else:
                return
            await asyncio.sleep(RECORD_AGAIN_S)

    async def _why_ended(self, exit_: Exit) -> str:
        blamed = self.why_memory(exit_) or self._blamed.pop(exit_.agent, "")
        if blamed or exit_.code == 0:
            return blamed or exit_.reason
        words = await self.supervisor.last_words(exit_.environment, exit_.agent)
        return told(exit_.reason, words)

    def _is_wanted(self, agent: Agent) -> bool:
        registry = self._sites[agent.environment].registry
        swarm = registry.swarms.get(agent.swarm or "")
        running = swarm is not None and swarm.state in {SwarmState.RUNNING, SwarmState.STARTING}
        return running and agent.id not in self._ending and not self.supervisor.closing

    async def start_later(self, agent: Agent, reason: str) -> None:
        """Start an agent again after a wait; record that it failed when that was done too often.
        `reason` is why it is not running."""
        history = self._histories.setdefault(agent.id, RestartHistory(self._limits))
        delay_s = history.next_delay_s(self._clock.monotonic_s())
        if delay_s is None:
            limit = f"{self._limits.restarts} restarts in {self._limits.window_s:g} s"
            await self._record(agent, AgentState.FAILED, f"{reason}; gave up after {limit}")
            return
        # It keeps its place among the live ones: another must not take it while it waits.
        await self._record(agent, AgentState.STARTING, f"{reason}; again in {delay_s:g} s")
        self._later(agent.id, partial(self._restart, agent, delay_s, reason))

    def _later(self, agent: str, start: Callable[[], Awaitable[None]]) -> None:
        _keep(self._waiting, agent, self._tasks.create_task(self._guarded(agent, start)))

    async def _restart(self, agent: Agent, delay_s: float, reason: str) -> None:
        await asyncio.sleep(delay_s)
        swarm, registry = agent.swarm or "", self._sites[agent.environment].registry
        wait_s = self.rates.take(swarm, self._clock.monotonic_s())
        if wait_s:
            site, why = self._sites[agent.environment], f"{reason}; {self._why_waiting}"
            await self._surely(site, lambda: registry.waits(agent.id, why))
            await self._wait_turn(swarm, wait_s)

        async def start(swarm: Swarm) -> None:
            restarts = registry.agent(agent.id).restarts + 1
            token = await registry.starting(agent.id, restarts=restarts, reason=reason)
            await self._start(swarm, agent.id, token)

        await self._begin(agent.id, start)

    async def _begin(self, ident: str, start: Callable[[Swarm], Awaitable[None]]) -> None:
        """Start an agent that has waited, unless it is not wanted any more."""
        async with self._turns[ident]:
            self._waiting.pop(ident, None)  # from here on it is not given up half way
            registry = self._sites[environment_of(ident)].registry
            now = registry.agents.get(ident)
            if now is None or not self._is_wanted(now) or ident in self.supervisor.running:
                return
            try:
                await start(registry.swarm(now.swarm or ""))
            except Unavailable as error:  # the machine has no room, which may pass
                await self.start_later(now, error.message)
            except SwarmDeckError as error:
                reason = f"{now.reason}; {error.message}" if now.restarts else error.message
                await self._record(now, AgentState.FAILED, reason)

    async def _guarded(self, agent: str, work: Callable[[], Awaitable[None]]) -> None:
        """One agent's trouble must not end the others': the group would cancel them all."""
        try:
            await work()
        except Exception:
            log.exception("agent %s could not be looked after", agent)


def _keep(tasks: dict[str, asyncio.Task[None]], name: str, task: asyncio.Task[None]) -> None:
    """Hold a task by name until it is done, or another has taken the name."""
    tasks[name] = task

    def drop(done: asyncio.Task[None]) -> None:
        if tasks.get(name) is done:
            del tasks[name]

    task.add_done_callback(drop)


def told(reason: str, words: str) -> str:
    """Why a process ended, with its last words; those of an orphan say it all."""
    if words.startswith(ORPHANED):
        return words
    return f"{reason}: {words}" if words else reason


def seems_alive(agent: Agent) -> bool:
    """Whether the process an agent was recorded with still runs."""
    return (
        agent.pid is not None
        and agent.started_at is not None
        and is_running(agent.pid, agent.started_at)
    )
