"""The tables one can go to: what each asks for, shows, opens and says when it is empty.

Pure: the screen that shows a listing is `screens.listing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..engine import actions, views
from ..engine.actions import Action
from ..engine.model import Environment, MessageState, environment_of
from ..engine.views.queue import when_of
from ..widgets import Column, Line, Span, line, mark_of, state_span
from ..widgets.format import count, size
from . import columns, wording
from .columns import Moment
from .notices import why_no_records
from .places import Place

OPEN: Final = "open"
"""Messages that are still to be done: ready, delayed and leased."""

STATES: Final = (OPEN, *MessageState)


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of a listing is shown. `environment` None is all of them, `subject` the id the
    place is about, `contains` what the engine is to look for, `order` what it is to sort by; `risk`
    and `refused` are for the audit trail."""

    subject: str = ""
    environment: Environment | None = None
    state: str = OPEN
    contains: str = ""
    order: str = ""
    descending: bool = False
    risk: str = ""
    refused: bool = False

    @property
    def place(self) -> actions.Environment | None:
        """The environment as actions name it."""
        return None if self.environment is None else self.environment.value


About = Callable[[views.Overview, Scope, Moment], Sequence[Line]]


@dataclass(frozen=True)
class Listing:
    """A table to go to. Its rows come with the overview (`rows`) or from a query of its own.

    `opens` is where enter leads, `about` the lines above the table, always `about_height` of them.
    `paged` rows are read from the engine as far as they are on the screen; `total` says how many
    there are without a filter, None where the overview does not know. `words` say below the table
    what of the selected row its columns may have to cut. `hindered` says in place of `empty` what
    stands in the way of rows that are there; empty when nothing does.
    """

    title: str
    columns: Callable[[Moment], Sequence[Column[Any]]]
    key: Callable[[Any], str]
    empty: str
    groups: tuple[str, ...]
    rows: Callable[[views.Overview, Scope], Sequence[Any]] | None = None
    query: Callable[[Scope], Action] | None = None
    opens: Callable[[Any], Place] | None = None
    about: About | None = None
    about_height: int = 0
    by_environment: bool = True
    by_state: bool = False
    paged: bool = False
    total: Callable[[views.Overview, Scope], int | None] | None = None
    words: Callable[[Any], str] | None = None
    hindered: Callable[[views.Overview, Scope], str] | None = None


def narrowed(query: Action, scope: Scope, first: int, rows: int) -> Action:
    """The query for `rows` rows from `first` on that contain what the scope says, in its order;
    0 rows leave the query's own bound. A query without such a field stays as it is."""
    wanted: dict[str, Any] = {"contains": scope.contains} if scope.contains else {}
    if rows:
        wanted |= {"offset": first, "limit": rows}
    if scope.order:
        wanted |= {"order": scope.order, "descending": scope.descending}
    known = {name: value for name, value in wanted.items() if name in query.__struct_fields__}
    return msgspec.structs.replace(query, **known) if known else query


def _in(scope: Scope, environment: str) -> bool:
    return scope.environment is None or environment == scope.environment


def _id(view: Any) -> str:  # noqa: ANN401 - any view with an id
    return str(view.id)


# --- swarms and agents ----------------------------------------------------------------------


def _swarms(overview: views.Overview, scope: Scope) -> Sequence[views.SwarmView]:
    return [swarm for swarm in overview.swarms if _in(scope, swarm.environment)]


def _agents(overview: views.Overview, scope: Scope) -> Sequence[views.AgentView]:
    return [agent for agent in overview.agents if _in(scope, agent.environment)]


def _members(overview: views.Overview, scope: Scope) -> Sequence[views.AgentView]:
    return [agent for agent in overview.agents if agent.swarm == scope.subject]


