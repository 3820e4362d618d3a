"""What changes who is there: agents, teams and swarms of one environment, recorded in its file.

Each change is one transaction; what stands in memory follows its commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from .. import codec
from ..clock import Clock
from ..errors import Conflict, InvalidInput
from ..events import AgentChanged, AgentRegistered, Event
from ..model import (
    OPERATOR,
    AgentState,
    Principal,
    Role,
    SwarmState,
    check_display_name,
    check_name,
    parse_environment,
    printable,
)
from ..store.database import Database, Transaction
from . import roster
from .roll import replace
from .roster import Agent, Swarm
from .teams import Teams
from .tokens import LIFE_S, Tokens

MAX_METADATA_BYTES: Final = 16 << 10


class Registry(Teams):
    """The agents, teams and swarms of one environment, and what changes them. All methods belong
    to the engine's loop.

    `on_gone(agent)` is awaited when an agent has left for good, to free what it held.
    `stale_after_s` is three heartbeats unless the settings say otherwise.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        publish: Callable[[Event], object],
        on_gone: Callable[[str], Awaitable[object]],
        stale_after_s: float = 15.0,
    ) -> None:
        super().__init__(parse_environment(database.env), clock, publish, stale_after_s)
        self._database = database
        self._on_gone = on_gone
        self.tokens = Tokens(clock, self._agents, self._change_agent, self._void)

    async def load(self) -> None:
        """Read what the file holds. Call once, before anything else."""
        agents, teams, swarms = await self._database.read(roster.read_all)
        self._agents.update((agent.id, agent) for agent in agents)
        self._teams.update((team.id, team) for team in teams)
        self._swarms.update((swarm.id, swarm) for swarm in swarms)
        self._access_changed(self._agents)

    # --- agents -----------------------------------------------------------------------------

    async def register(
        self,
        *,
        name: str,
        type: str = "agent",  # noqa: A002 - the word of the action
        swarm: str | None = None,
        team: str | None = None,
        capabilities: Sequence[str] = (),
        role: str = Role.AGENT,
        metadata: Any = None,  # noqa: ANN401 - a JSON object
        actor: str = OPERATOR,
    ) -> Agent:
        """Record an agent that has no process of ours. Raises InvalidInput, NotFound."""
        agent = self.describe(name, type, capabilities=capabilities, swarm=swarm, role=role)
        if metadata is not None:
            agent = replace(agent, metadata=_metadata(metadata))
        if swarm is not None:
            self._open_swarm(swarm)
        if team is not None:
            self.team(team)

        def change(tx: Transaction) -> None:
            roster.require(tx, "swarm", swarm)
            roster.require(tx, "team", team)
            roster.insert_agents(tx, [agent])
            if team is not None:
                roster.insert_member(tx, team, agent.id)
            tx.audit(actor, "agent.register", agent.id, detail=agent.name)

        def then(_: None) -> None:
            self._agents[agent.id] = agent
            if team is not None:
                self._join(team, agent.id)
            self._access_changed([agent.id])
            self._tell_new([agent])

        await self._database.write(change, topic="agents", then=then)
        return self._agents[agent.id]

    def describe(
        self,
        name: str,
        type: str,  # noqa: A002 - the word of the action
        *,
        capabilities: Sequence[str] = (),
        swarm: str | None = None,
        role: str = Role.AGENT,
        state: AgentState = AgentState.EXTERNAL,
        token_hash: bytes | None = None,
    ) -> Agent:
        """An agent that is not recorded yet, its fields checked. Raises InvalidInput."""
        return Agent(
            id=self.new_id("agent"),
            name=check_display_name(name),
            type=check_name(type, "type"),
            role=_role(role),
            environment=self.environment,
            swarm=swarm,
            capabilities=_checked(capabilities),
            state=state,
            token_hash=token_hash,
            token_expires=self._clock.wall_us() + int(LIFE_S * 1_000_000) if token_hash else None,
            created_at_us=self._clock.wall_us(),
        )

    async def update(
        self,
        ident: str,
        *,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the action
        capabilities: Sequence[str] | None = None,
        role: str | None = None,
        metadata: Any = None,  # noqa: ANN401 - a JSON object
        actor: str = OPERATOR,
    ) -> Agent:
        """Change what is given. Raises NotFound, InvalidInput."""
        self.agent(ident)
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = check_display_name(name)
        if type is not None:
            changes["type"] = check_name(type, "type")
        if capabilities is not None:
            changes["capabilities"] = _checked(capabilities)
        if role is not None:
            changes["role"] = _role(role)
        if metadata is not None:
            changes["metadata"] = _metadata(metadata)
        if changes:
            detail = ", ".join(sorted(changes))
            await self._change_agent(ident, changes, ("agent.update", actor, detail))
        return self.agent(ident)

    async def unregister(self, ident: str, *, actor: str = OPERATOR) -> None:
        """Forget an agent. Its leases are free at once, its records stay. Raises NotFound, and
        Conflict while a process of ours runs under this id."""
        if self.agent(ident).pid is not None:
            raise Conflict(
                f"agent {ident} has a running process",
                hint="scale its swarm down, or terminate it",
            )

        def change(tx: Transaction) -> None:
            roster.require(tx, "agent", ident)
            roster.delete_agent(tx, ident)
            tx.audit(actor, "agent.unregister", ident)

        await self._database.write(change, topic="agents", then=lambda _: self._forget([ident]))
        await self._on_gone(ident)

    # --- swarms and their processes -----------------------------------------------------------

    async def create_swarm(
        self, swarm: Swarm, agents: Sequence[Agent], *, actor: str = OPERATOR
    ) -> None:
        """Record a swarm with its first agents, all or nothing."""

        def change(tx: Transaction) -> None:
            roster.insert_swarm(tx, swarm)
            roster.insert_agents(tx, agents)
            detail = f"{swarm.agents} agents, {swarm.memory_bytes} bytes"
            tx.audit(actor, "swarm.create", swarm.id, detail=detail)

        def then(_: None) -> None:
            self._enlist(agents)
            self._show_swarm(swarm)
            self._tell_new(agents)

        await self._database.write(change, topic="swarms", then=then)

    async def add_agents(
        self, swarm: str, agents: Sequence[Agent], *, actor: str = OPERATOR
    ) -> None:
        """Record more agents of a swarm. Raises NotFound."""

        def change(tx: Transaction) -> None:
            roster.require(tx, "swarm", swarm)
            roster.insert_agents(tx, agents)
            for agent in agents:
                tx.audit(actor, "agent.register", agent.id, detail=f"swarm {swarm}")

        def then(_: None) -> None:
            self._enlist(agents)
            self._tell_new(agents)

        await self._database.write(change, topic="swarms", then=then)

    def _tell_new(self, agents: Sequence[Agent]) -> None:
        for agent in agents:
            self._publish(AgentRegistered(agent.id, agent.name, agent.type))

    async def change_swarm(
        self,
        ident: str,
        *,
        action: str,
        actor: str = OPERATOR,
        **changes: Any,  # noqa: ANN401
    ) -> Swarm:
        """Change `state`, `agents`, `memory_bytes` or `reason` of a swarm. Raises NotFound."""
        self.swarm(ident)

        def change(tx: Transaction) -> None:
            roster.require(tx, "swarm", ident)
            roster.update(tx, "swarm", ident, changes)
            tx.audit(actor, action, ident, detail=_told(changes))

        def then(_: None) -> None:
            self._show_swarm(replace(self._swarms[ident], **changes))

        await self._database.write(change, topic="swarms", then=then)
        return self.swarm(ident)

    async def remove_swarm(self, ident: str, *, actor: str = OPERATOR) -> None:
        """Forget a swarm and the agents it started; others that joined it stay, without a swarm.
        Raises NotFound, and Conflict while one of its processes runs."""
        self.swarm(ident)
        if any(agent.pid is not None for agent in self._agents.values() if agent.swarm == ident):
            raise Conflict(f"swarm {ident} has running processes", hint="terminate it first")

        def change(tx: Transaction) -> None:
            roster.require(tx, "swarm", ident)
            roster.delete_swarm(tx, ident)
            tx.audit(actor, "swarm.delete", ident)

        def then(_: None) -> None:
            self._swarms.pop(ident, None)
            members = [agent for agent in self._agents.values() if agent.swarm == ident]
            joined = [agent.id for agent in members if agent.is_external]
            for name in joined:
                self._agents[name] = replace(self._agents[name], swarm=None)
            self._forget(agent.id for agent in members if not agent.is_external)
            self._access_changed(joined)

        await self._database.write(change, topic="swarms", then=then)

    async def renew_token(self, ident: str) -> str:
        """A new token for an agent; the one before is void. Only its hash is stored. Raises
        NotFound, Conflict."""
        return (await self.tokens.issue(self.agent(ident), LIFE_S, OPERATOR)).token

    async def revoke_token(self, ident: str, *, actor: str = OPERATOR) -> None:
        """Void an agent's token: its connections have ended and its leases are free when this
        returns. Raises NotFound."""
        self.agent(ident)
        await self.tokens.revoke(ident, actor)
        await self._on_gone(ident)

    async def starting(self, ident: str, *, restarts: int, reason: str) -> str:
        """An agent's process is about to be started again. Returns its new token."""
        fresh = self.tokens.new()
        changes = {"state": AgentState.STARTING, "restarts": restarts, "reason": reason}
        changes["ready_at"] = None
        await self._change_agent(
            ident, changes | fresh.columns, ("agent.restart", OPERATOR, reason)
        )
        return fresh.token

    async def waits(self, ident: str, reason: str) -> None:
        """An agent's process is started later: why."""
        await self._change_agent(ident, {"reason": reason})

    async def started(
        self, ident: str, pid: int, started_at: int, *, reason: str | None = None
    ) -> None:
        """An agent's process runs: pid and start time together are its identity. `reason`, where
        given, is said of it from now on."""
        self.presence.forget(ident)
        changes: dict[str, Any] = {"pid": pid, "started_at": started_at}
        if reason is not None:
            changes["reason"] = reason
        await self._change_agent(ident, changes, ("agent.start", OPERATOR, f"pid {pid}"))

    async def ready(self, ident: str) -> None:
        """An agent says that it can take work. Counts as a heartbeat. Raises NotFound."""
        agent = self.agent(ident)
        self.heartbeat(ident)
        if agent.state is AgentState.STARTING:
            changes = {"state": AgentState.READY, "ready_at": self._clock.wall_us()}
            await self._change_agent(ident, changes)

    async def ended(self, ident: str, state: AgentState, reason: str) -> None:
        """An agent's process is gone. Its token is void."""
        changes = {"state": state, "pid": None, "started_at": None, "ready_at": None}
        changes |= {"token_hash": None, "token_expires": None}
        what = ("agent.exit", OPERATOR, reason)
        await self._change_agent(ident, {**changes, "reason": reason}, what)
        self.presence.forget(ident)

    # --- presence ---------------------------------------------------------------------------

    def authenticate(self, ident: str, token: str) -> Principal:
        """The agent that proves itself with its token. Raises Denied."""
        self.tokens.check(ident, token)
        return self.principal(ident)

    def heartbeat(self, ident: str) -> None:
        """An agent is alive now. Raises NotFound."""
        self.agent(ident)
        self.presence.heard(ident)

    def connected(self, ident: str) -> None:
        """A connection of this agent opened."""
        self.presence.connected(ident)

    def disconnected(self, ident: str) -> None:
        """A connection of this agent closed."""
        self.presence.disconnected(ident)

    async def note_seen(self) -> None:
        """Store when each agent was last heard, before nobody knows any more."""
        heard = {ident: self.presence.seen_us(ident) for ident in self._agents}
        seen = [(ident, seen_us) for ident, seen_us in heard.items() if seen_us is not None]
        if seen:
            await self._database.write(lambda tx: roster.seen(tx, seen))

    # --- after a commit ---------------------------------------------------------------------

    async def _change_agent(
        self, ident: str, changes: dict[str, Any], audit: tuple[str, str, str] | None = None
    ) -> None:
        """Change columns of an agent, and note when it was last heard; `audit` is action, actor
        and detail."""
        if (seen_us := self.presence.seen_us(ident)) is not None:
            changes = {"last_seen": seen_us} | changes

        def change(tx: Transaction) -> None:
            roster.require(tx, "agent", ident)
            roster.update(tx, "agent", ident, changes)
            if audit is not None:
                action, actor, detail = audit
                tx.audit(actor, action, ident, detail=detail)

        def then(_: None) -> None:
            agent = self._agents[ident] = replace(self._agents[ident], **changes)
            if "role" in changes:
                self._access_changed([ident])
            if "state" in changes or "pid" in changes:
                self._publish(AgentChanged(ident, agent.state, agent.pid, agent.reason))
            if changes.get("token_hash", b"") is None:
                self._void(ident, "its token is void")

        await self._database.write(change, topic="agents", then=then)

    def _open_swarm(self, ident: str) -> None:
        if self.swarm(ident).state in {SwarmState.DRAINING, SwarmState.TERMINATED}:
            raise Conflict(f"swarm {ident} has ended", hint="join one that runs: swarm list")


def _checked(capabilities: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_name(name, "capability") for name in capabilities))


def _metadata(said: Any) -> str:  # noqa: ANN401 - whatever was given
    """What is known of an agent, as it is stored. Raises InvalidInput."""
    if not isinstance(said, dict):
        raise InvalidInput("metadata is a JSON object", hint='such as {"model": "large"}')
    text = codec.encode_json(said)
    if len(text) > MAX_METADATA_BYTES:
        hint = f"{MAX_METADATA_BYTES:,} bytes at most; keep more in memory under a key"
        raise InvalidInput(f"the metadata has {len(text):,} bytes", hint=hint)
    return text.decode()


def _role(name: str) -> Role:
    """The role of an agent. Raises InvalidInput: the system role is the operator's."""
    role = Role(name) if name in Role.__members__.values() else Role.SYSTEM
    if role is Role.SYSTEM:
        raise InvalidInput(
            f"no agent has the role {printable(name)}", hint="agent, monitor, coordinator or admin"
        )
    return role


def _told(changes: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items() if value != "")
