"""Alerts and what happened."""

from __future__ import annotations

from typing import Any, Final

from ...engine import views
from ...widgets import Column
from ...widgets.format import clock
from .base import ID_CELLS, NONE, Moment, age, text, where

SEVERITIES: Final = {
    "info": ("· info", "muted"),
    "warning": ("▲ warning", "warning"),
    "critical": ("✗ critical", "bad"),
}
"""How a severity is written: a symbol and a word, and its style."""


def severity(**more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of severities."""
    return Column(
        "severity",
        lambda view: SEVERITIES.get(view.severity, NONE)[0],
        width=10,
        style=lambda view: SEVERITIES.get(view.severity, NONE)[1],
        **more,
    )


def alerts(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("state", _state, width=14, style=lambda a: _STATES.get(a.state, NONE)[1]),
        severity(),
        text("rule", width=14),
        text("subject", width=ID_CELLS, priority=1),
        age("since", "since_at_us", moment),
        text("what", "detail", width=20, grow=1),
        where(priority=2),
    )


_STATES: Final = {
    "firing": ("✗ firing", "bad"),
    "acknowledged": ("· acknowledged", "warning"),
    "resolved": ("✓ resolved", "muted"),
}


def _state(alert: views.AlertView) -> str:
    return _STATES.get(alert.state, NONE)[0]


def journal(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("time", lambda event: clock(event.at_us), width=8),
        severity(),
        text("kind", width=12, priority=2),
        text("subject", width=ID_CELLS, priority=1),
        text("what happened", "text", width=24, grow=1),
        where(priority=3),
    )