def _about_swarm(overview: views.Overview, scope: Scope, moment: Moment) -> Sequence[Line]:
    swarm = next((each for each in overview.swarms if each.id == scope.subject), None)
    if swarm is None:
        return (line(("  This swarm has ended; its agents and their leases are gone.", "muted")),)
    borrowed = f", {size(swarm.borrowed_bytes)} of it borrowed" if swarm.borrowed_bytes else ""
    killed = f", {count(swarm.breaches)} killed" if swarm.breaches else ""
    quota = f"   {swarm.cpu_percent} % of a core" if swarm.cpu_percent else ""
    why = f"gave way: {swarm.gave_way}" if swarm.gave_way else swarm.reason
    return (
        line("  ", state_span(swarm.state), f"  {swarm.name or swarm.id}  ",
             (swarm.environment, columns.place_style(swarm.environment)),
             (f"  {swarm.id}  up {wording.ago(moment.us, swarm.created_at_us)}", "muted")),
        line(("  agents  ", "muted"), f"{swarm.agents_ready} ready of {swarm.agents_wanted}",
             (killed, "warning"),
             ("   memory  ", "muted"),
             f"{size(swarm.used_bytes)} used of {size(swarm.memory_bytes)}{borrowed}",
             ("   restarts  ", "muted"), count(swarm.restarts)),
        line(("  command  ", "muted"), " ".join(swarm.command) or "the bundled worker",
             (quota, "muted"), (f"   {why}", "warning")),
        line(("  directory  ", "muted"), swarm.directory or "its own",
             ("   ready within  ", "muted"),
             f"{swarm.warm_up_s:g} s" if swarm.warm_up_s else "any time",
             ("   variables  ", "muted"), ", ".join(swarm.variables) or wording.DASH),
    )  # fmt: skip


def _about_agent(overview: views.Overview, scope: Scope, moment: Moment) -> Sequence[Line]:
    agent = next((each for each in overview.agents if each.id == scope.subject), None)
    if agent is None:
        return (line(("  This agent is gone; its leases are free, its records stay.", "muted")),)
    process = f"process {agent.pid}" if agent.pid else "no process of ours"
    return (
        line("  ", state_span(agent.state), f"  {agent.name}  ",
             (agent.environment, columns.place_style(agent.environment)),
             (f"  {agent.type}  {agent.id}  up {wording.ago(moment.us, agent.created_at_us)}",
              "muted")),
        line(("  ", "muted"), process, ("   memory  ", "muted"), size(agent.used_bytes),
             ("   done  ", "muted"), count(agent.done), ("   holds  ", "muted"),
             count(agent.leased), ("   restarts  ", "muted"), count(agent.restarts)),
        line(("  swarm  ", "muted"), agent.swarm or wording.DASH, ("   teams  ", "muted"),
             ", ".join(agent.teams) or wording.DASH, ("   can  ", "muted"),
             ", ".join(agent.capabilities) or wording.DASH,
             ("   ready for  ", "muted"), wording.ago(moment.us, agent.ready_at_us)),
        line(("  why  ", "muted"), (agent.reason, "warning") if agent.reason else wording.DASH),
    )  # fmt: skip


SWARMS: Final = Listing(
    title="Swarms",
    columns=columns.swarms,
    key=_id,
    empty="No swarm runs yet.\nD  runs the demo: real agents over real files\n"
    "c  starts one, as does  :swarm create development --agents 4 --memory 512MB",
    groups=("swarms", "rows", "table", "motion"),
    rows=_swarms,
    opens=lambda swarm: Place("swarm", swarm.id),
)
SWARM: Final = Listing(
    title="Agents of the swarm",
    columns=columns.agents,
    key=_id,
    empty="No agent has joined.\n\nesc  then  s  scales the swarm; others join with\n"
    ":agent register ENVIRONMENT NAME --swarm ID",
    groups=("agents", "rows", "table", "motion"),
    rows=_members,
    opens=lambda agent: Place("agent", agent.id),
    about=_about_swarm,
    about_height=5,
    by_environment=False,
)
AGENTS: Final = Listing(
    title="Agents",
    columns=columns.agents,
    key=_id,
    empty="No agents.\n\nc  starts a swarm of them; or type  :agent register development NAME",
    groups=("agents", "rows", "table", "motion"),
    rows=_agents,
    opens=lambda agent: Place("agent", agent.id),
)
AGENT: Final = Listing(
    title="Messages it holds",
    columns=columns.messages,
    key=_id,
    empty="It holds no message now.\n\nl  shows what it has written,  m  the messages it sent,\n"
    "R  the records it can read,  A  everything as it sees it",
    groups=("agent", "queue", "rows", "table", "motion"),
    query=lambda scope: actions.QueueList(holder=scope.subject),
    opens=lambda message: Place("message", message.id),
    about=_about_agent,
    about_height=5,
    by_environment=False,
)

