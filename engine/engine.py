"""The engine as its users hold it: the same API in its own process and over its socket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from . import actions, views
from .actions import Action
from .dispatch import Receipt
from .errors import InvalidInput, Unavailable
from .events import Callback
from .events import Subscription as EventSubscription
from .handles import Memory, Queue
from .model import OPERATOR, Environment, environment_of, parse_environment
from .port import Port, Subscription

if TYPE_CHECKING:
    from .artifacts.handle import Artifacts
    from .batch import Batch
    from .clock import Clock
    from .conflicts.handle import Conflicts
    from .consensus.handle import Votes
    from .eventlog.handle import Events
    from .measures.handle import Measures
    from .scheduling import Schedules
    from .settings import IdentitySettings, Settings
    from .system.handle import System
    from .system.signals import Listening
    from .tasks.handle import Tasks

Progress = Callable[[float, str], None]
Named = views.AgentView | str
Teams = list[views.TeamView]
T = TypeVar("T")


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
        return await self._engine.ask(actions.AgentShow(id=_ident(agent)), views.AgentView)

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
            id=_ident(agent),
            name=name,
            type=type,
            capabilities=None if capabilities is None else tuple(capabilities),
            role=role,  # type: ignore[arg-type]  # checked when it is dispatched
            metadata=None if metadata is None else dict(metadata),
        )
        return await self._engine.ask(wanted, views.AgentView)

    async def unregister(self, agent: Named) -> None:
        """Remove an agent; its leases are free at once, its records stay. Raises NotFound."""
        await self._engine.run(actions.AgentUnregister(id=_ident(agent)))

    async def create_team(
        self, environment: str, *, name: str, leader: Named | None = None
    ) -> views.TeamView:
        """A team, whose members share team records. The leader joins it."""
        wanted = actions.TeamCreate(
            environment=parse_environment(environment).value,
            name=name,
            leader=None if leader is None else _ident(leader),
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
        wanted = actions.TeamLead(team=team, agent=None if leader is None else _ident(leader))
        return await self._engine.ask(wanted, views.TeamView)

    async def delete_team(self, team: str) -> None:
        """Dissolve a team; its members and their records stay. Raises NotFound."""
        await self._engine.run(actions.TeamDelete(team=team))

    async def add_to_team(self, agent: Named, team: str) -> views.TeamView:
        """Raises NotFound."""
        wanted = actions.TeamAdd(team=team, agent=_ident(agent))
        return await self._engine.ask(wanted, views.TeamView)

    async def remove_from_team(self, agent: Named, team: str) -> views.TeamView:
        """Raises NotFound."""
        wanted = actions.TeamRemove(team=team, agent=_ident(agent))
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
        wanted = _convert("acl.grant", fields | more)
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
        wanted = _convert("acl.deny", fields | more)
        return await self._engine.ask(wanted, views.GrantView)

    async def break_glass(
        self, environment: str, key: str, *, reason: str, namespace: str = "default"
    ) -> views.GrantView:
        """Let the operator read one private record for 15 minutes; its owner is told. Raises
        Denied without the system role, NotFound, InvalidInput."""
        fields = {"environment": environment, "key": key, "reason": reason, "namespace": namespace}
        return await self._engine.ask(_convert("acl.breakglass", fields), views.GrantView)

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
        return await self._engine.ask(_convert("acl.export", fields), views.GrantView)

    async def revoke(self, grant: views.GrantView | str) -> None:
        """Take a grant or denial back. No read that begins after this returns is allowed by it."""
        ident = grant if isinstance(grant, str) else grant.id
        await self._engine.run(actions.AclRevoke(id=ident))

    async def list(self, agent: Named | None = None) -> list[views.GrantView]:
        """Entries in force."""
        subject = None if agent is None else _ident(agent)
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
        subject = _ident(agent)
        place = environment or environment_of(subject).value
        fields = {
            "subject": subject, "right": right, "environment": place, "key": key,
            "namespace": namespace,
        }  # fmt: skip
        return await self._engine.ask(_convert("acl.explain", fields), views.DecisionView)

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
            "subject": _ident(agent), "right": action, "resource": resource, "level": level,
            "namespace": namespace,
        }  # fmt: skip
        found = await self._engine.ask(_convert("acl.check", fields), views.DecisionView)
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


class Engine:
    """An engine in this process (`open_engine`) or in another (`connect`)."""

    def __init__(
        self,
        port: Port,
        *,
        data: Path,
        attached: bool,
        identity: IdentitySettings | None = None,
    ) -> None:
        self._identity = identity
        self.data = data
        self.attached = attached
        self.swarms = Swarms(self)
        self.agents = Agents(self)
        self.acl = Acl(self)
        self.views = Views(self)
        self._port = port

    @cached_property
    def schedules(self) -> Schedules:
        """Messages that are sent again and again."""
        from .scheduling import Schedules  # noqa: PLC0415 - most programs have none

        return Schedules(self)

    @cached_property
    def system(self) -> System:
        """Statistics, copies, upkeep and benchmarks."""
        from .system.handle import System  # noqa: PLC0415 - most programs ask for none

        return System(self)

    @cached_property
    def identity(self) -> IdentitySettings:
        """Which agent this process is and of which swarm, where the settings say so (AGENT_ID and
        SWARM_ID): an engine sets both for each agent it starts."""
        if self._identity is not None:
            return self._identity
        from .settings import load_settings  # noqa: PLC0415 - few who attach ask

        return load_settings(None, os.environ, {}).identity

    def memory(self, actor: Named | None = None, *, environment: str | None = None) -> Memory:
        """The memory of an environment (by name: as the operator) or of an agent's environment
        as that agent, by default of the agent this process is; `environment` lets an agent read
        another one. Raises InvalidInput."""
        name = self._self() if actor is None else _ident(actor)
        if name in Environment.__members__.values():
            return Memory(self._port, OPERATOR, parse_environment(name).value)
        home = environment_of(name)
        place = home if environment is None else parse_environment(environment)
        return Memory(self._port, name, place.value)

    def own_swarm(self, environment: Environment) -> str | None:
        """The swarm of this process, if it belongs to an environment."""
        swarm = self.identity.swarm_id
        own = swarm is not None and swarm.startswith(f"{environment.prefix}_")
        return swarm if own else None

    def _self(self) -> str:
        agent = self.identity.agent_id
        if agent is None:
            raise InvalidInput(
                "nobody was named, and this process is no agent",
                hint="name an agent or an environment, or set AGENT_ID",
            )
        return agent

    def queue(self, environment: str, *, as_: Named | None = None) -> Queue:
        """The queue of an environment, as the operator or as an agent. Raises InvalidInput."""
        actor = OPERATOR if as_ is None else _ident(as_)
        return Queue(self._port, actor, parse_environment(environment).value)

    def batch(
        self, environment: str, *, as_: Named | None = None, all_or_nothing: bool = False
    ) -> Batch:
        """Writes and messages of one environment stored with one commit, as the operator or as an
        agent: see `Memory.batch`. Raises InvalidInput."""
        place = parse_environment(environment).value
        actor = OPERATOR if as_ is None else _ident(as_)
        return Memory(self._port, actor, place).batch(all_or_nothing=all_or_nothing)

    def artifacts(self, environment: str, *, as_: Named | None = None) -> Artifacts:
        """Files that agents have made, as the operator or as an agent sees them."""
        from .artifacts.handle import Artifacts  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        place = parse_environment(environment).value
        return Artifacts(self, self._port, place, actor, by_path=True)

    def tasks(self, environment: str, *, as_: Named | None = None) -> Tasks:
        """The tasks of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .tasks.handle import Tasks  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        return Tasks(self, parse_environment(environment).value, actor)

    def eventlog(self, environment: str, *, as_: Named | None = None) -> Events:
        """The events of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .eventlog.handle import Events  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        return Events(self, parse_environment(environment).value, actor)

    def measures(self, environment: str, *, as_: Named | None = None) -> Measures:
        """Metrics of one's own in an environment, as the operator or as an agent. Raises
        InvalidInput."""
        from .measures.handle import Measures  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        return Measures(self, self._port, parse_environment(environment).value, actor)

    def consensus(self, environment: str, *, as_: Named | None = None) -> Votes:
        """The proposals of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .consensus.handle import Votes  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        return Votes(self, parse_environment(environment).value, actor)

    def conflicts(self, environment: str, *, as_: Named | None = None) -> Conflicts:
        """The conflicts of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .conflicts.handle import Conflicts  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else _ident(as_)
        return Conflicts(self, parse_environment(environment).value, actor)

    async def dispatch(self, action: Action) -> Receipt:
        """Hand over an action. Await the receipt for its result, or follow its progress."""
        return await self._port.dispatch(_from_here(action))

    async def run(self, action: Action, on_progress: Progress | None = None) -> Any:  # noqa: ANN401
        """Dispatch an action and wait for its result. A caller that is cancelled cancels it."""
        receipt = await self.dispatch(action)
        if on_progress is not None:
            receipt.listen(lambda r: None if r.done else on_progress(r.fraction, r.text))
        try:
            return await receipt
        except BaseException:
            receipt.cancel()
            raise

    async def ask(self, action: Action, kind: type[T]) -> T:
        """`run` for callers that want the type of the result known."""
        result: T = await self.run(action)
        return result

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        """Send to everyone who listens on a channel now; how many that were. Nothing is kept."""
        return await self._port.publish(channel, body)

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        """Call `callback(body)` for each message published on a channel, until it is closed."""
        return await self._port.subscribe(channel, callback)

    async def metrics(
        self, subject: Named, *, metric: str | Sequence[str] = (), window: str = "1h"
    ) -> list[views.SeriesView]:
        """How `host`, `engine`, `queue`, `store`, an environment, a swarm or an agent went over
        the last 1h, 6h, 24h, 7d or 30d: a series for each `metric`, all of them by default, in
        even steps, None where nothing was measured. Raises NotFound for what was never measured,
        InvalidInput."""
        chosen = [metric] if isinstance(metric, str) else list(metric)
        fields = {"subject": _ident(subject), "metric": chosen, "window": window}
        found: list[views.SeriesView] = await self.run(_convert("metrics.show", fields))
        return found

    async def on(self, name: str, callback: Callback) -> Listening:
        """Call `callback(event)` for each event of a name from now on, until what this answers is
        closed. The names are initialized (told at once), agentRegistered, memoryOperation, error
        and benchmarksCompleted. Events are for the operator: an agent hears none. Raises
        InvalidInput for another name."""
        from .system.signals import listen  # noqa: PLC0415 - most programs pull views

        return await listen(self._port, name, callback, data=str(self.data), attached=self.attached)

    def events(self) -> EventSubscription:
        """What happens from now on. A slow reader is told how much it has missed."""
        return self._port.events()


@asynccontextmanager
async def open_engine(
    path: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    transient: bool = False,
    headless: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Engine]:
    """Own a data directory and run its engine in the caller's loop.

    The directory is made if it is missing. `transient` is for one command: no socket, no
    supervision, nothing adopted or ended, and the loop waits while files are opened. On
    leaving, agents this engine has started are ended. Raises EngineBusy when another process owns
    the directory, Corrupt for a damaged or newer one.
    """
    from .core import open_core  # noqa: PLC0415 - attaching must not load the storage layer

    async with open_core(
        Path(path),
        settings=settings,
        transient=transient,
        brief=transient,
        headless=headless,
        clock=clock,
    ) as core:
        yield core.engine


@asynccontextmanager
async def connect(
    path: str | os.PathLike[str], *, agent: str | None = None, token: str | None = None
) -> AsyncIterator[Engine]:
    """Attach to the engine that owns a data directory, as the operator or, with its id and
    token, as an agent. Raises Unavailable when nobody owns it, Denied for a wrong token."""
    from .link.client import LinkPort  # noqa: PLC0415 - opening in-process does not need it
    from .lock import find_socket  # noqa: PLC0415

    socket = find_socket(Path(path))
    if socket is None:
        raise Unavailable(f"no engine owns {path}", hint="start one with swarmdeck serve")
    port = await LinkPort.open(socket, agent=agent, token=token)
    try:
        yield Engine(port, data=Path(path), attached=True)
    finally:
        await port.close()


def _from_here(action: Action) -> Action:
    """The action with its paths absolute: the engine's working directory is not the caller's.
    Raises InvalidInput for a worker command that is not there."""
    name = actions.name_of(action)
    if name == "demo" and isinstance(action, actions.Demo) and action.files is not None:
        return msgspec.structs.replace(
            action, files=str(Path(action.files).expanduser().absolute())
        )
    if name == "swarm.create" and isinstance(action, actions.SwarmCreate) and action.command:
        from .swarms.supervisor import resolve_command  # noqa: PLC0415 - only this action needs it

        return msgspec.structs.replace(action, command=resolve_command(action.command, Path.cwd()))
    return action


def _ident(agent: Named) -> str:
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
        "subject": _ident(agent), "resource": resource, "level": level, "actions": list(rights),
        "namespace": namespace, "key_prefix": key_prefix, "expires_s": expires_s,
    }  # fmt: skip


def _limits(
    environment: str | None, hours: str, days: Sequence[str], zone: str, by: Named | None
) -> dict[str, Any]:
    return {
        "environment": environment, "hours": hours, "days": list(days), "zone": zone,
        "actor": None if by is None else _ident(by),
    }  # fmt: skip


def _convert(name: str, fields: Mapping[str, Any]) -> Action:
    """An action from loose values. Raises InvalidInput."""
    spec = actions.named(name)
    try:
        return msgspec.convert({"do": name, **fields}, spec.type)
    except msgspec.ValidationError as error:
        raise actions.refused(spec, error) from error
