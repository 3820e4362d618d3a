"""Charts of what was measured over time, drawn by plotext for `--plot` and `--svg`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..engine import views
from ..engine.cli.measured import figure
from ..engine.metrics.names import title_of
from ..engine.text import safe_text
from . import plots

if TYPE_CHECKING:
    from ..widgets.cells import Line

HEIGHT: Final = 10
_MARKS: Final = 5  # along the time axis
_DAY_US: Final = 86_400_000_000


def draw(rows: Sequence[views.SeriesView], width: int) -> list[Line]:
    """A chart for each series that has a value, `width` cells wide (at least plots.MIN_WIDTH).
    Where a step stands for several measurements the greatest are dotted above."""
    width = max(plots.MIN_WIDTH, width)
    lines: list[Line] = []
    for row in rows:
        if row.measured:
            lines += [_heading(row), *_chart(row, width), ()]
    return lines[:-1]


def times(row: views.SeriesView, marks: int) -> list[tuple[int, str]]:
    """Evenly spread steps of a series, by number, and when they were: the time of day within a
    day, else the date."""
    last = len(row.values) - 1
    steps = sorted({last * mark // max(1, marks - 1) for mark in range(marks)})
    form = "%H:%M" if row.step_s * last * 1_000_000 <= _DAY_US else "%d %b"
    return [(step, _when(row, step).strftime(form)) for step in steps]


def unbroken(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The stretches between gaps: number and value of each step."""
    found: list[list[tuple[int, float]]] = [[]]
    for step, value in enumerate(values):
        if value is not None:
            found[-1].append((step, value))
        elif found[-1]:
            found.append([])
    return [part for part in found if part]


def _when(row: views.SeriesView, step: int) -> datetime:
    return datetime.fromtimestamp(row.first_at_us / 1_000_000 + step * row.step_s, UTC)


def _heading(row: views.SeriesView) -> Line:
    said = ", ".join(
        f"{word} {figure(value, row.unit)}"
        for word, value in (("latest", row.latest), ("mean", row.mean), ("most", row.greatest))
    )
    return (
        (f"{safe_text(row.subject)}: {title_of(row.metric)}", "title bold"),
        (f"  {said}", "muted"),
    )


def _chart(row: views.SeriesView, width: int) -> list[Line]:
    """The means, and above them the greatest, over the time; a gap stays one."""
    drawn = plots.figure(width, HEIGHT)
    for values, marker in ((row.highs, "dot"), (row.values, "braille")):
        for part in unbroken(values):
            signal = drawn.signal([x for x, _ in part], [y for _, y in part], marker=marker)
            drawn.draw(signal.lines() if len(part) > 1 else signal)
    top = max(row.greatest or 0.0, 1e-9)
    drawn.ruler("y").lim(0, top)
    drawn.ruler("y").ticks([0, top / 2, top], [figure(y, row.unit) for y in (0, top / 2, top)])
    marks = times(row, _MARKS)
    drawn.ruler("x").lim(0, max(1, len(row.values) - 1))
    drawn.ruler("x").ticks([x for x, _ in marks], [text for _, text in marks])
    return plots.built(drawn)
