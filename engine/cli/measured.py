"""What was measured as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .. import views
from ..metrics.names import title_of, unit_of
from ..model import format_size
from ..text import safe_text
from .output import Cell, Shown, cell, duration, table

_NOTHING: Final = "-"
_FIGURES: Final = ("latest", "mean", "least", "greatest")


def measurements(rows: Sequence[views.MeasurementView], shown: Shown) -> str:
    """A line for each subject with its latest readings."""
    lines: list[list[Cell]] = [
        [
            (safe_text(row.subject), False),
            cell(row, "at_us", shown.now_us),
            (", ".join(_said(name, value) for name, value in row.readings.items()), False),
        ]
        for row in rows
    ]
    return table(["subject", "measured", "readings"], lines, shown.width)


def series(rows: Sequence[views.SeriesView], shown: Shown) -> str:
    """A line for each metric over the window, and how much of it was measured."""
    lines: list[list[Cell]] = [
        [
            (safe_text(row.metric), False),
            *((figure(getattr(row, name), row.unit), True) for name in _FIGURES),
            (f"{row.measured} of {len(row.values)}", True),
        ]
        for row in rows
    ]
    said = rows[0]
    over = f"{safe_text(said.window)} in steps of {duration(said.step_s)}"
    above = f"{safe_text(said.subject)}, {over}\n\n"
    return above + table(["metric", *_FIGURES, "steps measured"], lines, shown.width)


def figure(value: float | None, unit: str) -> str:
    """A reading in its unit: `12 %`, `1.5 GB`, `3.2/s`."""
    if value is None:
        return _NOTHING
    if unit == "bytes":
        return format_size(int(value))
    if unit == "s":
        return duration(value)
    number = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return safe_text(f"{number}{unit}" if unit in {"", "/s"} else f"{number} {unit}")


def _said(name: str, value: float) -> str:
    return f"{safe_text(title_of(name))} {figure(value, unit_of(name))}"
