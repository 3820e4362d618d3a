"""Messages."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...engine.views.queue import when_of
from ...widgets import Column
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, number, state, text, where


def messages(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        number("prio", "priority", width=4, sort_name="urgency"),
        text("kind", width=13, sort_name="kind"),
        state(),
        Column("tries", _attempts, width=5, align="right", sort_name="attempts"),
        age("age", "created_at_us", moment, sort_name="age"),
        Column("note", lambda m: _message_note(m, moment), width=26, grow=1, style=_note_style),
        where(priority=2),
        text("sender", width=ID_CELLS, priority=3),
        text("id", width=ID_CELLS, priority=4),
    )


def _attempts(message: views.MessageView) -> str:
    return f"{message.attempt}/{message.max_attempts}"


def _message_note(message: views.MessageView, moment: Moment) -> str:
    """What matters of a message in its state: who holds it, when it is due, why it died."""
    if message.state == "leased":
        return f"{wording.left(moment.us, message.lease_until_us)} left, {message.holder or DASH}"
    if message.state == "delayed":
        return f"due in {wording.left(moment.us, message.due_at_us)}"
    if message.error:
        return message.error
    return f"for {message.to}" if message.to else ""


def _note_style(message: views.MessageView) -> str:
    return "bad" if message.error and message.state != "leased" else "muted"


def schedules(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=16, grow=1),
        state(width=9),
        Column("when", when_of, width=22, grow=2),
        Column("next", lambda s: _next(s, moment), width=8, align="right", style=_next_style),
        age("last", "last_at_us", moment, priority=1),
        number("runs", width=6),
        number("skipped", width=7),
        text("kind", width=13, priority=2),
        where(priority=3),
        text("to", width=ID_CELLS, priority=5),
        text("id", width=ID_CELLS, priority=4),
    )


def _next(schedule: views.ScheduleView, moment: Moment) -> str:
    return wording.left(moment.us, schedule.next_at_us)


def _next_style(schedule: views.ScheduleView) -> str:
    return "warning" if schedule.state == "late" else "text"


def steps(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        age("age", "at_us", moment),
        text("actor", width=ID_CELLS),
        text("action", width=10),
        text("detail", width=24, grow=1),
    )
