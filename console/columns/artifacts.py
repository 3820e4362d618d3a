"""Artifacts, and where they come from."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...widgets import Column, mark_of, state_text
from ..wording import DASH
from .base import ID_CELLS, Moment, age, amount, number, state, text, where


def artifacts(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=18, grow=2, sort_name="name"),
        text("type", width=13, sort_name="type"),
        Column(
            "version",
            lambda artifact: str(artifact.version),
            width=7,
            align="right",
            sort=lambda artifact: artifact.version,
            sort_name="version",
        ),
        amount("size", "size_bytes", sort_name="size"),
        Column(
            "state",
            lambda artifact: state_text(artifact.state),
            width=9,
            style=lambda artifact: mark_of(artifact.state).style,
        ),
        age("age", "created_at_us", moment, sort_name="age"),
        where(priority=1),
        text("owner", width=ID_CELLS, priority=3, sort_name="owner"),
        text("level", width=7, priority=4),
        text("format", width=8, priority=5),
        text("id", width=ID_CELLS, priority=2),
    )


def lineage(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("name", _branch, width=24, grow=2),
        text("type", width=13),
        number("version", width=7),
        amount("size", "size_bytes", priority=2),
        state(width=9),
        age("age", "created_at_us", moment, priority=1),
        text("author", width=ID_CELLS, priority=3),
        text("id", width=ID_CELLS),
    )


def _branch(step: views.LineageView) -> str:
    """The name, set in by how far it is from the one that was asked about."""
    name = step.name or DASH
    if step.depth < 0:
        return f"{'↑' * min(4, -step.depth)} {name}"
    return f"{'  ' * min(8, step.depth - 1)}└ {name}" if step.depth else f"● {name}"