# --- queue ----------------------------------------------------------------------------------


MOST_MERGED: Final = 19_000
"""So far down the engine surely goes through messages of several environments; beyond that it
may ask for one of them to be named."""


def _in_state(counts: views.QueueCounts, state: str) -> int:
    members = ("ready", "delayed", "leased") if state == OPEN else (state,)
    return sum(getattr(counts, member) for member in members)


def _total_queue(overview: views.Overview, scope: Scope) -> int | None:
    """The messages in the state shown, unless there are too many to go to the last of them."""
    found = [
        _in_state(each.queue, scope.state)
        for each in overview.environments
        if _in(scope, each.name)
    ]
    several = sum(map(bool, found)) > 1
    return None if several and sum(found) > MOST_MERGED else sum(found)


def _about_queue(overview: views.Overview, scope: Scope, _moment: Moment) -> Sequence[Line]:
    """The states with their counts; the one shown is marked."""
    counts = [each.queue for each in overview.environments if _in(scope, each.name)]
    spans: list[Span] = [("  ", "text")]
    for state in STATES:
        total = sum(_in_state(each, state) for each in counts)
        chosen = state == scope.state
        style = "text" if state == OPEN or not total else mark_of(state).style
        spans.append((f" {state} {count(total)} ", f"{style} reverse bold" if chosen else style))
        spans.append((" ", "text"))
    return (tuple(spans),)


def _query_queue(scope: Scope) -> Action:
    if scope.state == OPEN:
        return actions.QueueList(environment=scope.place)
    return actions.QueueList(environment=scope.place, state=MessageState(scope.state).value)


QUEUE: Final = Listing(
    title="Messages",
    columns=columns.messages,
    key=_id,
    empty="No message is in this state.\n\n"
    "→  next state,  @  next environment,  n  sends a message",
    groups=("queue", "states", "rows", "table", "motion"),
    query=_query_queue,
    opens=lambda message: Place("message", message.id),
    about=_about_queue,
    about_height=2,
    by_state=True,
    paged=True,
    total=_total_queue,
)

# --- memory ---------------------------------------------------------------------------------


def scale_words(host: views.HostView) -> str:
    """How the plan was cut to a smaller host; nothing on one that is large enough."""
    return f"plan for 96 GB at {host.scale * 100:.0f} %" if host.scale < 1 else ""


MEMORY: Final = Listing(
    title="Budgets",
    columns=columns.environments,
    key=lambda environment: str(environment.name),
    empty="No environment is open.",
    groups=("memory", "parts", "rows", "table", "motion"),
    rows=lambda overview, _scope: overview.environments,
    opens=lambda environment: Place("records", environment.name),
    by_environment=False,
)


def _query_records(scope: Scope) -> Action:
    """The records of an environment, or those an agent can read in its own."""
    if scope.subject in set(Environment):
        return actions.MemoryList(environment=Environment(scope.subject).value)
    home = environment_of(scope.subject)
    return actions.MemoryList(environment=home.value, actor=scope.subject)


def _home(scope: Scope) -> str:
    """The environment the records are of."""
    if scope.subject in set(Environment):
        return scope.subject
    return str(environment_of(scope.subject)) if scope.subject else ""


def _total_records(overview: views.Overview, scope: Scope) -> int | None:
    """All records of an environment; of those an agent can read nobody keeps count."""
    records = {str(each.name): each.records for each in overview.environments}
    return records.get(scope.subject)


RECORDS: Final = Listing(
    title="Records",
    columns=columns.records,
    key=lambda record: f"{record.namespace}\n{record.key}",
    empty="No record can be read here.\n\nn  stores one; or type  "
    ":memory set development KEY VALUE",
    groups=("records", "rows", "table", "motion"),
    query=_query_records,
    opens=lambda record: Place("record", row=record),
    by_environment=False,
    paged=True,
    total=_total_records,
    hindered=lambda overview, scope: why_no_records(overview, _home(scope)),
)

