"""The agents that have processes: started with a token, restarted within limits, ended.

Between the registry, which records them, and the supervisor, which watches their processes.
What follows an exit runs here: leases are freed first, then the end is recorded, then the agent
is started again unless it is meant to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import msgspec

from ..clock import Clock
from ..errors import SwarmDeckError
from ..events import Event
from ..ledger import Ledger
from ..model import AgentState, SwarmState, environment_of
from ..queue import Counters
from ..settings import AgentSettings
from .presence import STOP
from .registry import Registry
from .roster import Agent, Swarm
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

Measure = Callable[[Collection[int]], Mapping[int, int]]

log = logging.getLogger(__name__)


class Work(Protocol):
    """What the crew needs of an environment's queue."""

    @property
    def counters(self) -> Counters: ...

    async def release(self, holder: str) -> int:
        """Free what an agent holds; how many messages that were."""
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
    called on a thread.
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
        )
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
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._waiting.values():
            task.cancel()
        try:
            await self.supervisor.close(kill_after_s=0)
            await self._settled(list(self._settling))
        finally:
            await self._tasks.__aexit__(None, None, None)

    # --- starting -----------------------------------------------------------------------------

    async def start(self, swarm: Swarm, agent: str, token: str) -> None:
        """Start the process of a recorded agent. Raises InvalidInput, Unavailable."""
        async with self._turns[agent]:
            await self._start(swarm, agent, token)

    async def _start(self, swarm: Swarm, agent: str, token: str) -> None:
        """In the agent's turn, so that its end waits until its start is recorded."""
        launch = Launch(
            agent=agent,
            environment=swarm.environment,
            swarm=swarm.id,
            token=token,
            command=swarm.command or BUNDLED_WORKER,
        )
        running = await self.supervisor.start(launch)
        registry = self._sites[swarm.environment].registry
        await registry.started(agent, running.pid, running.started_at)

    def adopt(self, agent: Agent) -> bool:
        """Watch again an agent whose process outlived its engine. False when it is gone."""
        if agent.pid is None or agent.started_at is None:
            return False
        return self.supervisor.adopt(
            Running(agent.id, agent.environment, agent.pid, agent.started_at)
        )

    async def lost(self, agent: Agent) -> None:
        """An agent's process ended while no engine watched it."""
        site = self._sites[agent.environment]
        await site.queue.release(agent.id)
        await site.registry.ended(agent.id, AgentState.EXITED, "ended while no engine ran")

    # --- ending -------------------------------------------------------------------------------

    @property
    def watched(self) -> list[str]:
        """Agents whose process runs, or waits for its next start."""
        return [*self.supervisor.running, *self._waiting]

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

    # --- what follows an exit -----------------------------------------------------------------

    def _exited(self, exit_: Exit) -> None:
        task = self._tasks.create_task(self._guarded(exit_.agent, partial(self._settle, exit_)))
        _keep(self._settling, exit_.agent, task)

    async def _settle(self, exit_: Exit) -> None:
        site = self._sites[exit_.environment]
        if site.refusal is not None:
            return  # there is nowhere to record it
        await site.queue.release(exit_.agent)
        async with self._turns[exit_.agent]:
            agent = site.registry.agents.get(exit_.agent)
            if agent is None:
                return
            reason = exit_.reason
            if exit_.code:
                words = await self.supervisor.last_words(exit_.environment, exit_.agent)
                reason = f"{reason}: {words}" if words else reason
            if self._is_wanted(agent):
                await self.start_later(agent, reason)
            else:
                await site.registry.ended(agent.id, AgentState.EXITED, reason)

    def _is_wanted(self, agent: Agent) -> bool:
        registry = self._sites[agent.environment].registry
        swarm = registry.swarms.get(agent.swarm or "")
        running = swarm is not None and swarm.state in {SwarmState.RUNNING, SwarmState.STARTING}
        return running and agent.id not in self._ending and not self.supervisor.closing

    async def start_later(self, agent: Agent, reason: str) -> None:
        """Start an agent again after a wait; record that it failed when that was done too often.
        `reason` is why it is not running."""
        registry = self._sites[agent.environment].registry
        history = self._histories.setdefault(agent.id, RestartHistory(self._limits))
        delay_s = history.next_delay_s(self._clock.monotonic_s())
        if delay_s is None:
            limit = f"{self._limits.restarts} restarts in {self._limits.window_s:g} s"
            await registry.ended(agent.id, AgentState.FAILED, f"{reason}; gave up after {limit}")
            return
        # It keeps its place among the live ones: another must not take it while it waits.
        await registry.ended(agent.id, AgentState.STARTING, f"{reason}; again in {delay_s:g} s")
        restart = partial(self._restart, agent, delay_s, reason)
        _keep(self._waiting, agent.id, self._tasks.create_task(self._guarded(agent.id, restart)))

    async def _restart(self, agent: Agent, delay_s: float, reason: str) -> None:
        await asyncio.sleep(delay_s)
        async with self._turns[agent.id]:
            self._waiting.pop(agent.id, None)  # from here on it is not given up half way
            registry = self._sites[agent.environment].registry
            now = registry.agents.get(agent.id)
            if now is None or not self._is_wanted(now):
                return
            token = await registry.starting(now.id, restarts=now.restarts + 1, reason=reason)
            try:
                await self._start(registry.swarm(now.swarm or ""), now.id, token)
            except SwarmDeckError as error:
                await registry.ended(now.id, AgentState.FAILED, f"{reason}; {error.message}")

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


def seems_alive(agent: Agent) -> bool:
    """Whether the process an agent was recorded with still runs."""
    return (
        agent.pid is not None
        and agent.started_at is not None
        and is_running(agent.pid, agent.started_at)
    )
