"""Tasks, what they wait for, and the trees of that."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...widgets import Column, mark_of, state_text
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, text, where


def tasks(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column(
            "prio",
            lambda task: str(task.priority),
            width=4,
            align="right",
            sort=lambda task: task.priority,
            sort_name="urgency",
        ),
        text("title", width=16, grow=2, sort_name="title"),
        Column(
            "status",
            lambda task: state_text(_shown(task)),
            width=13,
            style=lambda task: mark_of(_shown(task)).style,
        ),
        Column("done", _done, width=5, align="right", sort_name="progress"),
        Column(
            "due",
            lambda task: _due(task, moment),
            width=9,
            align="right",
            sort_name="deadline",
            style=lambda task: "bad" if task.overdue else "text",
        ),
        Column("note", _note, width=20, grow=2, style=_note_style),
        where(priority=2),
        text("agent", width=ID_CELLS, priority=3),
        text("type", width=10, priority=5),
        age("age", "created_at_us", moment, sort_name="age", priority=5),
        text("id", width=ID_CELLS, priority=4),
    )


def _shown(task: views.TaskView) -> str:
    """A pending task can be begun, or waits."""
    if task.status != "pending":
        return task.status
    return "ready" if task.ready else "waiting"


def _done(task: views.TaskView) -> str:
    return f"{task.progress:.0f} %" if task.progress else DASH


def _due(task: views.TaskView, moment: Moment) -> str:
    if task.deadline_at_us is None or task.ended_at_us is not None:
        return DASH
    if task.deadline_at_us <= moment.us:
        return f"{wording.span((moment.us - task.deadline_at_us) / 1_000_000)} late"
    return wording.left(moment.us, task.deadline_at_us)


def _note(task: views.TaskView) -> str:
    """What matters of a task in its status: what blocks it, how many it waits for, why it came to
    nothing."""
    if task.status == "blocked":
        return "; ".join(task.blockers)
    if task.waits:
        return f"waits for {task.waits:,}"
    return task.reason


def _note_style(task: views.TaskView) -> str:
    return "warning" if task.status == "blocked" else "muted"


def nodes(_moment: Moment) -> tuple[Column[Any], ...]:
    """A tree by what stands further in; in the order of its lines."""
    return (
        Column("task", lambda node: f"{'  ' * node.depth}{node.subject}", width=28, grow=1),
        text("title", width=20, grow=2),
        Column(
            "status",
            lambda node: state_text(node.status) if node.status else DASH,
            width=13,
            style=lambda node: mark_of(node.status).style if node.status else "muted",
        ),
        text("kind", width=11),
        Column("holds", _holds, width=10, style=_holds_style),
        text("condition", width=14, grow=1, priority=3),
        text("agent", width=ID_CELLS, priority=4),
    )


def _holds(node: views.TaskNodeView | views.DependencyView) -> str:
    again = isinstance(node, views.TaskNodeView) and node.again
    return f"{node.state or DASH}{', above' if again else ''}"


def _holds_style(node: views.TaskNodeView | views.DependencyView) -> str:
    return {"met": "good", "broken": "bad", "waiting": "warning"}.get(node.state, "muted")


def dependencies(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("task", width=ID_CELLS),
        text("needs", width=ID_CELLS, grow=1),
        text("kind", width=11),
        Column("holds", _holds, width=10, style=_holds_style),
        text("condition", width=16, grow=1, priority=2),
        age("age", "created_at_us", moment, priority=4),
        text("id", width=ID_CELLS, priority=1),
        where(priority=5),
    )
