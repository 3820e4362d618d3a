"""What users measure."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...engine.cli.measured import figure
from ...widgets import Column
from ..wording import DASH
from .base import ID_CELLS, Moment, age, text, where


def measures(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=18, grow=1, sort_name="name"),
        Column("labels", labels, width=16, grow=2),
        text("kind", width=9, style=lambda _: "muted"),
        Column(
            "last",
            lambda row: figure(row.last, row.unit),
            width=12,
            align="right",
            sort=lambda row: row.last,
        ),
        age("age", "updated_at_us", moment, sort_name="newest"),
        where(priority=2),
        text("source", width=ID_CELLS, priority=3),
        text("level", width=7, priority=5),
        Column("kept", lambda row: f"{row.keep_days:g} d", width=7, align="right", priority=5),
        text("id", width=ID_CELLS, priority=4),
    )


def labels(row: views.MeasureView) -> str:
    """Labels as they are typed."""
    return " ".join(f"{name}={value}" for name, value in row.labels.items()) or DASH