# --- access, benchmarks, audit --------------------------------------------------------------


def _about_access(overview: views.Overview, _scope: Scope, _moment: Moment) -> Sequence[Line]:
    access = overview.access
    denied = "warning" if access.denied_calls else "text"
    return (
        line(("  agents  ", "muted"), count(access.agents), ("   teams  ", "muted"),
             count(access.teams), ("   grants  ", "muted"), count(access.grants),
             ("   denials  ", "muted"), count(access.denies), ("   denied calls  ", "muted"),
             (count(access.denied_calls), denied), ("   epoch  ", "muted"), str(access.epoch)),
    )  # fmt: skip


ACCESS: Final = Listing(
    title="Grants and denials in force",
    columns=columns.grants,
    key=_id,
    empty="No grant or denial is in force: levels and teams alone decide.\n\n"
    "n  grants,  N  denies,  tab  shows who may do what",
    groups=("access", "parts", "matrix", "rows", "table", "motion"),
    query=lambda scope: actions.AclList(environment=scope.place),
    about=_about_access,
    about_height=2,
)
BENCH: Final = Listing(
    title="Last measurements",
    columns=columns.benchmarks,
    key=lambda bench: str(bench.name),
    empty="Nothing measured yet.\n\nb  measures this machine in a scratch directory",
    groups=("bench", "rows", "table", "motion"),
    query=lambda _scope: actions.BenchShow(),
    by_environment=False,
)


def _query_audit(scope: Scope) -> Action:
    risks: dict[str, Any] = {"risk": scope.risk} if scope.risk else {}
    return actions.AuditList(environment=scope.place, denied=scope.refused, **risks)


AUDIT: Final = Listing(
    title="Audit, newest first",
    columns=columns.audit,
    key=lambda entry: f"{entry.environment}\n{entry.sequence}",
    empty="Nothing was changed yet.\n\nHere stands who changed or read what, and what was refused.",
    groups=("audit", "rows", "table", "motion"),
    query=_query_audit,
    paged=True,
    words=lambda entry: f"{entry.actor} {entry.action} {entry.object} {entry.detail}".strip(),
)

# --- what protects: keys, copies, files --------------------------------------------------------


VAULT: Final = Listing(
    title="Keys",
    columns=columns.data_keys,
    key=lambda key: f"{key.environment}\n{key.id}",
    empty="No environment is open.",
    groups=("vault", "rows", "table", "motion"),
    query=lambda scope: actions.VaultStatus(environment=scope.place),
    opens=lambda key: Place("records", key.environment),
    about_height=4,
)
BACKUPS: Final = Listing(
    title="Backups, newest first",
    columns=columns.backups,
    key=lambda backup: f"{backup.environment}\n{backup.name}",
    empty="No backup was made yet: nothing could be restored.\n\n"
    "n  makes one while the environment is used, and verifies it",
    groups=("backups", "rows", "table", "motion"),
    query=lambda scope: actions.BackupList(environment=scope.place),
    words=lambda backup: f"{backup.name}: {backup.status}. {backup.detail}".strip(),
)
DATABASES: Final = Listing(
    title="Files",
    columns=columns.databases,
    key=lambda database: str(database.environment),
    empty="No database is open.",
    groups=("db", "parts", "rows", "table", "motion"),
    query=lambda scope: actions.DatabaseStats(environment=scope.place),
)

# --- what happened, what needs a person --------------------------------------------------------


LOG: Final = Listing(
    title="Journal, newest first",
    columns=columns.journal,
    key=lambda event: str(event.sequence),
    empty="Nothing has happened since the engine opened.\n\nc  starts a swarm,  D  the demo",
    groups=("rows", "table", "motion"),
    query=lambda scope: actions.EventList(environment=scope.place),
    words=lambda event: f"{event.subject}: {event.text}" if event.subject else event.text,
)


def _about_alerts(overview: views.Overview, _scope: Scope, _moment: Moment) -> Sequence[Line]:
    engine = overview.engine
    return (
        line(("  loop ", "muted"), f"{engine.loop_lag_ms:.0f} ms late", ("   writer ", "muted"),
             f"{count(engine.writer_queue)} waiting", ("   log ", "muted"), size(engine.wal_bytes),
             ("   denied calls ", "muted"), count(overview.access.denied_calls)),
    )  # fmt: skip


