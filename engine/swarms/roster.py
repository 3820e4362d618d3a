"""The rows behind the registry: agents, teams and swarms as values, and their SQL.

The functions run on a thread of the database, inside a transaction that its caller holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..errors import NotFound
from ..model import AgentState, Role, SwarmState
from ..store.database import Reader, Transaction
from ..views import TeamView

FAILED_OVER: Final = "failed over to "  # and the id of the swarm that took over: why one has ended


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as recorded. `pid` and `started_at` name its process while one runs;
    `token_expires` is when its token ends, `ready_at` when its process said that it is ready and
    `last_seen` when it was last heard before that was stored, in microseconds since the epoch.
    `metadata` is a JSON object."""

    id: str
    name: str
    type: str
    role: Role
    environment: str
    swarm: str | None
    capabilities: tuple[str, ...]
    state: AgentState
    token_hash: bytes | None
    created_at_us: int
    token_expires: int | None = None
    pid: int | None = None
    started_at: int | None = None
    restarts: int = 0
    reason: str = ""
    ready_at: int | None = None
    metadata: str = "{}"
    last_seen: int | None = None

    @property
    def is_external(self) -> bool:
        """It has no process of ours."""
        return self.state is AgentState.EXTERNAL

    @property
    def is_live(self) -> bool:
        """A process of ours runs for it, or is being started."""
        return self.state in {AgentState.STARTING, AgentState.READY}


