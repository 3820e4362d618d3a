"""Every action of the control plane, each defined once.

From a definition here come the subcommand, the console's command, form, palette entry and help,
and the socket message. A field carries its unit, bounds and help in `Annotated[..., arg(...)]`;
`@action` adds what the dispatcher must know. Data-plane calls (memory and queue, thousands a
second) are methods of the handles in `handles.py`; the actions below that touch memory or
messages call the same methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from . import views
from .errors import InvalidInput
from .model import MIN_SWARM_BYTES

Lane = Literal["interactive", "background", "bulk"]

Environment = Literal["production", "development", "testing", "research", "staging"]
LevelName = str
A = TypeVar("A", bound="Action")


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all actions."""


class ActionSpec(msgspec.Struct, frozen=True):
    """What is known of an action besides its fields.

    `query`: reads only, leaves no audit row. `destructive`: the console shows a plan and asks
    first. `lasting`: leaves processes running, so it needs an engine that stays. `offline`: can
    run with no data directory open.
    """

    name: str
    type: type[Action]
    help: str
    result: Any
    lane: Lane
    timeout_s: float
    query: bool
    idempotent: bool
    destructive: bool
    lasting: bool
    offline: bool


ACTIONS: Final[dict[str, ActionSpec]] = {}


def action(
    result: Any,  # noqa: ANN401 - a type expression, also list[View]
    *,
    lane: Lane = "interactive",
    timeout_s: float = 30,
    query: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    lasting: bool = False,
    offline: bool = False,
) -> Callable[[type[A]], type[A]]:
    """Register an action. Its help is the first line of its docstring."""

    def register(kind: type[A]) -> type[A]:
        name = str(kind.__struct_config__.tag)
        text = (kind.__doc__ or "").strip().splitlines()[0]
        ACTIONS[name] = ActionSpec(
            name, kind, text, result, lane, timeout_s, query, idempotent or query, destructive,
            lasting, offline,
        )  # fmt: skip
        return kind

    return register


def arg(
    text: str,
    *,
    positional: bool = False,
    flag: str = "",
    unit: Literal["", "size", "json", "value", "rest", "level", "priority"] = "",
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
) -> msgspec.Meta:
    """Describe a field: help, how it is written on a command line, and its bounds.

    Units: `size` takes MB and GB, `json` a JSON text, `value` a JSON text or else a plain string,
    `rest` all that follows `--`, `level` and `priority` a word or a number.
    """
    extra = {"positional": positional, "flag": flag, "unit": unit}
    return msgspec.Meta(description=text, ge=ge, le=le, min_length=min_length, extra=extra)


Where = Annotated[Environment, arg("environment", positional=True)]
OptionalWhere = Annotated[Environment | None, arg("only this environment", positional=True)]
Reader = Annotated[str | None, arg("act as this agent instead of the operator", flag="--as")]
Namespace = Annotated[str, arg("key space inside the environment")]
Limit = Annotated[int, arg("at most so many rows", ge=1, le=10_000)]

# Bounds stand inside an optional type: msgspec takes none on a union with None.
Version = Annotated[int, msgspec.Meta(ge=1)]
VersionOrNone = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


# --- engine ---------------------------------------------------------------------------------


@action(views.Overview, query=True)
class Status(Action, frozen=True, kw_only=True, tag="status"):
    """Show the host, the environments, the swarms and the queue."""


@action(views.Done, timeout_s=400, idempotent=True, lane="background")
class Stop(Action, frozen=True, kw_only=True, tag="stop"):
    """Stop the engine that owns the data directory, with its swarms."""

    force: Annotated[bool, arg("do not wait for running work")] = False


@action(list[views.CheckView], query=True, offline=True)
class Doctor(Action, frozen=True, kw_only=True, tag="doctor"):
    """Check this machine and data directory for what SwarmDeck needs."""


@action(list[views.SettingView], query=True, offline=True)
class ConfigShow(Action, frozen=True, kw_only=True, tag="config.show"):
    """Show every setting and where its value came from."""


@action(views.DemoView, lane="bulk", timeout_s=3600)
class Demo(Action, frozen=True, kw_only=True, tag="demo"):
    """Run real agents over real files: digest every text file below a directory."""

    files: Annotated[str | None, arg("directory to read (default: Python's own library)")] = None
    agents: Annotated[int, arg("agent processes", ge=1, le=16)] = 6
    keep: Annotated[bool, arg("leave records and registrations for looking")] = False