_REMEDIES: Final = {
    "quarantined": "backups",
    "audit-rolled-back": "audit",
    "audit-unsigned": "vault",
    "log-pinned": "db",
    "wal": "db",
    "disk": "db",
    "probe-failed": "health",
    "recovery-tried": "health",
    "recovery-spent": "health",
    "breaker-open": "health",
}
"""Screens on which something can be done about an alert; the others are explained."""


def remedy(alert: views.AlertView) -> Place:
    """Where an alert leads."""
    screen = _REMEDIES.get(alert.rule)
    if screen is None:
        return Place("explain", alert.subject)
    where = alert.environment if alert.environment in set(Environment) else ""
    return Place(screen, environment=where)


ALERTS: Final = Listing(
    title="Alerts, firing first",
    columns=columns.alerts,
    key=_id,
    empty="✓ All is well: nothing fires, and nothing was resolved lately.",
    groups=("alerts", "rows", "table", "motion"),
    query=lambda scope: actions.AlertList(environment=scope.place),
    opens=remedy,
    about=_about_alerts,
    about_height=2,
    words=lambda alert: (
        f"{alert.subject}: {alert.detail}"
        + (f". {alert.hint}" if alert.hint else "")
        + (f". {alert.acknowledged_by} knows of it" if alert.state == "acknowledged" else "")
    ),
)


def _ailing(finding: views.FindingView) -> Place:
    """Where a finding leads: the swarm, or why a store or the host is as it is."""
    if finding.probe in {"agents", "http"}:
        return Place("swarm", finding.subject)
    return Place("explain", finding.environment or "host")


def _told(finding: views.FindingView) -> str:
    """A finding, what guards it and what recovery came to."""
    parts = [f"{finding.subject}: {finding.detail}"]
    if finding.address:
        parts.append(f"address {finding.address}, breaker {finding.breaker or 'closed'}")
    if finding.standby:
        parts.append(f"standby {finding.standby}")
    if finding.outcome:
        parts.append(f"recovery: {finding.outcome}")
    return ". ".join(parts)


HEALTH: Final = Listing(
    title="Health: the last finding of each probe",
    columns=columns.findings,
    key=lambda finding: f"{finding.subject} {finding.probe}",
    empty="Nothing is probed in this environment.",
    groups=("health", "rows", "table", "motion"),
    query=lambda scope: actions.HealthList(environment=scope.place),
    opens=_ailing,
    words=_told,
)

METRICS: Final = Listing(
    title="Measured, latest values",
    columns=columns.measurements,
    key=lambda row: str(row.subject),
    empty="Nothing was measured yet: that happens every metrics.interval_s seconds.",
    groups=("metrics", "rows", "table", "motion"),
    query=lambda scope: actions.MetricsList(environment=scope.place),
    opens=lambda row: Place("charts", row.subject),
)

SCHEDULES: Final = Listing(
    title="Schedules",
    columns=columns.schedules,
    key=_id,
    empty="Nothing is sent again and again.\n\nn  makes a schedule; or type  "
    ":schedule create development NAME KIND BODY --every 60",
    groups=("schedules", "rows", "table", "motion"),
    query=lambda scope: actions.ScheduleList(environment=scope.place),
    opens=lambda schedule: Place("schedule", schedule.id),
    words=lambda schedule: (
        f"{schedule.id} sends {schedule.kind} {when_of(schedule)}"
        + (f", waits: {schedule.reason}" if schedule.reason else "")
    ),
)

LISTINGS: Final[dict[str, Listing]] = {
    "swarms": SWARMS,
    "swarm": SWARM,
    "agents": AGENTS,
    "agent": AGENT,
    "queue": QUEUE,
    "schedules": SCHEDULES,
    "memory": MEMORY,
    "records": RECORDS,
    "access": ACCESS,
    "bench": BENCH,
    "audit": AUDIT,
    "vault": VAULT,
    "backups": BACKUPS,
    "db": DATABASES,
    "log": LOG,
    "alerts": ALERTS,
    "health": HEALTH,
    "metrics": METRICS,
}
"""By the name of their place."""
