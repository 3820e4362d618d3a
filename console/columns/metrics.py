"""What was measured last."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...engine.cli.measured import figure
from ...engine.metrics.names import title_of, unit_of
from ...widgets import Column
from .base import ID_CELLS, Moment, age, place_style, text

_OWN_COLUMNS = frozenset({"cpu_percent", "used_bytes"})
_NOTHING = "-"


def measurements(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("subject", lambda m: str(m.subject), width=ID_CELLS,
               style=lambda m: place_style(m.subject) if m.kind == "environment" else "text"),
        text("kind", width=11, priority=2, style=lambda _: "muted"),
        _reading("cpu", "cpu_percent"),
        _reading("memory", "used_bytes"),
        Column("more", more, width=24, grow=1, style=lambda _: "muted"),
        age("age", "at_us", moment, priority=1),
    )  # fmt: skip


def _reading(name: str, metric: str) -> Column[views.MeasurementView]:
    """A column of one reading; sorted by value."""
    return Column(
        name,
        lambda row: figure(row.readings.get(metric), unit_of(metric)),
        width=8,
        align="right",
        sort=lambda row: row.readings.get(metric, -1.0),
    )


def more(row: views.MeasurementView) -> str:
    """The readings without a column of their own that are not 0, as many as there is room for."""
    found = ", ".join(
        f"{title_of(name)} {figure(value, unit_of(name))}"
        for name, value in row.readings.items()
        if value and name not in _OWN_COLUMNS
    )
    return found or _NOTHING
