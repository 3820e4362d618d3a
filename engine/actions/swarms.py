"""Actions on swarms, agents and teams."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .. import views
from ..model import MIN_SWARM_BYTES, Role
from .spec import Action, OptionalWhere, Where, action, arg

Percent = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
WarmUp = Annotated[float, msgspec.Meta(ge=0, le=3600)]
RoleName = Literal["agent", "monitor", "coordinator", "admin"]


@action(views.SwarmView, timeout_s=120, lasting=True)
class SwarmCreate(Action, frozen=True, kw_only=True, tag="swarm.create"):
    """Start a swarm: agents as processes under a memory budget."""

    environment: Where
    agents: Annotated[int, arg("agent processes to start; 0 for a swarm others join", ge=0, le=74)]
    memory_bytes: Annotated[
        int, arg("memory for all its agents", flag="--memory", unit="size", ge=MIN_SWARM_BYTES)
    ]
    command: Annotated[
        tuple[str, ...], arg("agent command after -- (default: the bundled worker)", unit="rest")
    ] = ()
    name: Annotated[str, arg("name to show (default: the id)")] = ""
    variables: Annotated[
        tuple[str, ...],
        arg("variable for its agents; NAME alone: as the engine has it", flag="--env",
            unit="variable"),
    ] = ()  # fmt: skip
    directory: Annotated[
        str, arg("directory its agents work in (default: one of its own)", unit="path")
    ] = ""
    warm_up_s: Annotated[
        WarmUp | None, arg("seconds an agent may take to be ready, 0: any time", flag="--warm-up")
    ] = None
    cpu_percent: Annotated[
        Percent | None, arg("processor time of all its agents, in percent of a core", flag="--cpu")
    ] = None


@action(list[views.SwarmView], query=True)
class SwarmList(Action, frozen=True, kw_only=True, tag="swarm.list"):
    """List the swarms."""

    environment: OptionalWhere = None
    all: Annotated[bool, arg("terminated ones too")] = False


@action(views.HealthView, query=True)
class SwarmHealth(Action, frozen=True, kw_only=True, tag="swarm.health"):
    """Show the health of a swarm and of each agent in it."""

    id: Annotated[str, arg("swarm id", positional=True)]


@action(views.SwarmView, timeout_s=400)
class SwarmScale(Action, frozen=True, kw_only=True, tag="swarm.scale"):
    """Change how many agents a swarm has and its memory."""

    id: Annotated[str, arg("swarm id", positional=True)]
    agents: Annotated[int, arg("agent processes", positional=True, ge=0, le=74)]
    memory_bytes: Annotated[
        int, arg("memory for all agents", positional=True, unit="size", ge=MIN_SWARM_BYTES)
    ]


@action(views.SwarmView, timeout_s=400, destructive=True, idempotent=True)
class SwarmTerminate(Action, frozen=True, kw_only=True, tag="swarm.terminate"):
    """End a swarm: let running work finish (300 s at most), or at once with --force."""

    id: Annotated[str, arg("swarm id", positional=True)]
    force: Annotated[bool, arg("kill its agents at once")] = False
    wait_s: Annotated[float, arg("longest wait for running work", ge=0, le=300)] = 300


@action(views.AgentView)
class AgentRegister(Action, frozen=True, kw_only=True, tag="agent.register"):
    """Register an agent that has no process of ours."""

    environment: Where
    name: Annotated[str, arg("name to show", positional=True)]
    type: Annotated[str, arg("what kind of agent, such as backend-dev")] = "agent"
    swarm: Annotated[str | None, arg("swarm id to join")] = None
    team: Annotated[str | None, arg("team id to join")] = None
    capabilities: Annotated[tuple[str, ...], arg("what it can do; may be repeated")] = ()
    role: Annotated[RoleName, arg("role in its environment")] = "agent"
    metadata: Annotated[Any, arg("JSON object of what else is known of it", unit="json")] = None


@action(views.AgentView)
class AgentUpdate(Action, frozen=True, kw_only=True, tag="agent.update"):
    """Change an agent's name, type, capabilities, role or metadata."""

    id: Annotated[str, arg("agent id", positional=True)]
    name: Annotated[str | None, arg("name to show")] = None
    type: Annotated[str | None, arg("kind of agent")] = None
    capabilities: Annotated[tuple[str, ...] | None, arg("what it can do; may be repeated")] = None
    role: Annotated[RoleName | None, arg("role in its environment")] = None
    metadata: Annotated[Any, arg("JSON object in place of what is known of it", unit="json")] = None


