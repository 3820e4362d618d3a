"""Swarms, agents, access and views as their users hold them: calls of the control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import actions, views
from .actions import Action
from .model import environment_of, parse_environment

if TYPE_CHECKING:
    from .engine import Engine

Named = views.AgentView | str
Teams = list[views.TeamView]


class Swarms:
    """Swarms of agent processes. All calls act as the operator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(
        self,
        environment: str,
        *,
        agents: int,
        memory_bytes: int,
        command: Sequence[str] | None = None,
        name: str = "",
        variables: Mapping[str, str | None] | None = None,
        directory: str | Path = "",
        warm_up_s: float | None = None,
    ) -> views.SwarmView:
        """Start `agents` processes of `command` (None: the bundled worker) under a budget for
        all of them together; 0 agents makes a swarm that others join. Those beyond the rate of
        `agents.spawn_per_minute` follow by themselves.

        `variables` are added to their environment, None for a value stands for the one that the
        engine has at each start. They work in `directory` (absolute; empty: one of the swarm's
        own). One that has not said it is ready `warm_up_s` after its start is started again (0:
        no limit, None: the setting). Raises InvalidInput, OverBudget."""
        named = (variables or {}).items()
        wanted = actions.SwarmCreate(
            environment=parse_environment(environment).value,
            agents=agents,
            memory_bytes=memory_bytes,
            command=tuple(command or ()),
            name=name,
            variables=tuple(key if value is None else f"{key}={value}" for key, value in named),
            directory=str(directory),
            warm_up_s=warm_up_s,
        )
        return await self._engine.ask(wanted, views.SwarmView)

    async def list(
        self,
        environment: str | None = None,
        *,
        all: bool = False,  # noqa: A002 - the flag's name
    ) -> list[views.SwarmView]:
        """The swarms that live, with `all` the terminated ones too."""
        found: list[views.SwarmView] = await self._engine.run(
            actions.SwarmList(environment=_place(environment), all=all)
        )
        return found

    async def health(self, ident: str) -> views.HealthView:
        """Whether a swarm is healthy, degraded or critical, and why. Raises NotFound."""
        return await self._engine.ask(actions.SwarmHealth(id=ident), views.HealthView)

    async def scale(self, ident: str, *, agents: int, memory_bytes: int) -> views.SwarmView:
        """Change how many agents a swarm has and its memory. Raises NotFound, OverBudget."""
        wanted = actions.SwarmScale(id=ident, agents=agents, memory_bytes=memory_bytes)
        return await self._engine.ask(wanted, views.SwarmView)

    async def terminate(
        self, ident: str, *, force: bool = False, wait_s: float = 300
    ) -> views.SwarmView:
        """End a swarm: running work may finish for `wait_s`, or with `force` at once."""
        wanted = actions.SwarmTerminate(id=ident, force=force, wait_s=wait_s)
        return await self._engine.ask(wanted, views.SwarmView)


