"""How swarms and agents are doing: views made from what stands in memory, without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ..errors import NotFound
from ..ledger import Holding, Ledger
from ..model import AgentState, SwarmState, format_size
from ..settings import AgentSettings
from ..views import AgentView, HealthView, LoanView, SwarmView
from .crew import Site
from .roster import Agent, Swarm
from .spawning import WAITS

Status = Literal["healthy", "degraded", "critical"]


class Vitals:
    """Views of agents and swarms. `used_bytes` is what the process of each agent held when it
    was last measured, `breaches` how many agents of a swarm were killed for it, `gave_way` why a
    swarm is stopped until the host has room."""

    def __init__(self, ledger: Ledger, settings: AgentSettings) -> None:
        self.used_bytes: dict[str, int] = {}
        self.breaches: Mapping[str, int] = {}
        self.gave_way: Mapping[str, str] = {}
        self._ledger = ledger
        self.settings = settings

    def agent(self, site: Site, agent: Agent) -> AgentView:
        counters = site.queue.counters
        return site.registry.agent_view(
            agent,
            used_bytes=self.used_bytes.get(agent.id, 0) if agent.pid is not None else 0,
            leased=counters.leased_by[agent.id],
            done=counters.done_by[agent.id],
        )

    def agents(self, site: Site, swarm: str) -> list[AgentView]:
        """The agents of a swarm, oldest first."""
        return [self.agent(site, agent) for agent in site.registry.select(swarm=swarm)]

    def swarm(self, site: Site, swarm: Swarm) -> SwarmView:
        return self._swarm(swarm, self.agents(site, swarm.id))

    def health(self, site: Site, swarm: Swarm) -> HealthView:
        """Whether a swarm is healthy, degraded or critical, and why."""
        agents = self.agents(site, swarm.id)
        view = self._swarm(swarm, agents)
        issues = [*_of_swarm(swarm, view), *(text for agent in agents for text in _of_agent(agent))]
        return HealthView(
            swarm=view,
            status=_status(swarm, view, issues),
            issues=tuple(issues),
            agents=tuple(agents),
            ready_messages=_ready(site, swarm, agents),
            leased_messages=sum(agent.leased for agent in agents),
        )

    def _swarm(self, swarm: Swarm, agents: list[AgentView]) -> SwarmView:
        holding = self._held(swarm)
        memory_bytes = swarm.memory_bytes if holding is None else holding.bytes
        return SwarmView(
            id=swarm.id,
            name=swarm.name,
            environment=swarm.environment,
            state=swarm.state,
            agents_wanted=swarm.agents,
            agents_live=sum(agent.pid is not None for agent in agents),
            agents_ready=sum(agent.state == AgentState.READY for agent in agents),
            memory_bytes=memory_bytes,
            borrowed_bytes=0 if holding is None else holding.borrowed_bytes,
            used_bytes=sum(agent.used_bytes for agent in agents),
            restarts=sum(agent.restarts for agent in agents),
            created_at_us=swarm.created_at_us,
            command=swarm.command,
            reason=swarm.reason,
            lenders=_lenders(holding),
            variables=tuple(name for name, _ in swarm.setup.variables),
            directory=swarm.setup.directory,
            warm_up_s=swarm.setup.limit_s(self.settings.warm_up_s),
            cpu_percent=swarm.setup.cpu_percent,
            breaches=self.breaches.get(swarm.id, 0),
            gave_way=self.gave_way.get(swarm.id, ""),
            agents_coming=sum(agent.pid is None and WAITS in agent.reason for agent in agents),
        )

    def _held(self, swarm: Swarm) -> Holding | None:
        """What a swarm holds; None for a terminated one: what it had is only a record."""
        try:
            return self._ledger.holding(swarm.id)
        except NotFound:
            return None


def _lenders(holding: Holding | None) -> tuple[LoanView, ...]:
    loans = () if holding is None else holding.lenders
    return tuple(LoanView(lender=loan.lender, bytes=loan.bytes) for loan in loans)


def _ready(site: Site, swarm: Swarm, agents: Iterable[AgentView]) -> int:
    """Messages that wait for this swarm or one of its agents."""
    lanes = site.queue.counters.lanes
    return lanes.ready(swarm.id) + sum(lanes.ready(agent.id) for agent in agents)


def _of_swarm(swarm: Swarm, view: SwarmView) -> Iterable[str]:
    if swarm.state is SwarmState.TERMINATED:
        yield f"the swarm has ended: {swarm.reason or 'no reason is recorded'}"
        return
    if swarm.state is SwarmState.DRAINING:
        yield "the swarm is ending: it takes no new work"
    if view.gave_way:
        yield f"gave way until there is room: {view.gave_way}"
    if view.breaches:
        was = "agent was" if view.breaches == 1 else "agents were"
        yield f"{view.breaches} {was} killed for holding more than its memory"
    if view.agents_live < view.agents_wanted:
        yield f"{view.agents_live} of {view.agents_wanted} agents run"
    if view.used_bytes > view.memory_bytes:
        yield f"uses {format_size(view.used_bytes)} of its {format_size(view.memory_bytes)}"


def _of_agent(agent: AgentView) -> Iterable[str]:
    name = f"agent {agent.id}"
    if agent.state == AgentState.STALE:
        yield f"{name} was last heard of {agent.heartbeat_age_s or 0:.0f} s ago"
    elif agent.state == AgentState.STARTING and agent.pid is None:
        yield f"{name} has no process: {agent.reason}"
    elif agent.state == AgentState.STARTING:
        yield f"{name} has not said that it is ready"
    elif agent.state in {AgentState.FAILED, AgentState.EXITED}:
        yield f"{name} {agent.state}: {agent.reason}"


def _status(swarm: Swarm, view: SwarmView, issues: list[str]) -> Status:
    if swarm.is_over or (view.agents_wanted > 0 and view.agents_live == 0):
        return "critical"
    return "degraded" if issues else "healthy"