@action(views.Done, destructive=True)
class AgentUnregister(Action, frozen=True, kw_only=True, tag="agent.unregister"):
    """Remove an agent; its leases are free at once, its records stay."""

    id: Annotated[str, arg("agent id", positional=True)]


@action(views.TokenView, role=Role.SYSTEM, destructive=True)
class AgentToken(Action, frozen=True, kw_only=True, tag="agent.token"):
    """Give an agent a new token for the socket, shown once; the one before is void at once."""

    id: Annotated[str, arg("agent id", positional=True)]
    ttl_s: Annotated[float, arg("seconds it is valid", flag="--ttl", ge=60, le=86_400)] = 86_400


@action(views.Done, role=Role.ADMIN, destructive=True, idempotent=True)
class AgentRevoke(Action, frozen=True, kw_only=True, tag="agent.revoke"):
    """Void an agent's token at once and close its connections."""

    id: Annotated[str, arg("agent id", positional=True)]


@action(list[views.AgentView], query=True)
class AgentList(Action, frozen=True, kw_only=True, tag="agent.list"):
    """List the agents."""

    environment: OptionalWhere = None
    swarm: Annotated[str | None, arg("only of this swarm")] = None
    team: Annotated[str | None, arg("only of this team")] = None
    type: Annotated[str | None, arg("only of this type")] = None
    capability: Annotated[str | None, arg("only with this capability")] = None
    state: Annotated[
        Literal["starting", "ready", "external", "stale", "exited", "failed"] | None,
        arg("only in this state"),
    ] = None


@action(views.AgentView, query=True)
class AgentShow(Action, frozen=True, kw_only=True, tag="agent.show"):
    """Show one agent with its metadata and how it has done."""

    id: Annotated[str, arg("agent id", positional=True)]


@action(views.TeamView, role=Role.ADMIN)
class TeamCreate(Action, frozen=True, kw_only=True, tag="team.create"):
    """Create a team; its members share team records."""

    environment: Where
    name: Annotated[str, arg("name to show", positional=True)]
    leader: Annotated[str | None, arg("agent id of the leader, who joins it")] = None


@action(list[views.TeamView], query=True)
class TeamList(Action, frozen=True, kw_only=True, tag="team.list"):
    """List the teams."""

    environment: OptionalWhere = None


@action(views.TeamView, query=True)
class TeamShow(Action, frozen=True, kw_only=True, tag="team.show"):
    """Show one team with its members."""

    team: Annotated[str, arg("team id", positional=True)]


@action(views.TeamView, role=Role.ADMIN, idempotent=True)
class TeamRename(Action, frozen=True, kw_only=True, tag="team.rename"):
    """Give a team another name."""

    team: Annotated[str, arg("team id", positional=True)]
    name: Annotated[str, arg("name to show", positional=True)]


@action(views.TeamView, role=Role.ADMIN, idempotent=True)
class TeamLead(Action, frozen=True, kw_only=True, tag="team.lead"):
    """Give a team a leader, who joins it, or none."""

    team: Annotated[str, arg("team id", positional=True)]
    agent: Annotated[str | None, arg("agent id (default: no leader)", positional=True)] = None


@action(views.Done, role=Role.ADMIN, destructive=True)
class TeamDelete(Action, frozen=True, kw_only=True, tag="team.delete"):
    """Dissolve a team; its members and their records stay."""

    team: Annotated[str, arg("team id", positional=True)]


@action(views.TeamView, role=Role.ADMIN, idempotent=True)
class TeamAdd(Action, frozen=True, kw_only=True, tag="team.add"):
    """Add an agent to a team."""

    team: Annotated[str, arg("team id", positional=True)]
    agent: Annotated[str, arg("agent id", positional=True)]


@action(views.TeamView, role=Role.ADMIN, idempotent=True)
class TeamRemove(Action, frozen=True, kw_only=True, tag="team.remove"):
    """Take an agent out of a team."""

    team: Annotated[str, arg("team id", positional=True)]
    agent: Annotated[str, arg("agent id", positional=True)]