@action(list[str], query=True)
class Logs(Action, frozen=True, kw_only=True, tag="logs"):
    """Show the output an agent has written."""

    agent: Annotated[str, arg("agent id", positional=True)]
    lines: Annotated[int, arg("last lines to show", ge=1, le=100_000)] = 100


# --- memory of the host and databases -------------------------------------------------------


@action(views.Overview, query=True)
class MemoryPlan(Action, frozen=True, kw_only=True, tag="memory.plan"):
    """Show the memory plan of the host: plan, allocated, used, borrowed."""


@action(list[views.DatabaseView], query=True)
class DatabaseStats(Action, frozen=True, kw_only=True, tag="db.stats"):
    """Show size, rows and write-ahead log of each database."""

    environment: OptionalWhere = None


@action(list[views.CheckView], query=True, lane="background", timeout_s=600)
class DatabaseCheck(Action, frozen=True, kw_only=True, tag="db.check"):
    """Run SQLite's quick check on each database."""

    environment: OptionalWhere = None


@action(list[views.PragmaView], query=True)
class DatabasePragmas(Action, frozen=True, kw_only=True, tag="db.pragmas"):
    """Show each database setting as requested and as granted."""

    environment: OptionalWhere = None


@action(list[str], query=True)
class DatabaseSchema(Action, frozen=True, kw_only=True, tag="db.schema"):
    """Show the tables and indexes of an environment's database."""

    environment: Where


# --- swarms, agents, teams ------------------------------------------------------------------


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
    role: Annotated[Literal["agent", "admin"], arg("role in its environment")] = "agent"


@action(views.AgentView)
class AgentUpdate(Action, frozen=True, kw_only=True, tag="agent.update"):
    """Change an agent's name, type, capabilities or role."""

    id: Annotated[str, arg("agent id", positional=True)]
    name: Annotated[str | None, arg("name to show")] = None
    type: Annotated[str | None, arg("kind of agent")] = None
    capabilities: Annotated[tuple[str, ...] | None, arg("what it can do; may be repeated")] = None
    role: Annotated[Literal["agent", "admin"] | None, arg("role in its environment")] = None


@action(views.Done, destructive=True)
class AgentUnregister(Action, frozen=True, kw_only=True, tag="agent.unregister"):
    """Remove an agent; its leases are free at once, its records stay."""

    id: Annotated[str, arg("agent id", positional=True)]


@action(list[views.AgentView], query=True)
class AgentList(Action, frozen=True, kw_only=True, tag="agent.list"):
    """List the agents."""

    environment: OptionalWhere = None
    swarm: Annotated[str | None, arg("only of this swarm")] = None
    team: Annotated[str | None, arg("only of this team")] = None
    type: Annotated[str | None, arg("only of this type")] = None
    capability: Annotated[str | None, arg("only with this capability")] = None


@action(views.AgentView, query=True)
class AgentShow(Action, frozen=True, kw_only=True, tag="agent.show"):
    """Show one agent."""

    id: Annotated[str, arg("agent id", positional=True)]


@action(views.TeamView)
class TeamCreate(Action, frozen=True, kw_only=True, tag="team.create"):
    """Create a team; its members share team records."""

    environment: Where
    name: Annotated[str, arg("name to show", positional=True)]
    leader: Annotated[str | None, arg("agent id of the leader, who joins it")] = None


@action(list[views.TeamView], query=True)
class TeamList(Action, frozen=True, kw_only=True, tag="team.list"):
    """List the teams."""

    environment: OptionalWhere = None


@action(views.TeamView, idempotent=True)
class TeamAdd(Action, frozen=True, kw_only=True, tag="team.add"):
    """Add an agent to a team."""

    team: Annotated[str, arg("team id", positional=True)]
    agent: Annotated[str, arg("agent id", positional=True)]


@action(views.TeamView, idempotent=True)
class TeamRemove(Action, frozen=True, kw_only=True, tag="team.remove"):
    """Take an agent out of a team."""

    team: Annotated[str, arg("team id", positional=True)]
    agent: Annotated[str, arg("agent id", positional=True)]


# --- memory records -------------------------------------------------------------------------


@action(views.RecordView)
class MemorySet(Action, frozen=True, kw_only=True, tag="memory.set"):
    """Store a value under a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    value: Annotated[
        Any, arg("JSON; plain text is stored as a string", positional=True, unit="value")
    ]
    actor: Reader = None
    namespace: Namespace = "default"
    level: Annotated[
        str | int | None, arg("private, team, swarm, public, system (new: private)", unit="level")
    ] = None
    ttl_s: Annotated[float | None, arg("seconds until it expires", flag="--ttl")] = None
    if_version: Annotated[
        VersionOrNone | None, arg("only if the record has this version (0: is not there)")
    ] = None


@action(views.RecordView, query=True)
class MemoryGet(Action, frozen=True, kw_only=True, tag="memory.get"):
    """Show the value of a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    actor: Reader = None
    namespace: Namespace = "default"


