"""Swarms: agents as processes under a memory budget, from creation to their end.

Every operation either happens whole or leaves no trace: the command is looked up and the limits
are asked before anything is granted, and what fails later is undone. A swarm that ends gracefully
drains first: its agents are served no new work, and what they hold they may finish.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from ..errors import Conflict, InvalidInput, NotFound, OverBudget
from ..events import Reclaimed
from ..ledger import Grant, Reclaim
from ..model import (
    OPERATOR,
    AgentState,
    SwarmState,
    check_display_name,
    check_name,
    environment_of,
    parse_environment,
)
from ..views import AgentView, HealthView, SwarmView
from .crew import Crew, Site, Surroundings, seems_alive
from .presence import STOP
from .roster import Agent, Swarm
from .supervisor import resolve_command
from .tokens import new_token
from .vitals import Vitals

Progress = Callable[[float, str], object]

Agents = list[Agent]  # `list` is a method of the service
Recruits = list[tuple[Agent, str]]  # with the token each is started with

AGENT_TYPE: Final = "worker"
DRAIN_LOOK_S: Final = 0.05  # what agents hold stands in memory; looking costs microseconds
CLOSE_KILL_AFTER_S: Final = 1.0  # leaving a console must not take longer than a person waits


class Swarms:
    """The swarms of all environments. Use it as an async context, inside that of the databases:
    leaving it ends every process it watches."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._ledger = around.ledger
        self._sites = around.sites
        self._crew = Crew(around)
        self.vitals = Vitals(around.ledger)
        self._leaving: set[str] = set()  # agents that are served no new work
        self._coming: Counter[str] = Counter()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        await self._crew.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._end_all("the engine stopped")
        finally:
            await self._crew.__aexit__(*error)

    # --- steering -----------------------------------------------------------------------------

    async def create(
        self,
        environment: str,
        *,
        agents: int,
        memory_bytes: int,
        command: Sequence[str] = (),
        name: str = "",
        lasting: bool = True,
        actor: str = OPERATOR,
        progress: Progress = lambda _, __: None,
    ) -> SwarmView:
        """Start `agents` processes of `command` (empty: the bundled worker) that share
        `memory_bytes`; 0 agents make a swarm that others join. One that is not `lasting` is
        ended by the next engine if this one dies. Raises InvalidInput, OverBudget."""
        found = parse_environment(environment)
        argv = resolve_command(command, Path.cwd()) if command else ()
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
        )
        crew = self._recruit(site, swarm, agents)
        grant: Grant | None = None
        async with self._turns[ident]:
            try:
                with self._room(site, agents):
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
        await self._tell_reclaims(grant.reclaims, found)
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
                ident, action="swarm.terminate", actor=actor, state=SwarmState.DRAINING
            )
        site.queue.refresh()
        members = site.registry.select(swarm=ident)
        if not force:
            longest_s = self._around.settings.grace_s if wait_s is None else wait_s
            await self._drain(site, [agent.id for agent in members], longest_s, progress)
        for guest in (agent for agent in members if agent.is_external):
            self._around.notify(guest.id, STOP)
        await self._crew.end([a.id for a in members if not a.is_external], force=force)
        await self._finish(site, ident, reason)
        progress(1.0, "ended")
        return self.view(ident)

    async def remove(self, ident: str) -> None:
        """Forget a terminated swarm and its agents. Raises NotFound, Conflict."""
        site, swarm = await self._find(ident)
        if not swarm.is_over:
            raise Conflict(f"swarm {ident} is {swarm.state}", hint="terminate it first")
        await site.registry.remove_swarm(ident)

    def may_claim(self, agent: str) -> bool:
        """Whether an agent may be served new work: not while it, or its swarm, is ending."""
        site = self._sites.get(environment_of(agent))
        known = None if site is None else site.registry.agents.get(agent)
        if site is None or known is None or agent in self._leaving:
            return False
        swarm = site.registry.swarms.get(known.swarm or "")
        return swarm is None or swarm.state in {SwarmState.STARTING, SwarmState.RUNNING}

    # --- looking ------------------------------------------------------------------------------

    def view(self, ident: str) -> SwarmView:
        """One swarm. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.swarm(site, site.registry.swarm(ident))

    def health(self, ident: str) -> HealthView:
        """Whether a swarm is healthy, degraded or critical, and why. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.health(site, site.registry.swarm(ident))

    def list(self, environment: str | None = None, *, ended: bool = False) -> Sequence[SwarmView]:
        """The swarms of one or all environments, oldest first; with `ended` also those."""
        return [
            self.vitals.swarm(site, swarm)
            for name, site in self._sites.items()
            if environment in {None, name}
            for swarm in site.registry.swarms.values()
            if ended or not swarm.is_over
        ]

    def agent(self, ident: str) -> AgentView:
        """One agent. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.agent(site, site.registry.agent(ident))

    def agents(
        self,
        environment: str | None = None,
        *,
        swarm: str | None = None,
        team: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the action
        capability: str | None = None,
    ) -> Sequence[AgentView]:
        """The agents that match all that is given. Raises NotFound for an unknown swarm or
        team."""
        places = {environment_of(ident) for ident in (swarm, team) if ident is not None}
        for place in places:
            self._site(place)
        return [
            self.vitals.agent(site, agent)
            for name, site in self._sites.items()
            if environment in {None, name} and places <= {name}
            for agent in site.registry.select(
                swarm=swarm, team=team, type=type, capability=capability
            )
        ]

    def available_bytes(self, environment: str) -> int:
        """The most memory that one more swarm could be granted now."""
        return next(u.available_bytes for u in self._ledger.use() if u.name == environment)

    async def logs(self, agent: str, lines: int) -> Sequence[str]:
        """The last lines an agent has written. Raises NotFound."""
        environment = environment_of(check_name(agent, "agent"))
        site = self._sites.get(environment)
        path = self._crew.supervisor.log_path(environment, agent)
        if (site is None or agent not in site.registry.agents) and not path.exists():
            raise NotFound(f"no agent {agent}", hint="see swarmdeck agent list")
        return await self._crew.supervisor.last_lines(environment, agent, lines)

    async def sample(self) -> None:
        """Measure what the processes hold and cut output that has grown too long. Call it about
        once a second."""
        running = self._crew.supervisor.running.values()
        pids = {process.agent: process.pid for process in running}
        used = await self._crew.supervisor.offload(
            lambda: self._around.measure(list(pids.values()))
        )
        self.vitals.used_bytes = {agent: used.get(pid, 0) for agent, pid in pids.items()}
        await self._crew.supervisor.rotate()

    # --- after an engine that has ended -------------------------------------------------------

    async def restore(self, site: Site, *, lasting: bool) -> None:
        """Take up what an environment's file says of its swarms. Call once, after its registry
        is loaded. An engine that is `lasting` watches living processes again and starts dead
        ones anew; another only records who is dead."""
        for swarm in list(site.registry.swarms.values()):
            if not swarm.is_over:
                over = await self._take_budget(swarm)
                if lasting:
                    await self._resume(site, swarm, over or _why_over(swarm))
                else:
                    await self._record_dead(site, swarm)

    async def _take_budget(self, swarm: Swarm) -> str:
        """Why a swarm cannot have its memory again (the plan may have changed), or nothing."""
        try:
            grant = self._ledger.grant(swarm.id, swarm.environment, swarm.memory_bytes)
        except (OverBudget, InvalidInput) as error:
            return error.message
        await self._tell_reclaims(grant.reclaims, swarm.environment)
        return ""

    async def _resume(self, site: Site, swarm: Swarm, over: str) -> None:
        members = [a for a in site.registry.select(swarm=swarm.id) if not a.is_external]
        dead = [agent for agent in members if not self._crew.adopt(agent)]
        for agent in dead:
            if agent.is_live:
                await self._crew.lost(agent)
        if over:
            idents = [agent.id for agent in members]
            await self._crew.end(idents, force=False, kill_after_s=CLOSE_KILL_AFTER_S)
            await self._finish(site, swarm.id, over)
            return
        for agent in dead:
            if agent.state is not AgentState.FAILED:
                await self._crew.start_later(agent, "its engine ended")

    async def _record_dead(self, site: Site, swarm: Swarm) -> None:
        members = [a for a in site.registry.select(swarm=swarm.id) if a.is_live]
        dead = [agent for agent in members if not seems_alive(agent)]
        for agent in dead:
            await self._crew.lost(agent)
        if not swarm.lasting and len(dead) == len(members):
            await self._finish(site, swarm.id, _why_over(swarm))

    async def abandon(self, environment: str, swarms: Sequence[str]) -> None:
        """An environment cannot be used any more: end the processes of its swarms, and free their
        memory. Nothing of it can be recorded."""
        agents = [agent for agent in self._crew.watched if environment_of(agent) == environment]
        await self._crew.end(agents, force=True)
        for ident in swarms:
            with suppress(NotFound):
                self._ledger.release(ident)
            self._turns.pop(ident, None)

    async def retire(self, site: Site, reason: str) -> None:
        """Record as ended every swarm that a file holds, with the leases of its agents freed: what
        ran when a backup was made does not run now. Call instead of `restore`."""
        for swarm in list(site.registry.swarms.values()):
            if not swarm.is_over:
                for agent in site.registry.select(swarm=swarm.id):
                    if agent.is_live and not agent.is_external:
                        await site.queue.release(agent.id)
                        await site.registry.ended(agent.id, AgentState.EXITED, reason)
                await self._finish(site, swarm.id, reason)

    # --- parts of an operation ----------------------------------------------------------------

    @contextmanager
    def _room(self, site: Site, wanted: int) -> Iterator[None]:
        """Room for so many agents more, kept until they are recorded. Raises OverBudget."""
        environment = site.registry.environment
        live = site.registry.live_count() + self._coming[environment]
        self._ledger.check_agents(environment, live, wanted)
        self._coming[environment] += max(0, wanted)
        try:
            yield
        finally:
            self._coming[environment] -= max(0, wanted)

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
        for number, (agent, token) in enumerate(recruits, start=1):
            await self._crew.start(swarm, agent.id, token)
            progress(number / len(recruits), f"started {number} of {len(recruits)} agents")

    async def _uncreate(self, site: Site, swarm: Swarm, grant: Grant) -> None:
        """Leave no trace of a swarm that could not be started."""
        self._ledger.release(swarm.id)
        if swarm.id in site.registry.swarms:
            live, dead = self._members(site, swarm.id)
            await self._crew.end([agent.id for agent in (*live, *dead)], force=True)
            await site.registry.remove_swarm(swarm.id)
        self._turns.pop(swarm.id, None)
        await self._hand_back(grant.reclaims, swarm.environment)

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
        recruits = self._recruit(site, swarm, more)
        grant: Grant | None = None
        try:
            with self._room(site, more):
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
        await self._tell_reclaims(grant.reclaims, swarm.environment)

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
        await self._hand_back(grant.reclaims, before.environment)

    async def _shed(self, site: Site, agents: Sequence[Agent], progress: Progress) -> None:
        """End agents once they have finished what they hold, and forget them."""
        idents = [agent.id for agent in agents]
        self._leaving.update(idents)
        site.queue.refresh()
        try:
            await self._drain(site, idents, self._around.settings.grace_s, progress)
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

    async def _end_all(self, reason: str) -> None:
        """End the swarms whose processes this engine watches. Others are left as they are."""
        watched = self._crew.watched
        await self._crew.end(watched, force=False, kill_after_s=CLOSE_KILL_AFTER_S)
        for site in self._sites.values():
            agents = site.registry.agents
            swarms = {agents[ident].swarm for ident in watched if ident in agents}
            for ident in swarms & site.registry.swarms.keys():
                if ident is not None:
                    await self._finish(site, ident, reason)

    async def _tell_reclaims(self, reclaims: Sequence[Reclaim], environment: str) -> None:
        """Record which swarms shrank so that another could have its due."""
        for reclaim in reclaims:
            site = await self._around.open_site(reclaim.environment)
            await site.registry.change_swarm(
                reclaim.swarm, action="swarm.reclaim", memory_bytes=reclaim.bytes
            )
            self._around.publish(Reclaimed(reclaim.swarm, reclaim.taken_bytes, environment))

    async def _hand_back(self, reclaims: Sequence[Reclaim], environment: str) -> None:
        """Undo loans that were taken back for nothing, as far as nobody else has used them."""
        kept = []
        for reclaim in reclaims:
            try:
                self._ledger.resize(reclaim.swarm, reclaim.bytes + reclaim.taken_bytes)
            except OverBudget:
                kept.append(reclaim)
            except NotFound:
                continue
        await self._tell_reclaims(kept, environment)

    def _members(self, site: Site, swarm: str) -> tuple[Agents, Agents]:
        """The agents this swarm started: those that run or will again, and the dead."""
        own = [agent for agent in site.registry.select(swarm=swarm) if not agent.is_external]
        return [a for a in own if a.is_live], [a for a in own if not a.is_live]

    async def _find(self, ident: str) -> tuple[Site, Swarm]:
        site = await self._around.open_site(environment_of(ident))
        return site, site.registry.swarm(ident)

    def _site_of(self, ident: str) -> Site:
        return self._site(environment_of(ident), ident)

    def _site(self, environment: str, ident: str = "") -> Site:
        site = self._sites.get(environment)
        if site is None:
            raise NotFound(f"{environment} is empty: it has no {ident or 'such thing'}")
        return site


def _why_over(swarm: Swarm) -> str:
    """Why a swarm does not outlive the engine that ran it, or nothing."""
    if not swarm.lasting:
        return "the engine that ran it has ended"
    if swarm.state is SwarmState.STARTING:
        return "the engine ended while it was being started"
    return "terminated" if swarm.state is SwarmState.DRAINING else ""
