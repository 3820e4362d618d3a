"""Who is there, in memory: the agents, teams and swarms of one environment as frozen structs.

They are replaced whole after each commit, so that the writer's thread may read them while it
decides access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec

from ..clock import Clock
from ..errors import NotFound
from ..events import GONE, AgentChanged, Event, SwarmChanged
from ..model import AgentState, Environment, Principal, printable
from ..views import AgentView, TeamView
from .presence import Presence
from .roster import Agent, Swarm, Team

T = TypeVar("T")

replace = msgspec.structs.replace


class Roll:
    """The agents, teams and swarms of one environment, looked up and shown. All methods belong to
    the engine's loop; `principal`, `principals`, `agent` and `epoch` may be read from any thread.

    `on_void(agent, why)` hears when its token counts no more: its connections must end at once.
    """

    def __init__(
        self,
        environment: Environment,
        clock: Clock,
        publish: Callable[[Event], object],
        stale_after_s: float,
    ) -> None:
        self.environment = environment
        self.epoch = 0
        self._clock = clock
        self._publish = publish
        self.on_void: Callable[[str, str], object] = lambda agent, why: None
        self._agents: dict[str, Agent] = {}
        self._teams: dict[str, Team] = {}
        self._swarms: dict[str, Swarm] = {}
        self._principals: dict[str, Principal] = {}
        self.presence = Presence(clock, stale_after_s)
        self.agents: Mapping[str, Agent] = MappingProxyType(self._agents)
        self.teams: Mapping[str, Team] = MappingProxyType(self._teams)
        self.swarms: Mapping[str, Swarm] = MappingProxyType(self._swarms)
        self.principals: Mapping[str, Principal] = MappingProxyType(self._principals)

    # --- looking things up ------------------------------------------------------------------

    def agent(self, ident: str) -> Agent:
        """Raises NotFound."""
        return _found(self._agents, ident, "agent")

    def team(self, ident: str) -> Team:
        """Raises NotFound."""
        return _found(self._teams, ident, "team")

    def swarm(self, ident: str) -> Swarm:
        """Raises NotFound."""
        return _found(self._swarms, ident, "swarm")

    def heir(self, swarm: Swarm) -> Swarm | None:
        """The swarm that has taken over from one that has ended, over all that did; None where
        there is none, or it has ended itself."""
        for _ in range(len(self._swarms)):
            heir = self._swarms.get(swarm.heir)
            if heir is None or not heir.is_over:
                return heir
            swarm = heir
        return None

    def principal(self, ident: str) -> Principal:
        """Who acts under this agent id, with its swarm, teams and role. Raises NotFound."""
        return _found(self._principals, ident, "agent")

    def select(
        self,
        *,
        swarm: str | None = None,
        team: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the action
        capability: str | None = None,
        state: str | None = None,
    ) -> list[Agent]:
        """Agents that match all that is given, oldest first. Those of terminated swarms are
        left out unless their swarm is asked for. Raises NotFound for an unknown swarm or team."""
        if swarm is not None:
            self.swarm(swarm)
        members = None if team is None else self.team(team).members
        found = [
            agent
            for agent in self._agents.values()
            if (agent.swarm == swarm if swarm is not None else not self._is_over(agent))
            and (members is None or agent.id in members)
            and (type is None or agent.type == type)
            and (capability is None or capability in agent.capabilities)
            and (state is None or self.shown_state(agent) == state)
        ]
        return sorted(found, key=lambda agent: (agent.created_at_us, agent.id))

    def _is_over(self, agent: Agent) -> bool:
        return agent.swarm is not None and self._swarms[agent.swarm].is_over

    def live_count(self) -> int:
        """What the agent limit counts: running processes and connected agents without one."""
        return sum(
            1
            for agent in self._agents.values()
            if agent.is_live or self.presence.is_connected(agent.id)
        )

    # --- views ------------------------------------------------------------------------------

    def shown_state(self, agent: Agent) -> AgentState:
        """The state, or `stale` after the heartbeats it missed."""
        owes = agent.state in {AgentState.READY, AgentState.EXTERNAL}
        return AgentState.STALE if owes and self.presence.is_stale(agent.id) else agent.state

    def agent_view(self, agent: Agent, *, used_bytes: int, leased: int, done: int) -> AgentView:
        return AgentView(
            id=agent.id,
            name=agent.name,
            type=agent.type,
            environment=agent.environment,
            swarm=agent.swarm,
            teams=self._principals[agent.id].teams,
            capabilities=agent.capabilities,
            state=self.shown_state(agent),
            pid=agent.pid,
            heartbeat_age_s=self.presence.age_s(agent.id),
            used_bytes=used_bytes,
            restarts=agent.restarts,
            leased=leased,
            done=done,
            created_at_us=agent.created_at_us,
            reason=agent.reason,
            ready_at_us=agent.ready_at,
            role=agent.role,
            last_seen_at_us=self.presence.seen_us(agent.id) or agent.last_seen,
        )

    def team_views(self) -> list[TeamView]:
        return [team.view() for team in self._teams.values()]

    # --- after a commit ---------------------------------------------------------------------

    def _show_swarm(self, swarm: Swarm) -> None:
        self._swarms[swarm.id] = swarm
        self._publish(SwarmChanged(swarm.id, swarm.state, swarm.reason))

    def _enlist(self, agents: Sequence[Agent]) -> None:
        self._agents.update((agent.id, agent) for agent in agents)
        self._access_changed([agent.id for agent in agents])

    def _forget(self, idents: Iterable[str]) -> None:
        for ident in list(idents):
            for team in [team for team in self._teams.values() if ident in team.members]:
                self._leave(team.id, ident)
            self._agents.pop(ident, None)
            self._principals.pop(ident, None)
            self._void(ident, "it is not registered any more")
            self.presence.forget(ident)
            self._publish(AgentChanged(ident, GONE))
        self.epoch += 1

    def _void(self, ident: str, why: str) -> None:
        self.on_void(ident, why)

    def _join(self, team: str, agent: str) -> None:
        current = self._teams[team]
        if agent not in current.members:
            self._teams[team] = replace(current, members=(*current.members, agent))

    def _leave(self, team: str, agent: str) -> None:
        current = self._teams[team]
        self._teams[team] = replace(
            current,
            members=tuple(member for member in current.members if member != agent),
            leader=None if current.leader == agent else current.leader,
        )

    def _access_changed(self, idents: Iterable[str]) -> None:
        """Make anew what access is decided from, and say so by the epoch."""
        for ident in idents:
            if (agent := self._agents.get(ident)) is not None:
                teams = sorted(t.id for t in self._teams.values() if ident in t.members)
                self._principals[ident] = Principal(
                    ident, agent.role, self.environment, agent.swarm, tuple(teams)
                )
        self.epoch += 1


def _found(known: Mapping[str, T], ident: str, what: str) -> T:
    try:
        return known[ident]
    except KeyError:
        raise NotFound(f"no {what} {printable(ident)}", hint=f"see swarmdeck {what} list") from None