class Agents:
    """Agents and teams. All calls act as the operator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def register(
        self,
        environment: str,
        *,
        name: str,
        type: str = "agent",  # noqa: A002 - the field's name
        swarm: str | None = None,
        team: str | None = None,
        capabilities: Sequence[str] = (),
        role: str = "agent",
        metadata: Mapping[str, Any] | None = None,
    ) -> views.AgentView:
        """Register an agent that has no process of ours. Without a `swarm` it joins that of this
        process (SWARM_ID), if it is of the environment. Raises NotFound for an unknown swarm or
        team, InvalidInput for a name that is not allowed."""
        place = parse_environment(environment)
        wanted = actions.AgentRegister(
            environment=place.value,
            name=name,
            type=type,
            swarm=self._engine.own_swarm(place) if swarm is None else swarm,
            team=team,
            capabilities=tuple(capabilities),
            role=role,  # type: ignore[arg-type]  # checked when it is dispatched
            metadata=None if metadata is None else dict(metadata),
        )
        return await self._engine.ask(wanted, views.AgentView)

    async def get(self, agent: Named) -> views.AgentView:
        """One agent as it is now, with its metadata and how it has done. Raises NotFound."""
        return await self._engine.ask(actions.AgentShow(id=ident_of(agent)), views.AgentView)

    async def list(
        self,
        environment: str | None = None,
        *,
        swarm: str | None = None,
        team: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        capability: str | None = None,
        state: str | None = None,
    ) -> list[views.AgentView]:
        """Agents that match all that is given. `state` is starting, ready, external, stale, exited
        or failed."""
        found: list[views.AgentView] = await self._engine.run(
            actions.AgentList(
                environment=_place(environment), swarm=swarm, team=team, type=type,
                capability=capability,
                state=state,  # type: ignore[arg-type]  # checked when it is dispatched
            )
        )  # fmt: skip
        return found

    async def update(
        self,
        agent: Named,
        *,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        capabilities: Sequence[str] | None = None,
        role: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> views.AgentView:
        """Change what is given, keep the rest. Raises NotFound."""
        wanted = actions.AgentUpdate(
            id=ident_of(agent),
            name=name,
            type=type,
            capabilities=None if capabilities is None else tuple(capabilities),
            role=role,  # type: ignore[arg-type]  # checked when it is dispatched
            metadata=None if metadata is None else dict(metadata),
        )
        return await self._engine.ask(wanted, views.AgentView)

    async def unregister(self, agent: Named) -> None:
        """Remove an agent; its leases are free at once, its records stay. Raises NotFound."""
        await self._engine.run(actions.AgentUnregister(id=ident_of(agent)))

    async def create_team(
        self, environment: str, *, name: str, leader: Named | None = None
    ) -> views.TeamView:
        """A team, whose members share team records. The leader joins it."""
        wanted = actions.TeamCreate(
            environment=parse_environment(environment).value,
            name=name,
            leader=None if leader is None else ident_of(leader),
        )
        return await self._engine.ask(wanted, views.TeamView)

    async def list_teams(self, environment: str | None = None) -> Teams:
        found: Teams = await self._engine.run(actions.TeamList(environment=_place(environment)))
        return found

    async def get_team(self, team: str) -> views.TeamView:
        """One team with its members. Raises NotFound."""
        return await self._engine.ask(actions.TeamShow(team=team), views.TeamView)

    async def rename_team(self, team: str, name: str) -> views.TeamView:
        """Raises NotFound, InvalidInput."""
        return await self._engine.ask(actions.TeamRename(team=team, name=name), views.TeamView)

    async def lead_team(self, team: str, leader: Named | None) -> views.TeamView:
        """Give a team a leader, who joins it, or none. Raises NotFound."""
        wanted = actions.TeamLead(team=team, agent=None if leader is None else ident_of(leader))
        return await self._engine.ask(wanted, views.TeamView)

    async def delete_team(self, team: str) -> None:
        """Dissolve a team; its members and their records stay. Raises NotFound."""
        await self._engine.run(actions.TeamDelete(team=team))

    async def add_to_team(self, agent: Named, team: str) -> views.TeamView:
        """Raises NotFound."""
        wanted = actions.TeamAdd(team=team, agent=ident_of(agent))
        return await self._engine.ask(wanted, views.TeamView)

    async def remove_from_team(self, agent: Named, team: str) -> views.TeamView:
        """Raises NotFound."""
        wanted = actions.TeamRemove(team=team, agent=ident_of(agent))
        return await self._engine.ask(wanted, views.TeamView)


class Acl:
    """Explicit grants and denials over the level rules. All calls act as the operator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def grant(  # noqa: PLR0913 - all that limits an entry
        self,
        agent: Named,
        *,
        resource: str = "memory",
        level: str | int = "swarm",
        actions: Sequence[str] = ("read",),
        namespace: str = "default",
        key_prefix: str = "",
        expires_s: float = 86_400,
        environment: str | None = None,
        hours: str = "",
        days: Sequence[str] = (),
        zone: str = "UTC",
        by: Named | None = None,
    ) -> views.GrantView:
        """Allow an agent more than its level rule does, for `expires_s` seconds.

        `hours` such as 09:00-17:30 and `days` such as ("mon", "fri"), in `zone`, say when it
        counts. `by` an agent: over what that agent itself may grant. Raises InvalidInput, Denied,
        NotFound."""
        fields = _entry(agent, resource, level, actions, namespace, key_prefix, expires_s)
        more = _limits(environment, hours, days, zone, by)
        wanted = converted("acl.grant", fields | more)
        return await self._engine.ask(wanted, views.GrantView)

    async def deny(  # noqa: PLR0913 - all that limits an entry
        self,
        agent: Named,
        *,
        resource: str = "memory",
        level: str | int = "swarm",
        actions: Sequence[str] = ("read",),
        namespace: str = "default",
        key_prefix: str = "",
        expires_s: float = 86_400,
        environment: str | None = None,
        hours: str = "",
        days: Sequence[str] = (),
        zone: str = "UTC",
        by: Named | None = None,
    ) -> views.GrantView:
        """Deny an agent what its level rule or a grant allows, limited as in `grant`."""
        fields = _entry(agent, resource, level, actions, namespace, key_prefix, expires_s)
        more = _limits(environment, hours, days, zone, by)
        wanted = converted("acl.deny", fields | more)
        return await self._engine.ask(wanted, views.GrantView)

    async def break_glass(
        self, environment: str, key: str, *, reason: str, namespace: str = "default"
    ) -> views.GrantView:
        """Let the operator read one private record for 15 minutes; its owner is told. Raises
        Denied without the system role, NotFound, InvalidInput."""
        fields = {"environment": environment, "key": key, "reason": reason, "namespace": namespace}
        return await self._engine.ask(converted("acl.breakglass", fields), views.GrantView)

    async def export(
        self,
        source: str,
        target: str,
        *,
        name: str,
        namespace: str = "default",
        key_prefix: str = "",
        expires_s: float = 86_400,
    ) -> views.GrantView:
        """Let agents of `target` read public records of `source`, which is strict and not
        production. Raises Denied without the system role, InvalidInput."""
        fields = {
            "source": source, "target": target, "name": name, "namespace": namespace,
            "key_prefix": key_prefix, "expires_s": expires_s,
        }  # fmt: skip
        return await self._engine.ask(converted("acl.export", fields), views.GrantView)

    async def revoke(self, grant: views.GrantView | str) -> None:
        """Take a grant or denial back. No read that begins after this returns is allowed by it."""
        ident = grant if isinstance(grant, str) else grant.id
        await self._engine.run(actions.AclRevoke(id=ident))

    async def list(self, agent: Named | None = None) -> list[views.GrantView]:
        """Entries in force."""
        subject = None if agent is None else ident_of(agent)
        found: list[views.GrantView] = await self._engine.run(actions.AclList(subject=subject))
        return found

    async def explain(
        self,
        agent: Named,
        right: str,
        key: str,
        *,
        environment: str | None = None,
        namespace: str = "default",
    ) -> views.DecisionView:
        """Whether an agent may read, write, delete or grant on a key, and the rule that decides.
        `environment` None is the agent's own."""
        subject = ident_of(agent)
        place = environment or environment_of(subject).value
        fields = {
            "subject": subject, "right": right, "environment": place, "key": key,
            "namespace": namespace,
        }  # fmt: skip
        return await self._engine.ask(converted("acl.explain", fields), views.DecisionView)

    async def has(
        self,
        agent: Named,
        resource: str,
        action: str,
        level: str | int,
        *,
        namespace: str = "default",
    ) -> bool:
        """Whether an agent may read, write, delete or grant what there is of a `resource` (memory,
        task, event, consensus, conflict, artifact, metric) at a level: its own private ones, those
        of its teams and its swarm, all public ones. Entries over single keys do not count."""
        fields = {
            "subject": ident_of(agent), "right": action, "resource": resource, "level": level,
            "namespace": namespace,
        }  # fmt: skip
        found = await self._engine.ask(converted("acl.check", fields), views.DecisionView)
        return found.allowed

    async def check(
        self,
        agent: Named,
        right: str,
        key: str,
        *,
        environment: str | None = None,
        namespace: str = "default",
    ) -> bool:
        """`explain`, reduced to yes or no."""
        found = await self.explain(agent, right, key, environment=environment, namespace=namespace)
        return found.allowed


