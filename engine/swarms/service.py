"""Swarms: agents as processes under a memory budget, from creation to their end.

Every operation either happens whole or leaves no trace: the command is looked up and the limits
are asked before anything is granted, and what fails later is undone. A swarm that ends gracefully
drains first: its agents are served no new work, and what they hold they may finish.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from ..errors import Conflict, NotFound, OverBudget, SwarmDeckError
from ..ledger import Grant
from ..model import (
    OPERATOR,
    AgentState,
    SwarmState,
    check_display_name,
    check_name,
    environment_of,
    parse_environment,
)
from ..settings import AgentSettings
from ..views import SwarmView
from .attic import Attic
from .crew import Crew, Site, Surroundings
from .grants import Grants
from .keeper import Keeper
from .looks import Looks
from .presence import STOP
from .roster import Agent, Setup, Swarm
from .succession import Succession
from .supervisor import resolve_command
from .tokens import new_token

log = logging.getLogger(__name__)

T = TypeVar("T")
Progress = Callable[[float, str], object]

Agents = list[Agent]  # `list` is a method of the service
Idents = list[str]
Recruits = list[tuple[Agent, str]]  # with the token each is started with

AGENT_TYPE: Final = "worker"
DRAIN_LOOK_S: Final = 0.05  # what agents hold stands in memory; looking costs microseconds
CLOSE_KILL_AFTER_S: Final = 1.0  # leaving a console must not take longer than a person waits


class Swarms(Looks):
    """The swarms of all environments. Use it as an async context, inside that of the databases:
    leaving it ends every process it watches."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._around = around
        self._crew = Crew(around)
        self._grants = Grants(around)
        self._attic = Attic(around.directory / "logs", around.clock, self._crew.supervisor.offload)
        self.succession = Succession(self._crew, self._grants, self._finish)
        self._leaving: set[str] = set()  # agents that are served no new work
        self.keeper = Keeper(around, self._crew, self._leaving)
        self._grace_s = around.settings.grace_s
        self._keeps = False
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        await self._crew.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self.keeper.close()
            if self._keeps:
                self._crew.leave(self._kept())
            await self._end_all("the engine stopped")
        finally:
            await self._crew.__aexit__(*error)

    def take(self, settings: AgentSettings) -> None:
        """Go by other settings from now on: those of `crew.TAKEN`."""
        self._grace_s = settings.grace_s
        self._crew.take(settings)
        self.vitals.settings = settings

    # --- the next engine ------------------------------------------------------------------------

    def keep_running(self) -> int:
        """When this engine closes, leave the swarms that last to the next one instead of ending
        them. Returns how many agents that would be now."""
        self._keeps = True
        return len(self._kept())

    def _kept(self) -> Idents:
        """Agents the next engine takes up; others it would end (see succession)."""
        return [agent for agent in self._crew.watched if self._lasts(agent)]

    def _lasts(self, agent: str) -> bool:
        registry = self._sites[environment_of(agent)].registry
        known = registry.agents.get(agent)
        swarm = None if known is None else registry.swarms.get(known.swarm or "")
        return swarm is not None and swarm.lasting and swarm.state is SwarmState.RUNNING

    # --- steering -----------------------------------------------------------------------------

    async def create(  # noqa: PLR0913 - what a swarm is made of
        self,
        environment: str,
        *,
        agents: int,
        memory_bytes: int,
        command: Sequence[str] = (),
        name: str = "",
        lasting: bool = True,
        setup: Setup = Setup(),  # noqa: B008 - frozen
        actor: str = OPERATOR,
        progress: Progress = lambda _, __: None,
    ) -> SwarmView:
        """Start `agents` processes of `command` (empty: the bundled worker) that share
        `memory_bytes`; 0 agents make a swarm that others join. Those that the spawn rate lets
        start now have started when this returns, the others come by themselves. One that is not
        `lasting` is ended by the next engine if this one dies. Raises InvalidInput, OverBudget."""
        found = parse_environment(environment)
        argv = resolve_command(command, Path.cwd()) if command else ()
        self.keeper.require(agents, setup)
        site = await self._around.open_site(found)
        ident = site.registry.new_id("swarm")
        swarm = Swarm(
            id=ident,
            name=check_display_name(name) if name else ident,
            environment=found,
            state=SwarmState.STARTING,
            agents=agents,
            memory_bytes=memory_bytes,
            command=argv,
            created_at_us=self._around.clock.wall_us(),
            lasting=lasting,
            setup=setup,
        )
        crew = self._recruit(site, swarm, agents)
        grant: Grant | None = None
        async with self._turns[ident]:
            try:
                with self._grants.room(site, agents):
                    grant = self._ledger.grant(ident, found, memory_bytes)
                    await site.registry.create_swarm(swarm, [a for a, _ in crew], actor=actor)
                await self._start(swarm, crew, progress)
                await site.registry.change_swarm(
                    ident, action="swarm.run", state=SwarmState.RUNNING
                )
            except BaseException:
                if grant is not None:
                    await self._uncreate(site, swarm, grant)
                raise
        await self._grants.tell(grant.reclaims, found)
        self.keeper.follow()
        return self.view(ident)

    async def scale(
        self,
        ident: str,
        *,
        agents: int,
        memory_bytes: int,
        actor: str = OPERATOR,
        progress: Progress = lambda _, __: None,
    ) -> SwarmView:
        """Give a swarm this many running agents and this much memory. Agents that have failed
        are replaced; the newest ones go first, after they have finished what they hold. Raises
        NotFound, Conflict, OverBudget, InvalidInput."""
        site, _ = await self._find(ident)
        async with self._turns[ident]:
            live, dead = self._members(site, ident)
            await self._grow(
                site, ident, (agents, memory_bytes), agents - len(live), actor, progress
            )
            for agent in dead:
                await site.registry.unregister(agent.id, actor=actor)
        await self._shed(site, live[agents:], progress)
        return self.view(ident)

    def has_given_way(self, ident: str) -> bool:
        """Whether a swarm is stopped until the host has memory again, as of this moment."""
        found = self.keeper.enforcement
        return found is not None and ident in found.gave_way

    async def restart_agents(self, ident: str, agents: Sequence[str], reason: str) -> None:
        """Give these agents of a running swarm new processes: what runs is killed, their earlier
        restarts are forgotten. Raises NotFound, Conflict, OverBudget, and what `Crew.start`
        does; then those not started yet have no process."""
        site, _ = await self._find(ident)
        async with self._turns[ident]:
            swarm = self._running(site, ident)
            await self._crew.end(agents, force=True)
            with self._grants.room(site, len(agents)):
                for agent in agents:
                    restarts = site.registry.agent(agent).restarts + 1
                    token = await site.registry.starting(agent, restarts=restarts, reason=reason)
                    await self._start_or_fail(site, swarm, agent, token)

    async def replace_agents(self, ident: str, actor: str = OPERATOR) -> None:
        """Kill and forget all agents a running swarm has started, and start as many new ones
        within its budget. Raises NotFound, Conflict, OverBudget, and what `Crew.start` does."""
        site, _ = await self._find(ident)
        async with self._turns[ident]:
            swarm = self._running(site, ident)
            live, dead = self._members(site, ident)
            old = [agent.id for agent in (*live, *dead)]
            await self._crew.end(old, force=True)
            for agent in old:
                await site.registry.unregister(agent, actor=actor)
            recruits = self._recruit(site, swarm, swarm.agents)
            with self._grants.room(site, len(recruits)):
                await site.registry.add_agents(ident, [agent for agent, _ in recruits], actor=actor)
            for recruit, token in recruits:
                await self._start_or_fail(site, swarm, recruit.id, token)

    async def terminate(
        self,
        ident: str,
        *,
        force: bool = False,
        wait_s: float | None = None,
        actor: str = OPERATOR,
        reason: str = "terminated",
        progress: Progress = lambda _, __: None,
    ) -> SwarmView:
        """End a swarm: its agents may finish what they hold for `wait_s` (None: the setting), or
        with `force` are killed at once. Again on one that has ended: nothing. Raises NotFound."""
        site, swarm = await self._find(ident)
        if swarm.is_over:
            return self.view(ident)
        async with self._turns[ident]:
            await site.registry.change_swarm(
                ident, action="swarm.terminate", actor=actor,
                state=SwarmState.DRAINING, reason=reason,
            )  # fmt: skip
        site.queue.refresh()
        members = site.registry.select(swarm=ident)
        if not force:
            longest_s = self._grace_s if wait_s is None else wait_s
            await self._drain(site, [agent.id for agent in members], longest_s, progress)
        for guest in (agent for agent in members if agent.is_external):
            self._around.notify(guest.id, STOP)
        await self._crew.end([a.id for a in members if not a.is_external], force=force)
        await self._finish(site, ident, reason)
        progress(1.0, "ended")
        return self.view(ident)

    async def remove(self, ident: str) -> None:
        """Forget a terminated swarm and its agents, with their output. Raises NotFound,
        Conflict."""
        site, swarm = await self._find(ident)
        if not swarm.is_over:
            raise Conflict(f"swarm {ident} is {swarm.state}", hint="terminate it first")
        own = [agent.id for agent in site.registry.select(swarm=ident) if not agent.is_external]
        await site.registry.remove_swarm(ident)
        await self._attic.drop(site.registry.environment, own)

    def may_claim(self, agent: str) -> bool:
        """Whether an agent may be served new work: not before it is ready, and not while it, or its
        swarm, is ending."""
        site = self._sites.get(environment_of(agent))
        known = None if site is None else site.registry.agents.get(agent)
        if site is None or known is None or agent in self._leaving:
            return False
        if known.state is AgentState.STARTING:  # it has not said that it is ready
            return False
        swarm = site.registry.swarms.get(known.swarm or "")
        return swarm is None or swarm.state in {SwarmState.STARTING, SwarmState.RUNNING}

    # --- what processes write and hold ---------------------------------------------------------

    async def logs(self, agent: str, lines: int) -> Sequence[str]:
        """The last lines an agent has written. Raises NotFound."""
        environment = environment_of(check_name(agent, "agent"))
        site = self._sites.get(environment)
        path = self._crew.supervisor.log_path(environment, agent)
        if (site is None or agent not in site.registry.agents) and not path.exists():
            raise NotFound(f"no agent {agent}", hint="see swarmdeck agent list")
        return await self._crew.supervisor.last_lines(environment, agent, lines)

    async def sample(self) -> None:
        """Measure what the processes hold, cut output that has grown too long and delete what is
        old. Call it about once a second."""
        running = self._crew.supervisor.running.values()
        pids = {process.agent: process.pid for process in running}
        used = await self._crew.supervisor.offload(
            lambda: self._around.measure(list(pids.values()))
        )
        self.note_use({agent: used.get(pid, 0) for agent, pid in pids.items()})
        await self._crew.supervisor.rotate()
        await self._attic.tick(self._crew.watched)

    async def read(self, look: Callable[[Mapping[str, int]], T]) -> T:
        """What `look` finds of the processes that run, on a thread. It is given their pids, by
        agent."""
        running = self._crew.supervisor.running.values()
        pids = {process.agent: process.pid for process in running}
        return await self._crew.supervisor.offload(lambda: look(pids))

    def note_use(self, used_bytes: dict[str, int]) -> None:
        """Take over what the process of each agent holds, and do about it what is to be done."""
        self.vitals.used_bytes = used_bytes
        self.keeper.tick(used_bytes)
        if (found := self.keeper.enforcement) is not None:
            self.vitals.breaches, self.vitals.gave_way = found.breaches, found.gave_way

    # --- an environment that is lost ----------------------------------------------------------

    async def abandon(self, environment: str, swarms: Sequence[str]) -> None:
        """An environment cannot be used any more: end the processes of its swarms, and free their
        memory. Nothing of it can be recorded."""
        agents = [agent for agent in self._crew.watched if environment_of(agent) == environment]
        await self._crew.end(agents, force=True)
        for ident in swarms:
            with suppress(NotFound):
                self._ledger.release(ident)
            self._turns.pop(ident, None)

    # --- parts of an operation ----------------------------------------------------------------

    def _recruit(self, site: Site, swarm: Swarm, count: int) -> Recruits:
        """New agents with their tokens, not recorded yet."""
        before = sum(agent.swarm == swarm.id for agent in site.registry.agents.values())
        recruits = []
        for number in range(before + 1, before + count + 1):
            token, token_hash = new_token(self._around.clock)
            agent = site.registry.describe(
                f"{AGENT_TYPE} {number}",
                AGENT_TYPE,
                swarm=swarm.id,
                state=AgentState.STARTING,
                token_hash=token_hash,
            )
            recruits.append((agent, token))
        return recruits

    async def _start(self, swarm: Swarm, recruits: Recruits, progress: Progress) -> None:
        waiting = 0
        for number, (agent, token) in enumerate(recruits, start=1):
            waiting += not await self._crew.start(swarm, agent.id, token)
            text = f"started {number - waiting} of {len(recruits)} agents"
            if waiting:
                text = f"{text}, {waiting} wait for their turn"
            progress(number / len(recruits), text)

    async def _start_or_fail(self, site: Site, swarm: Swarm, agent: str, token: str) -> None:
        """Start a recorded agent. One that cannot be started is recorded as failed."""
        try:
            await self._crew.start(swarm, agent, token)
        except SwarmDeckError as error:
            await site.registry.ended(agent, AgentState.FAILED, error.message)
            raise

    def _running(self, site: Site, ident: str) -> Swarm:
        """Raises Conflict unless the swarm is running."""
        swarm = site.registry.swarm(ident)
        if swarm.state is not SwarmState.RUNNING:
            raise Conflict(f"swarm {ident} is {swarm.state}", hint="only a running one")
        return swarm

    async def _uncreate(self, site: Site, swarm: Swarm, grant: Grant) -> None:
        """Leave no trace of a swarm that could not be started."""
        self._ledger.release(swarm.id)
        if swarm.id in site.registry.swarms:
            live, dead = self._members(site, swarm.id)
            await self._crew.end([agent.id for agent in (*live, *dead)], force=True)
            with suppress(NotFound):  # an engine that ends removes it too
                await site.registry.remove_swarm(swarm.id)
        self._turns.pop(swarm.id, None)
        await self._grants.hand_back(grant.reclaims, swarm.environment)

    async def _grow(
        self,
        site: Site,
        ident: str,
        wanted: tuple[int, int],
        more: int,
        actor: str,
        progress: Progress,
    ) -> None:
        """Record the new size, agents and bytes, and start what is missing; or change nothing."""
        registry, swarm = site.registry, site.registry.swarm(ident)
        if swarm.state is not SwarmState.RUNNING:
            raise Conflict(f"swarm {ident} is {swarm.state}", hint="only a running one scales")
        self.keeper.require(more)
        recruits = self._recruit(site, swarm, more)
        grant: Grant | None = None
        try:
            with self._grants.room(site, more):
                grant = self._ledger.resize(ident, wanted[1])
                await registry.change_swarm(
                    ident, action="swarm.scale", actor=actor,
                    agents=wanted[0], memory_bytes=wanted[1],
                )  # fmt: skip
                await registry.add_agents(ident, [agent for agent, _ in recruits], actor=actor)
            await self._start(swarm, recruits, progress)
        except BaseException:
            if grant is not None:
                await self._ungrow(site, swarm, grant, [agent.id for agent, _ in recruits])
            raise
        await self._grants.tell(grant.reclaims, swarm.environment)
        self.keeper.follow()

    async def _ungrow(
        self, site: Site, before: Swarm, grant: Grant, recruits: Sequence[str]
    ) -> None:
        added = [ident for ident in recruits if ident in site.registry.agents]
        await self._crew.end(added, force=True)
        for ident in added:
            await site.registry.unregister(ident)
        # Another may have taken what was given up meanwhile; then the smaller size stands.
        with suppress(OverBudget):
            grant = self._ledger.resize(before.id, before.memory_bytes)
        await site.registry.change_swarm(
            before.id, action="swarm.scale", agents=before.agents, memory_bytes=grant.bytes
        )
        await self._grants.hand_back(grant.reclaims, before.environment)

    async def _shed(self, site: Site, agents: Sequence[Agent], progress: Progress) -> None:
        """End agents once they have finished what they hold, and forget them."""
        idents = [agent.id for agent in agents]
        self._leaving.update(idents)
        site.queue.refresh()
        try:
            await self._drain(site, idents, self._grace_s, progress)
            await self._crew.end(idents, force=False)
            for ident in idents:
                if ident in site.registry.agents:
                    await site.registry.unregister(ident)
        finally:
            self._leaving.difference_update(idents)

    async def _drain(
        self, site: Site, agents: Sequence[str], wait_s: float, progress: Progress
    ) -> None:
        """Wait until the agents hold no message, at most `wait_s`."""
        counters = site.queue.counters
        held = most = sum(counters.leased_by[agent] for agent in agents)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while held:
                    progress(1 - held / most, f"waiting for {held} messages to be finished")
                    await asyncio.sleep(DRAIN_LOOK_S)
                    held = sum(counters.leased_by[agent] for agent in agents)
                    most = max(most, held)

    async def _finish(self, site: Site, ident: str, reason: str) -> None:
        """A swarm has no process any more: record its end and free its memory."""
        if not site.registry.swarm(ident).is_over:
            await site.registry.change_swarm(
                ident, action="swarm.end", state=SwarmState.TERMINATED, reason=reason
            )
        with suppress(NotFound):
            self._ledger.release(ident)
        self._turns.pop(ident, None)
        await self._cancel_leftovers(site, ident)

    async def _cancel_leftovers(self, site: Site, ident: str) -> None:
        """Cancel what waits for a swarm that has ended and for its agents, unless another swarm
        has taken over. What the disk refuses now is done later."""
        swarm = site.registry.swarm(ident)
        if site.refusal is not None or site.registry.heir(swarm) is not None:
            return
        own = [agent.id for agent in site.registry.select(swarm=ident) if not agent.is_external]
        why = f"swarm {ident} has ended: {swarm.reason}"
        try:
            await site.queue.cancel_for([ident, *own], why)
        except SwarmDeckError as error:
            log.warning("what waits for %s is not cancelled yet: %s", ident, error.message)

    async def _end_all(self, reason: str) -> None:
        """End the swarms whose processes this engine watches. Others are left as they are."""
        watched = self._crew.watched
        await self._crew.end(watched, force=False, kill_after_s=CLOSE_KILL_AFTER_S)
        for site in self._sites.values():
            agents = site.registry.agents
            swarms = {agents[ident].swarm for ident in watched if ident in agents}
            for ident in swarms & site.registry.swarms.keys():
                if ident is None:
                    continue
                with suppress(NotFound):  # who was making it takes it away meanwhile
                    await self._finish(site, ident, reason)

    def _members(self, site: Site, swarm: str) -> tuple[Agents, Agents]:
        """The agents this swarm started: those that run or will again, and the dead."""
        own = [agent for agent in site.registry.select(swarm=swarm) if not agent.is_external]
        return [a for a in own if a.is_live], [a for a in own if not a.is_live]

    async def _find(self, ident: str) -> tuple[Site, Swarm]:
        site = await self._around.open_site(environment_of(ident))
        return site, site.registry.swarm(ident)
