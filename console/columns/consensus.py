"""Proposals and conflicts."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...widgets import Column, mark_of, state_text
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, state, text, where


def proposals(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("title", width=18, grow=2),
        Column(
            "status",
            lambda view: state_text(view.status),
            width=13,
            style=lambda view: mark_of(view.status).style,
            sort=lambda view: view.status,
        ),
        Column("score", _score, width=12, align="right", style=_score_style, sort=_share),
        Column("ballots", _ballots, width=7, align="right"),
        Column("ends", lambda p: _ends(p, moment), width=8, align="right"),
        age("age", "created_at_us", moment, sort_name="newest"),
        Column("about", _about, width=14, grow=1, priority=1, style=lambda _: "muted"),
        text("type", width=10, priority=2),
        where(priority=2),
        text("proposer", width=ID_CELLS, priority=3),
        text("id", width=ID_CELLS, priority=4),
    )


def _score(view: views.ProposalView) -> str:
    said = DASH if view.score is None else f"{view.score:.0%}"
    return f"{said} of {view.threshold:.0%}"


def _share(view: views.ProposalView) -> float:
    return -1.0 if view.score is None else view.score


def _score_style(view: views.ProposalView) -> str:
    if view.score is None:
        return "muted"
    return "good" if view.score >= view.threshold else "text"


def _ballots(view: views.ProposalView) -> str:
    """For, against and abstained."""
    if not view.approve + view.reject + view.abstain:
        return DASH
    return f"{view.approve}/{view.reject}/{view.abstain}"


def _ends(view: views.ProposalView, moment: Moment) -> str:
    return DASH if view.closed_at_us else wording.left(moment.us, view.deadline_at_us)


def _about(view: views.ProposalView) -> str:
    if view.reason:
        return view.reason
    return f"{view.target_type} {view.target}" if view.target else DASH


def conflicts(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column(
            "severity",
            lambda view: view.severity,
            width=8,
            style=lambda view: _SEVERITIES[view.severity],
            sort_name="severity",
        ),
        text("title", width=16, grow=2),
        state(width=13),
        Column("between", lambda c: f"{c.one} and {c.other}", width=20, grow=1),
        Column("tries", lambda c: f"{c.attempts}/{c.threshold}", width=5, align="right"),
        age("age", "created_at_us", moment, sort_name="newest"),
        text("type", width=10, priority=1),
        Column("holder", lambda c: c.holder or DASH, width=ID_CELLS, priority=3),
        where(priority=2),
        text("id", width=ID_CELLS, priority=4),
    )


_SEVERITIES = {"low": "muted", "medium": "text", "high": "warning", "critical": "bad"}
