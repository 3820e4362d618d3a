"""Actions on the engine itself: status, budgets, databases, what went wrong and why."""

from __future__ import annotations

from typing import Annotated

from .. import views
from ..model import MIN_SWARM_BYTES, Role
from .spec import Action, Contains, Limit, OptionalWhere, Where, action, arg


@action(views.Overview, query=True)
class Status(Action, frozen=True, kw_only=True, tag="status"):
    """Show the host, the environments, the swarms and the queue."""


@action(views.Done, role=Role.SYSTEM, timeout_s=400, idempotent=True, lane="background")
class Stop(Action, frozen=True, kw_only=True, tag="stop"):
    """Stop the engine that owns the data directory, with its swarms."""

    force: Annotated[bool, arg("do not wait for running work")] = False
    keep: Annotated[bool, arg("leave agents running: the next engine takes them up")] = False


@action(list[views.SettingChangeView], role=Role.SYSTEM, idempotent=True)
class Reload(Action, frozen=True, kw_only=True, tag="reload"):
    """Read the settings again; what cannot change while the engine runs is named."""


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


@action(list[views.CheckView], query=True, lane="background", timeout_s=3600)
class DatabaseCheck(Action, frozen=True, kw_only=True, tag="db.check"):
    """Check each database: its pages, or with --full every index, record and audit row too."""

    environment: OptionalWhere = None
    full: Annotated[bool, arg("read every record and compare its seal")] = False


@action(list[views.CheckView], role=Role.ADMIN, lane="background", timeout_s=3600, idempotent=True)
class DatabaseOptimize(Action, frozen=True, kw_only=True, tag="db.optimize"):
    """Give unused pages back, renew the planner's statistics, empty the write-ahead log."""

    environment: OptionalWhere = None


@action(list[views.StatementView], query=True)
class DatabaseSlow(Action, frozen=True, kw_only=True, tag="db.slow"):
    """Show the statements that took longer than the threshold, with count, p99 and plan."""

    environment: OptionalWhere = None


@action(views.Done, role=Role.SYSTEM, idempotent=True, destructive=True)
class ClockConfirm(Action, frozen=True, kw_only=True, tag="clock.confirm"):
    """Accept the host's clock after a jump: what has expired by it is deleted from now on."""


@action(list[views.PragmaView], query=True)
class DatabasePragmas(Action, frozen=True, kw_only=True, tag="db.pragmas"):
    """Show each database setting as requested and as granted."""

    environment: OptionalWhere = None


@action(list[str], query=True)
class DatabaseSchema(Action, frozen=True, kw_only=True, tag="db.schema"):
    """Show the tables and indexes of an environment's database."""

    environment: Where


@action(views.ExplanationView, query=True)
class Explain(Action, frozen=True, kw_only=True, tag="explain"):
    """Say why: a message that does not run, a swarm that is refused or ill, who holds memory."""

    subject: Annotated[
        str,
        arg(
            "message, schedule, event, swarm, agent or grant id, or an environment",
            positional=True,
        ),
    ]


@action(list[views.AlertView], query=True)
class AlertList(Action, frozen=True, kw_only=True, tag="alert.list"):
    """List what needs a person: firing alerts first, then those resolved lately."""

    environment: OptionalWhere = None
    firing: Annotated[bool, arg("only those that fire now")] = False


@action(list[views.JournalView], query=True)
class JournalList(Action, frozen=True, kw_only=True, tag="journal.list"):
    """List what has happened since the engine opened, newest first."""

    environment: OptionalWhere = None
    limit: Limit = 200
    contains: Contains = ""


Budget = Annotated[
    int, arg("memory that is its own", flag="--base", unit="size", ge=MIN_SWARM_BYTES)
]
Most = Annotated[
    int, arg("most it may hold with what it borrows", flag="--max", unit="size", ge=MIN_SWARM_BYTES)
]


@action(views.AdmissionView, query=True)
class MemoryAdmit(Action, frozen=True, kw_only=True, tag="memory.admit"):
    """Say whether a budget for an environment would fit, and what it would change."""

    environment: Where
    base_bytes: Budget
    max_bytes: Most


@action(views.AdmissionView, role=Role.SYSTEM, idempotent=True, destructive=True)
class MemoryBudget(Action, frozen=True, kw_only=True, tag="memory.budget"):
    """Change the budget of an environment; refused when it does not fit the host's plan."""

    environment: Where
    base_bytes: Budget
    max_bytes: Most