@action(views.Done, destructive=True)
class MemoryDelete(Action, frozen=True, kw_only=True, tag="memory.delete"):
    """Delete a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    actor: Reader = None
    namespace: Namespace = "default"
    if_version: Annotated[Version | None, arg("only if the record has this version")] = None


@action(views.KeyPage, query=True)
class MemoryKeys(Action, frozen=True, kw_only=True, tag="memory.keys"):
    """List the keys that can be read, in order."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    actor: Reader = None
    namespace: Namespace = "default"
    limit: Limit = 1000
    cursor: Annotated[str | None, arg("continue after this key")] = None


@action(list[views.RecordView], query=True)
class MemoryList(Action, frozen=True, kw_only=True, tag="memory.list"):
    """List the records that can be read, with level, owner and version."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    actor: Reader = None
    namespace: Annotated[str | None, arg("only this namespace (default: all)")] = None
    limit: Limit = 200


# --- queue ----------------------------------------------------------------------------------


@action(views.MessageView)
class QueueSend(Action, frozen=True, kw_only=True, tag="queue.send"):
    """Send a message."""

    environment: Where
    kind: Annotated[str, arg("kind of work", positional=True)]
    body: Annotated[Any, arg("JSON", positional=True, unit="json")]
    actor: Reader = None
    priority: Annotated[int, arg("1 to 10, 10 most urgent", unit="priority", ge=1, le=10)] = 5
    delay_s: Annotated[float, arg("seconds before it can be claimed", flag="--delay", ge=0)] = 0
    expires_s: Annotated[Seconds | None, arg("seconds until it expires", flag="--expires")] = None
    to: Annotated[str | None, arg("only for this agent, team or swarm id")] = None
    max_attempts: Annotated[int, arg("deliveries before it is a dead letter", ge=1, le=100)] = 3


@action(list[views.MessageView], query=True)
class QueueList(Action, frozen=True, kw_only=True, tag="queue.list"):
    """List messages, most urgent first."""

    environment: OptionalWhere = None
    state: Annotated[
        Literal["ready", "delayed", "leased", "done", "dead", "expired", "cancelled"] | None,
        arg("only this state (default: ready, delayed and leased)"),
    ] = None
    kind: Annotated[str | None, arg("only this kind")] = None
    holder: Annotated[str | None, arg("only leased by this agent")] = None
    limit: Limit = 200


@action(views.QueueCounts, query=True)
class QueueCount(Action, frozen=True, kw_only=True, tag="queue.count"):
    """Count messages by state."""

    environment: OptionalWhere = None
    state: Annotated[
        Literal["ready", "delayed", "leased", "done", "dead", "expired", "cancelled"] | None,
        arg("only this state"),
    ] = None


@action(views.MessageView, query=True)
class QueueShow(Action, frozen=True, kw_only=True, tag="queue.show"):
    """Show one message with its body, result and last error."""

    id: Annotated[str, arg("message id", positional=True)]


@action(views.MessageView)
class QueueRetry(Action, frozen=True, kw_only=True, tag="queue.retry"):
    """Make a dead, expired or cancelled message ready again, with fresh attempts."""

    id: Annotated[str, arg("message id", positional=True)]


@action(views.MessageView, destructive=True)
class QueueCancel(Action, frozen=True, kw_only=True, tag="queue.cancel"):
    """Cancel a message that is ready, delayed or leased."""

    id: Annotated[str, arg("message id", positional=True)]


@action(list[views.MessageView], query=True)
class QueueDead(Action, frozen=True, kw_only=True, tag="queue.dead"):
    """List the dead letters, newest first."""

    environment: OptionalWhere = None
    limit: Limit = 200


# --- access and audit -----------------------------------------------------------------------

Actions = Annotated[
    tuple[Literal["read", "write", "delete"], ...],
    arg("read, write, delete; may be repeated", min_length=1),
]


Lifetime = Annotated[float, arg("seconds it lasts", flag="--expires", ge=1, le=90 * 86_400)]


@action(views.GrantView)
class AclGrant(Action, frozen=True, kw_only=True, tag="acl.grant"):
    """Allow an agent more than its level rule does, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Annotated[Literal["memory"], arg("what it is about")] = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400


