"""What was measured as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .. import views
from ..metrics.names import title_of, unit_of
from ..model import format_size
from ..text import safe_text
from .output import Cell, Shown, cell, duration, heading, pairs, table

_NOTHING: Final = "-"
_RECORDED: Final = ("count", "sum", "avg", "min", "max", "last", "p50", "p95", "p99")
_SERIES: Final = ("updated_at_us", "source", "level", "keep_days", "environment")
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


def recorded(view: views.MeasuredView, shown: Shown) -> str:
    """What a name came to: the whole, then a line for each step that something was recorded in."""
    kind = f"{view.kind} of {view.series:,} series, last {duration(view.window_s)}"
    whole = [
        (name, figure(value, "" if name == "count" else view.unit))
        for name in _RECORDED
        if (value := getattr(view, name)) is not None
    ]
    step_us = view.step_s * 1_000_000
    lines: list[list[Cell]] = [
        [
            (_ago(shown.now_us - view.first_at_us - place * step_us), True),
            (figure(value, "" if view.aggregate == "count" else view.unit), True),
        ]
        for place, value in enumerate(view.values)
        if value is not None
    ]
    above = safe_text(f"{view.name}: {kind}") + "\n" + pairs(whole)
    titles = [f"steps of {duration(view.step_s)}", safe_text(view.aggregate)]
    return above + ("\n" + table(titles, lines, shown.width) if lines else "")


def measures(rows: Sequence[views.MeasureView], shown: Shown) -> str:
    """A line for each series with its labels and what was recorded last."""
    lines: list[list[Cell]] = [
        [
            (safe_text(row.name), False),
            (_labels(row), False),
            (safe_text(row.kind), False),
            (figure(row.last, row.unit), True),
            *(cell(row, name, shown.now_us) for name in _SERIES),
        ]
        for row in rows
    ]
    titles = ["name", "labels", "kind", "last", *(heading(name) for name in _SERIES)]
    return table(titles, lines, shown.width)


def measure(view: views.MeasureView, shown: Shown) -> str:
    """One series in full."""
    names = [name for name in view.__struct_fields__ if name != "labels"]
    said = [(heading(name), cell(view, name, shown.now_us)[0]) for name in names]
    return pairs([*said[:5], ("labels", _labels(view)), *said[5:]])


def _labels(row: views.MeasureView) -> str:
    found = " ".join(f"{name}={value}" for name, value in row.labels.items())
    return safe_text(found) or _NOTHING


def _ago(age_us: int) -> str:
    return f"{duration(max(0.0, age_us / 1_000_000))} ago"


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