class Views:
    """Read models of one moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def overview(self) -> views.Overview:
        """Host, environments, swarms, agents, queue and access under one sequence number."""
        return await self._engine.ask(actions.Status(), views.Overview)


def ident_of(agent: Named) -> str:
    return agent if isinstance(agent, str) else agent.id


def _place(environment: str | None) -> actions.Environment | None:
    return None if environment is None else parse_environment(environment).value


def _entry(
    agent: Named,
    resource: str,
    level: str | int,
    rights: Sequence[str],
    namespace: str,
    key_prefix: str,
    expires_s: float,
) -> dict[str, Any]:
    return {
        "subject": ident_of(agent), "resource": resource, "level": level, "actions": list(rights),
        "namespace": namespace, "key_prefix": key_prefix, "expires_s": expires_s,
    }  # fmt: skip


def _limits(
    environment: str | None, hours: str, days: Sequence[str], zone: str, by: Named | None
) -> dict[str, Any]:
    return {
        "environment": environment, "hours": hours, "days": list(days), "zone": zone,
        "actor": None if by is None else ident_of(by),
    }  # fmt: skip


def converted(name: str, fields: Mapping[str, Any]) -> Action:
    """An action from loose values. Raises InvalidInput."""
    spec = actions.named(name)
    try:
        return msgspec.convert({"do": name, **fields}, spec.type)
    except msgspec.ValidationError as error:
        raise actions.refused(spec, error) from error