class Team(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    environment: str
    leader: str | None
    members: tuple[str, ...]
    created_at_us: int

    def view(self) -> TeamView:
        return TeamView(
            id=self.id,
            name=self.name,
            environment=self.environment,
            leader=self.leader,
            members=self.members,
            created_at_us=self.created_at_us,
        )


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of a swarm are started with beside their command.

    `variables` by name; None stands for the value that the engine has itself when it starts one.
    `directory` empty: one of the swarm's own. `warm_up_s` is how long a process may take to say
    that it is ready; 0: any time, None: the setting. `cpu_percent` is the most processor time all
    of them may have together, of one core; None: no limit.
    """

    variables: tuple[tuple[str, str | None], ...] = ()
    directory: str = ""
    warm_up_s: float | None = None
    cpu_percent: int | None = None

    def limit_s(self, setting_s: float) -> float:
        """How long a process may take to say that it is ready; 0: any time."""
        return setting_s if self.warm_up_s is None else self.warm_up_s


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """A swarm as recorded. `agents` is how many it should have; `command` empty means the
    bundled worker. One that is not `lasting` ends with the action that made it."""

    id: str
    name: str
    environment: str
    state: SwarmState
    agents: int
    memory_bytes: int
    command: tuple[str, ...]
    created_at_us: int
    lasting: bool = True
    reason: str = ""
    setup: Setup = Setup()

    @property
    def is_over(self) -> bool:
        return self.state is SwarmState.TERMINATED

    @property
    def heir(self) -> str:
        """The swarm that has taken over from this one, empty where there is none."""
        return self.reason.removeprefix(FAILED_OVER) if self.reason.startswith(FAILED_OVER) else ""


_SELECT_AGENTS: Final = """
    SELECT id, name, type, role, swarm, capabilities, state, token_hash, token_expires,
           pid, started_at, restarts, reason, ready_at, metadata, last_seen, created_at
    FROM agent WHERE env = ? ORDER BY created_at, id"""
_SELECT_TEAMS: Final = (
    "SELECT id, name, leader, created_at FROM team WHERE env = ? ORDER BY created_at, id"
)
_SELECT_MEMBERS: Final = "SELECT team, agent FROM team_member WHERE env = ? ORDER BY team, agent"
_SELECT_SWARMS: Final = """
    SELECT id, name, state, agents, memory_bytes, command, lasting, reason, created_at,
           variables, directory, warm_up_s, cpu_percent
    FROM swarm WHERE env = ? ORDER BY created_at, id"""

_INSERT_AGENT: Final = """
    INSERT INTO agent (env, id, name, type, role, swarm, capabilities, state, token_hash,
                       token_expires, metadata, created_at, updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_TEAM: Final = """
    INSERT INTO team (env, id, name, leader, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"""
_INSERT_MEMBER: Final = "INSERT OR IGNORE INTO team_member (env, team, agent) VALUES (?, ?, ?)"
_INSERT_SWARM: Final = """
    INSERT INTO swarm (env, id, name, state, agents, memory_bytes, command, lasting, created_at,
                       updated_at, variables, directory, warm_up_s, cpu_percent)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_EXISTS: Final = {
    "agent": "SELECT 1 FROM agent WHERE env = ? AND id = ?",
    "team": "SELECT 1 FROM team WHERE env = ? AND id = ?",
    "swarm": "SELECT 1 FROM swarm WHERE env = ? AND id = ?",
}
_CHANGEABLE: Final[dict[str, frozenset[str]]] = {
    "agent": frozenset(Agent.__struct_fields__) - {"id", "environment", "swarm", "created_at_us"},
    "swarm": frozenset({"state", "agents", "memory_bytes", "reason"}),
    "team": frozenset({"name", "leader"}),
}
_SEEN: Final = """
    UPDATE agent SET last_seen = ?, updated_at = updated_at + 1
    WHERE env = ? AND id = ? AND last_seen IS NOT ?"""
_DELETE_AGENT: Final = "DELETE FROM agent WHERE env = ? AND id = ?"
_DELETE_TEAM: Final = "DELETE FROM team WHERE env = ? AND id = ?"
_DELETE_MEMBER: Final = "DELETE FROM team_member WHERE env = ? AND team = ? AND agent = ?"
_LEADERLESS: Final = """
    UPDATE team SET leader = NULL, updated_at = ? WHERE env = ? AND leader = ?"""
_LEADERLESS_TEAM: Final = """
    UPDATE team SET leader = NULL, updated_at = ? WHERE env = ? AND id = ? AND leader = ?"""
_STARTED_BY_SWARM: Final = """
    SELECT id FROM agent WHERE env = ? AND swarm = ? AND state <> 'external'"""
_LEAVE_SWARM: Final = "UPDATE agent SET swarm = NULL, updated_at = ? WHERE env = ? AND swarm = ?"
_DELETE_SWARM: Final = "DELETE FROM swarm WHERE env = ? AND id = ?"


# --- reading ----------------------------------------------------------------------------------


def read_all(reader: Reader) -> tuple[list[Agent], list[Team], list[Swarm]]:
    """Everything of one environment, oldest first."""
    env = (reader.env,)
    members: dict[str, list[str]] = {}
    for team, agent in reader.execute(_SELECT_MEMBERS, env):
        members.setdefault(team, []).append(agent)
    agents = [_agent(reader.env, row) for row in reader.execute(_SELECT_AGENTS, env)]
    teams = [_team(reader.env, row, members) for row in reader.execute(_SELECT_TEAMS, env)]
    swarms = [_swarm(reader.env, row) for row in reader.execute(_SELECT_SWARMS, env)]
    return agents, teams, swarms


def _agent(env: str, row: tuple[Any, ...]) -> Agent:
    ident, name, kind, role, swarm, capabilities, state, token_hash, *rest = row
    token_expires, pid, started_at, restarts, reason, ready_at, *rest = rest
    metadata, last_seen, created_at = rest
    return Agent(
        id=ident,
        name=name,
        type=kind,
        role=Role(role),
        environment=env,
        swarm=swarm,
        capabilities=_words(capabilities),
        state=AgentState(state),
        token_hash=token_hash,
        created_at_us=created_at,
        token_expires=token_expires,
        pid=pid,
        started_at=started_at,
        restarts=restarts,
        reason=reason,
        ready_at=ready_at,
        metadata=metadata,
        last_seen=last_seen,
    )


def _team(env: str, row: tuple[Any, ...], members: Mapping[str, Sequence[str]]) -> Team:
    ident, name, leader, created_at = row
    return Team(
        id=ident,
        name=name,
        environment=env,
        leader=leader,
        members=tuple(members.get(ident, ())),
        created_at_us=created_at,
    )


def _swarm(env: str, row: tuple[Any, ...]) -> Swarm:
    ident, name, state, agents, memory_bytes, command, lasting, reason, created_at, *setup = row
    return Swarm(
        id=ident,
        name=name,
        environment=env,
        state=SwarmState(state),
        agents=agents,
        memory_bytes=memory_bytes,
        command=_words(command),
        created_at_us=created_at,
        lasting=bool(lasting),
        reason=reason,
        setup=_setup(*setup),
    )


def _setup(
    variables: str, directory: str, warm_up_s: float | None, cpu_percent: int | None
) -> Setup:
    named = msgspec.json.decode(variables, type=dict[str, str | None])
    return Setup(
        variables=tuple(named.items()),
        directory=directory,
        warm_up_s=warm_up_s,
        cpu_percent=cpu_percent,
    )


# --- writing ----------------------------------------------------------------------------------


def require(tx: Transaction, table: str, ident: str | None) -> None:
    """Raise NotFound unless the row is there now; changes queued before may have removed it."""
    if ident is not None and tx.execute(_EXISTS[table], (tx.env, ident)).fetchone() is None:
        raise NotFound(f"{table} {ident} is gone")


def insert_agents(tx: Transaction, agents: Sequence[Agent]) -> None:
    rows = [
        (tx.env, a.id, a.name, a.type, a.role, a.swarm, _column(a.capabilities), a.state,
         a.token_hash, a.token_expires, a.metadata, a.created_at_us, tx.now_us)
        for a in agents
    ]  # fmt: skip
    tx.executemany(_INSERT_AGENT, rows)


def insert_team(tx: Transaction, team: Team) -> None:
    row = (tx.env, team.id, team.name, team.leader, team.created_at_us, tx.now_us)
    tx.execute(_INSERT_TEAM, row)
    for member in team.members:
        insert_member(tx, team.id, member)


def insert_member(tx: Transaction, team: str, agent: str) -> bool:
    """Whether the agent was not a member before."""
    return tx.execute(_INSERT_MEMBER, (tx.env, team, agent)).rowcount > 0


def insert_swarm(tx: Transaction, swarm: Swarm) -> None:
    s = swarm
    row = (tx.env, s.id, s.name, s.state, s.agents, s.memory_bytes, _column(s.command),
           s.lasting, s.created_at_us, tx.now_us, *_setup_columns(s.setup))  # fmt: skip
    tx.execute(_INSERT_SWARM, row)


def _setup_columns(setup: Setup) -> tuple[str, str, float | None, int | None]:
    variables = msgspec.json.encode(dict(setup.variables)).decode()
    return variables, setup.directory, setup.warm_up_s, setup.cpu_percent


def update(tx: Transaction, table: str, ident: str, changes: Mapping[str, Any]) -> None:
    """Set columns of one agent, swarm or team."""
    assert changes.keys() <= _CHANGEABLE[table], f"not columns of {table}: {sorted(changes)}"
    columns = ", ".join(f"{name} = ?" for name in changes)
    values = [_column(value) for value in changes.values()]
    tx.execute(
        f"UPDATE {table} SET {columns}, updated_at = ? WHERE env = ? AND id = ?",  # noqa: S608 - names from the list above
        (*values, tx.now_us, tx.env, ident),
    )


def seen(tx: Transaction, heard: Sequence[tuple[str, int]]) -> None:
    """Note when agents were last heard. That is no change of them: their
    time moves by next to nothing."""
    rows = [(at_us, tx.env, ident, at_us) for ident, at_us in heard]
    tx.executemany(_SEEN, rows)


def delete_agent(tx: Transaction, ident: str) -> None:
    """The agent and its memberships; a team it led has no leader."""
    tx.execute(_LEADERLESS, (tx.now_us, tx.env, ident))
    tx.execute(_DELETE_AGENT, (tx.env, ident))


def delete_team(tx: Transaction, ident: str) -> None:
    tx.execute(_DELETE_TEAM, (tx.env, ident))


def delete_member(tx: Transaction, team: str, agent: str) -> bool:
    """Whether the agent was a member. The team has no leader if it led."""
    tx.execute(_LEADERLESS_TEAM, (tx.now_us, tx.env, team, agent))
    return tx.execute(_DELETE_MEMBER, (tx.env, team, agent)).rowcount > 0


def delete_swarm(tx: Transaction, ident: str) -> None:
    """The swarm and the agents it started; those that joined it stay without a swarm."""
    for (agent,) in tx.execute(_STARTED_BY_SWARM, (tx.env, ident)).fetchall():
        delete_agent(tx, agent)
    tx.execute(_LEAVE_SWARM, (tx.now_us, tx.env, ident))
    tx.execute(_DELETE_SWARM, (tx.env, ident))


def _column(value: object) -> object:
    return msgspec.json.encode(value).decode() if isinstance(value, tuple) else value


def _words(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])
