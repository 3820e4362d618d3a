"""What probes found, and how things are recovered."""

from __future__ import annotations

from typing import Any, Final

from ...engine import views
from ...widgets import Column
from .. import wording
from .base import ID_CELLS, NONE, Moment, age, place_style, text, where

_STATUSES: Final = {
    "ok": ("✓ ok", "good"),
    "suspect": ("▲ suspect", "warning"),
    "failed": ("✗ failed", "bad"),
}


def findings(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("subject", lambda finding: finding.subject, width=ID_CELLS,
               style=lambda finding: place_style(finding.subject)
               if finding.subject == finding.environment else "text"),
        text("probe", width=6),
        Column("status", lambda finding: _STATUSES.get(finding.status, NONE)[0], width=9,
               style=lambda finding: _STATUSES.get(finding.status, NONE)[1]),
        age("since", "since_at_us", moment),
        text("policy", width=10, priority=1),
        Column("tries", tries, width=6, priority=2, style=_worn),
        text("what", "detail", width=20, grow=1),
        Column("took", lambda finding: f"{finding.latency_ms:.0f} ms", width=8, align="right",
               priority=4, sort=lambda finding: finding.latency_ms),
        where(priority=3),
    )  # fmt: skip


def recoveries(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("subject", width=ID_CELLS),
        text("policy", width=10),
        text("state", width=9),
        Column("tries", tries, width=6, style=_worn),
        Column("next", lambda recovery: wording.left(moment.us, recovery.next_at_us), width=8,
               align="right", priority=1),
        text("what came of it", "outcome", width=20, grow=1),
        text("standby", width=ID_CELLS, priority=2),
        text("address", width=20, priority=3),
        where(priority=4),
    )  # fmt: skip


def tries(view: views.FindingView | views.RecoveryView) -> str:
    """Recoveries that were tried, of how many."""
    return f"{view.attempts} of {view.attempts_max}" if view.attempts else wording.DASH


def _worn(view: views.FindingView | views.RecoveryView) -> str:
    if view.attempts >= view.attempts_max:
        return "bad"
    return "warning" if view.attempts else "muted"
