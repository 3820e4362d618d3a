"""What was measured as charts and words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from ..engine import views
from ..engine.cli.measured import figure
from ..engine.metrics.names import title_of
from ..widgets import Curve

_DAY_S: Final = 86_400


def curves(rows: Sequence[views.SeriesView]) -> list[Curve]:
    """A chart for each series that has any value."""
    return [_curve(row) for row in rows if row.measured]


def recorded(found: views.MeasuredView, window: str) -> views.SeriesView:
    """What was recorded under a name, as a series to draw."""
    known = [value for value in found.values if value is not None]
    return views.SeriesView(
        subject=found.name,
        metric=f"{found.name} · {found.aggregate}",
        unit=found.unit if found.aggregate != "count" else "",
        window=window,
        step_s=found.step_s,
        first_at_us=found.first_at_us,
        latest=known[-1] if known else None,
        mean=found.avg,
        least=found.min,
        greatest=max(known, default=None),
        measured=len(known),
        values=found.values,
    )


def _curve(row: views.SeriesView) -> Curve:
    begins, ends = _times(row)
    return Curve(
        title=title_of(row.metric),
        values=row.values,
        highs=row.highs,
        begins=begins,
        ends=ends,
        note=_note(row),
        write=partial(figure, unit=row.unit),
        most=100.0 if row.unit == "%" and (row.greatest or 0) <= 100 else _top(row),
    )


def _top(row: views.SeriesView) -> float | None:
    """The top of a scale of bytes: a round number of them in powers of two."""
    if row.unit != "bytes":
        return None
    top = 1024
    while top < (row.greatest or 0):
        top *= 2
    return float(top)


def _note(row: views.SeriesView) -> str:
    """The latest figure, and the greatest where it was more."""
    latest = figure(row.latest, row.unit)
    most = figure(row.greatest, row.unit)
    return latest if most == latest else f"{latest}, most {most}"


def _times(row: views.SeriesView) -> tuple[str, str]:
    """When a series begins and ends: the time of day within a day, else date and time."""
    span_s = len(row.values) * row.step_s
    form = "%H:%M" if span_s <= _DAY_S else "%d %b %H:%M"
    first_s = row.first_at_us / 1_000_000
    begins, ends = (datetime.fromtimestamp(at, UTC) for at in (first_s, first_s + span_s))
    return begins.strftime(form), ends.strftime(form)
