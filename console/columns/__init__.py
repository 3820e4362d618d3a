"""What the tables show of each view: columns, their widths, words and tones, a module a noun.

Ages are reckoned from the moment of the pull, not from this process's clock, so that a row changes
only when its data does. Priority 0 columns always show; those with a higher one collapse first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ...engine import views
from ...widgets import Column
from .access import RISKS, audit, decisions, grants
from .alerts import SEVERITIES, alerts, journal
from .artifacts import artifacts, lineage
from .base import ID_CELLS, STATUSES, Moment, place_style, text, where
from .bench import VERDICTS, benchmarks
from .consensus import conflicts, proposals
from .events import events
from .health import findings, recoveries
from .host import borrowers, environments, lenders
from .measures import measures
from .metrics import measurements
from .queue import messages, schedules, steps
from .records import KeyRow, data_keys, records
from .store import backups, chains, checks, databases, statements
from .swarms import agents, swarms
from .tasks import dependencies, nodes, tasks

__all__ = [
    "BY_VIEW",
    "ID_CELLS",
    "RISKS",
    "SEVERITIES",
    "STATUSES",
    "VERDICTS",
    "KeyRow",
    "Moment",
    "agents",
    "alerts",
    "artifacts",
    "audit",
    "backups",
    "benchmarks",
    "borrowers",
    "chains",
    "checks",
    "columns_for",
    "conflicts",
    "data_keys",
    "databases",
    "decisions",
    "dependencies",
    "environments",
    "events",
    "findings",
    "grants",
    "journal",
    "lenders",
    "lineage",
    "measurements",
    "measures",
    "messages",
    "nodes",
    "place_style",
    "proposals",
    "records",
    "recoveries",
    "schedules",
    "statements",
    "steps",
    "swarms",
    "tasks",
    "where",
]

BY_VIEW: Final[dict[type[msgspec.Struct], Callable[[Moment], tuple[Column[Any], ...]]]] = {
    views.SwarmView: swarms,
    views.AgentView: agents,
    views.MessageView: messages,
    views.ScheduleView: schedules,
    views.TaskView: tasks,
    views.TaskNodeView: nodes,
    views.DependencyView: dependencies,
    views.EventView: events,
    views.ProposalView: proposals,
    views.ConflictView: conflicts,
    views.ArtifactView: artifacts,
    views.LineageView: lineage,
    views.HistoryView: steps,
    views.EnvironmentView: environments,
    views.RecordView: records,
    views.GrantView: grants,
    views.AuditView: audit,
    views.BenchView: benchmarks,
    views.DecisionView: decisions,
    views.AlertView: alerts,
    views.MeasurementView: measurements,
    views.MeasureView: measures,
    views.JournalView: journal,
    views.FindingView: findings,
    views.RecoveryView: recoveries,
    views.BackupView: backups,
    views.DatabaseView: databases,
    views.StatementView: statements,
    views.ChainView: chains,
    views.CheckView: checks,
}


def columns_for(kind: type[msgspec.Struct], moment: Moment) -> tuple[Column[Any], ...]:
    """The columns of a view; one without a table of its own shows every field."""
    made = BY_VIEW.get(kind)
    if made is not None:
        return made(moment)
    return tuple(
        text(name.replace("_", " "), name, width=14, grow=1, priority=min(9, place // 2))
        for place, name in enumerate(kind.__struct_fields__)
    )
