"""What needs a person, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...engine import actions, views
from ...engine.model import Environment
from ...widgets import Line, line
from ...widgets.format import count, size
from .. import columns
from ..columns import Moment
from ..places import Place
from .base import Listing, Scope, ident

_REMEDIES: Final = {
    "quarantined": "backups",
    "conflict-escalated": "conflicts",
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


def _about_alerts(overview: views.Overview, _scope: Scope, _moment: Moment) -> Sequence[Line]:
    engine = overview.engine
    return (
        line(("  loop ", "muted"), f"{engine.loop_lag_ms:.0f} ms late", ("   writer ", "muted"),
             f"{count(engine.writer_queue)} waiting", ("   log ", "muted"), size(engine.wal_bytes),
             ("   denied calls ", "muted"), count(overview.access.denied_calls)),
    )  # fmt: skip


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
    key=ident,
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
LOG: Final = Listing(
    title="Journal, newest first",
    columns=columns.journal,
    key=lambda event: str(event.sequence),
    empty="Nothing has happened since the engine opened.\n\nc  starts a swarm,  D  the demo",
    groups=("rows", "table", "motion"),
    query=lambda scope: actions.JournalList(environment=scope.place),
    words=lambda event: f"{event.subject}: {event.text}" if event.subject else event.text,
)