@action(views.GrantView, destructive=True)
class AclDeny(Action, frozen=True, kw_only=True, tag="acl.deny"):
    """Deny an agent what its level rule or a grant allows, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Annotated[Literal["memory"], arg("what it is about")] = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400


@action(views.Done, destructive=True)
class AclRevoke(Action, frozen=True, kw_only=True, tag="acl.revoke"):
    """Remove a grant or a denial."""

    id: Annotated[str, arg("grant id", positional=True)]


@action(list[views.GrantView], query=True)
class AclList(Action, frozen=True, kw_only=True, tag="acl.list"):
    """List the grants and denials in force."""

    environment: OptionalWhere = None
    subject: Annotated[str | None, arg("only of this agent")] = None


@action(views.DecisionView, query=True)
class AclExplain(Action, frozen=True, kw_only=True, tag="acl.explain"):
    """Say whether an agent may do something to a record, and which rule decides."""

    subject: Annotated[str, arg("agent id, or operator", positional=True)]
    right: Annotated[
        Literal["read", "write", "delete", "grant"], arg("what it wants to do", positional=True)
    ]
    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    namespace: Namespace = "default"


@action(list[views.AuditView], query=True)
class AuditList(Action, frozen=True, kw_only=True, tag="audit.list"):
    """List what was changed, by whom, newest first."""

    environment: OptionalWhere = None
    actor: Annotated[str | None, arg("only by this actor")] = None
    limit: Limit = 200


# --- benchmarks -----------------------------------------------------------------------------


@action(list[views.BenchView], lane="bulk", timeout_s=900)
class BenchRun(Action, frozen=True, kw_only=True, tag="bench.run"):
    """Measure this machine in a scratch directory: memory, queue and access decisions."""

    names: Annotated[tuple[str, ...], arg("workloads (default: all)", positional=True)] = ()
    seconds: Annotated[float, arg("length of each workload", ge=0.1, le=60)] = 1.0
    concurrency: Annotated[int, arg("callers at once", ge=1, le=1000)] = 100


@action(list[views.ComparisonView], lane="bulk", timeout_s=1800)
class BenchCompare(Action, frozen=True, kw_only=True, tag="bench.compare"):
    """Measure beside raw SQLite, a commit for each write, and Redis, in one run."""

    peers: Annotated[
        tuple[Literal["raw", "tuned", "naive", "redis"], ...], arg("whom to compare with")
    ] = (
        "raw",
        "tuned",
        "naive",
        "redis",
    )
    rounds: Annotated[int, arg("interleaved rounds; medians count", ge=1, le=50)] = 5
    seconds: Annotated[float, arg("length of each measurement", ge=0.1, le=60)] = 0.5
    growth: Annotated[
        int, arg("claim time up to so many queued messages; 0 leaves it out", ge=0, le=10_000_000)
    ] = 1_000_000


@action(list[views.BenchView], query=True)
class BenchShow(Action, frozen=True, kw_only=True, tag="bench.show"):
    """Show the last measurements kept in this data directory."""


def check(wanted: Action) -> Action:
    """The action, its fields checked against their types and bounds. Raises InvalidInput."""
    try:
        return msgspec.convert(msgspec.to_builtins(wanted, builtin_types=(bytes,)), type(wanted))
    except (msgspec.ValidationError, TypeError) as error:
        raise refused(spec_of(wanted), error) from error


def refused(spec: ActionSpec, error: Exception) -> InvalidInput:
    """The error for fields that do not fit an action."""
    return InvalidInput(
        f"{spec.name}: {error}", hint=f"see swarmdeck {spec.name.replace('.', ' ')} --help"
    )


def spec_of(wanted: Action) -> ActionSpec:
    return ACTIONS[str(wanted.__struct_config__.tag)]


def named(name: str) -> ActionSpec:
    """The action called `name`. Raises InvalidInput."""
    try:
        return ACTIONS[name]
    except KeyError:
        raise InvalidInput(f"unknown action {name!r}", hint="see swarmdeck --help") from None


def fields(kind: type[Action]) -> tuple[tuple[msgspec.structs.FieldInfo, msgspec.Meta], ...]:
    """The fields of an action with what `arg` said of each, in order of definition."""
    described = []
    for field in msgspec.structs.fields(kind):
        metadata = getattr(field.type, "__metadata__", ())
        meta = next((m for m in metadata if isinstance(m, msgspec.Meta)), arg(field.name))
        described.append((field, meta))
    return tuple(described)
