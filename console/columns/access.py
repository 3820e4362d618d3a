"""Grants, decisions, and the trail of what was done."""

from __future__ import annotations

from typing import Any, Final

from ...engine import views
from ...widgets import Column
from ...widgets.format import clock
from .base import ID_CELLS, NONE, Moment, expiry, text, where

_EFFECTS: Final = {"allow": "good", "deny": "bad"}

RISKS: Final = {
    "low": ("· low", "muted"),
    "medium": ("▪ medium", "text"),
    "high": ("▲ high", "warning"),
    "critical": ("✗ critical", "bad"),
}
"""How the risk of what was done is written, and its style."""


def grants(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("subject", width=ID_CELLS),
        Column("effect", _effect, width=7, style=lambda g: _EFFECTS.get(g.effect, "text")),
        Column("may", _letters, width=4),
        text("level", width=7),
        Column("keys", _grant_keys, width=24, grow=1),
        expiry(moment),
        text("kind", width=11, priority=2),
        Column("when", _when, width=18, priority=2),
        where(priority=1),
        text("by", "granted_by", width=12, priority=3),
        text("id", width=18, priority=4),
    )


def _grant_keys(grant: views.GrantView) -> str:
    """What records it is about: of a break-glass read one alone."""
    star = "" if grant.kind == "break-glass" else "*"
    return f"{grant.namespace}:{grant.key_prefix}{star}"


def _when(grant: views.GrantView) -> str:
    """At what times of the week it counts: `09:00-17:30 mon tue`, or always."""
    parts = [grant.hours, " ".join(grant.days)]
    if any(parts) and grant.zone != "UTC":
        parts.append(grant.zone)
    return " ".join(part for part in parts if part) or "always"


def _letters(grant: views.GrantView) -> str:
    """The rights as the matrix writes them: `rw-`."""
    rights = (("r", "read"), ("w", "write"), ("d", "delete"))
    return "".join(letter if right in grant.actions else "-" for letter, right in rights)


def _effect(grant: views.GrantView) -> str:
    return f"{'✗' if grant.effect == 'deny' else '✓'} {grant.effect}"


def audit(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("time", lambda entry: clock(entry.at_us), width=8),
        text("actor", width=ID_CELLS),
        text("action", width=15),
        Column(
            "risk",
            lambda entry: RISKS.get(entry.risk, NONE)[0],
            width=10,
            style=lambda entry: RISKS.get(entry.risk, NONE)[1],
        ),
        Column("outcome", _outcome, width=9, style=_outcome_style),
        text("object", width=16, grow=2),
        where(priority=1),
        text("detail", width=30, priority=2, grow=1),
    )


def _outcome(entry: views.AuditView | views.DecisionView) -> str:
    return "✓ allowed" if entry.allowed else "✗ denied"


def _outcome_style(entry: views.AuditView | views.DecisionView) -> str:
    return "text" if entry.allowed else "bad"


def decisions(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("subject", width=ID_CELLS),
        text("right", "action", width=7),
        Column("outcome", _outcome, width=9, style=_outcome_style),
        text("rule", width=14),
        text("why", "detail", width=20, grow=1),
        where(priority=2),
        text("level", width=8, priority=1),
    )
