"""Events."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...widgets import Column, mark_of, state_text
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, text, where


def events(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column(
            "prio",
            lambda event: str(event.priority),
            width=4,
            align="right",
            sort=lambda event: event.priority,
            sort_name="urgency",
        ),
        text("type", width=16, grow=1, sort_name="type"),
        Column(
            "status",
            lambda event: state_text(event.status),
            width=12,
            style=lambda event: mark_of(event.status).style,
        ),
        Column("retries", _retries, width=7, align="right"),
        age("age", "created_at_us", moment, sort_name="newest"),
        Column("note", lambda e: _note(e, moment), width=22, grow=2, style=_note_style),
        where(priority=2),
        text("source", width=ID_CELLS, priority=3),
        text("level", width=7, priority=5),
        text("id", width=ID_CELLS, priority=4),
    )


def _retries(event: views.EventView) -> str:
    return f"{event.retries}/{event.max_retries}" if event.retries or event.attempt else DASH


def _note(event: views.EventView, moment: Moment) -> str:
    """What matters of an event in its status: who holds it, when it is tried again, why it
    failed, whom it is for."""
    if event.status == "processing":
        return f"{wording.left(moment.us, event.lease_until_us)} left, {event.holder or DASH}"
    if event.status == "pending" and event.due_at_us:
        due = event.due_at_us > moment.us
        when = f"in {wording.left(moment.us, event.due_at_us)}" if due else "now"
        return f"again {when}: {event.error}"
    if event.error:
        return event.error
    if event.target:
        return f"for {event.target}"
    return ", ".join(event.tags)


def _note_style(event: views.EventView) -> str:
    return "bad" if event.error and event.status != "processing" else "muted"
