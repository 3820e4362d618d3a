"""`ChartGrid`: small charts of what happened over a window of time, as many as fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import ClassVar, Final

import msgspec
from textual.binding import Binding, BindingType

from .cells import Line, Span, fit, width_of
from .chart import Raster, round_up
from .linewidget import LineWidget

LEAST_HEIGHT: Final = 6  # title, four lines of dots, times
_COLUMNS: Final = ((150, 3), (76, 2), (0, 1))
_AXIS: Final = 10
_GAP: Final = 2
_NO: Final = math.nan
_DOTTED: Final = (1, 2)


class Curve(msgspec.Struct, frozen=True):
    """One chart: even steps of time with their means and, where a step stands for several
    measurements, their greatest. None is a gap. `begins` and `ends` say when, `note` stands beside
    the title, `write` makes words of a figure, `most` is the top of the scale where it is known."""

    title: str
    values: Sequence[float | None]
    highs: Sequence[float | None]
    begins: str
    ends: str
    note: str
    write: Callable[[float], str]
    most: float | None = None


class ChartGrid(LineWidget, can_focus=True):
    """Charts side by side and one below the other; those that do not fit are scrolled to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_by(1)", "Down", show=False, id="charts.down"),
        Binding("k,up", "scroll_by(-1)", "Up", show=False, id="charts.up"),
        Binding("g,home", "scroll_by(-1000)", "First", show=False, id="charts.first"),
        Binding("G,end", "scroll_by(1000)", "Last", show=False, id="charts.last"),
    ]

    def __init__(self, *, title: str = "", id: str | None = None) -> None:  # noqa: A002 - as Textual
        super().__init__(title=title, frame="rule", id=id)
        self._curves: Sequence[Curve] = ()
        self._said = ""
        self._top = 0

    def show(self, title: str, curves: Sequence[Curve]) -> None:
        """Show these charts."""
        self._title, self._curves, self._said = title, curves, ""
        self.rebuild()

    def say(self, title: str, text: str) -> None:
        """Say in place of the charts why there are none."""
        self._title, self._curves, self._said = title, (), text
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        self._note = ""
        if not self._curves:
            return [(), *(((f"  {text}", "muted"),) for text in self._said.splitlines())]
        columns, shown = self._across, self._down
        rows = -(-len(self._curves) // columns)
        self._top = max(0, min(self._top, rows - shown))
        first, last = self._top * columns, min(len(self._curves), (self._top + shown) * columns)
        if rows > shown:
            self._note = f"{first + 1} to {last} of {len(self._curves)}"
        height = self.body_height // min(shown, rows)
        width = (self.body_width - _GAP * (columns - 1)) // columns
        return [
            line
            for at in range(first, last, columns)
            for line in _beside(self._curves[at : min(last, at + columns)], width, height)
        ]

    @property
    def _across(self) -> int:
        fitting = next(columns for least, columns in _COLUMNS if self.body_width >= least)
        return min(fitting, len(self._curves))

    @property
    def _down(self) -> int:
        """Rows of charts that fit."""
        return max(1, self.body_height // LEAST_HEIGHT)

    def action_scroll_by(self, rows: int) -> None:
        self._top = max(0, self._top + rows)
        self.rebuild()


def _beside(curves: Sequence[Curve], width: int, height: int) -> list[Line]:
    drawn = [curve_lines(curve, width, height) for curve in curves]
    between: Span = (" " * _GAP, "text")
    return [
        tuple(chain.from_iterable((*_padded(line, width), between) for line in row))[:-1]
        for row in zip(*drawn, strict=True)
    ]


def _padded(line: Line, width: int) -> Line:
    return (*line, (" " * max(0, width - sum(width_of(text) for text, _ in line)), "text"))


def curve_lines(curve: Curve, width: int, height: int) -> list[Line]:
    """A chart of so many cells: its title, the dots beside their scale, and the times."""
    tall = max(1, height - 2)
    wide = max(1, width - _AXIS)
    known = [value for value in (*curve.values, *curve.highs) if value is not None]
    top = curve.most or round_up(max(known, default=0.0))
    raster = Raster(wide, tall, top)
    means = stretched(curve.values, 2 * wide, _mean)
    raster.leave_out([math.isnan(value) for value in means])
    raster.trace(stretched(curve.highs, 2 * wide, max), 0, "muted", _DOTTED)
    raster.trace(means, 0, "accent")
    figures = {0: curve.write(top), tall - 1: curve.write(0)} if tall > 1 else {0: curve.write(top)}
    room = max(0, wide - width_of(curve.begins))
    return [
        _titled(curve, width),
        *(_scaled(figures.get(y), raster.spans(y)) for y in range(tall)),
        ((" " * _AXIS + curve.begins + fit(curve.ends, room, "right"), "muted"),),
    ]


def _titled(curve: Curve, width: int) -> Line:
    title = fit(curve.title, min(width, width_of(curve.title)))
    room = width - width_of(title) - 2
    return ((title, "title"), (f"  {fit(curve.note, room)}" if room > 0 else "", "text"))


def _scaled(figure: str | None, dots: Line) -> Line:
    if figure is None:
        return ((" " * (_AXIS - 1) + "│", "border"), *dots)
    return ((fit(figure, _AXIS - 2, "right") + " ┤", "muted"), *dots)


def stretched(
    values: Sequence[float | None], columns: int, together: Callable[[list[float]], float]
) -> list[float]:
    """The values over so many columns: each as wide as its step is, several in one column put
    together. A gap is not a number."""
    count = len(values)
    if not count:
        return []
    found: list[float] = []
    for column in range(columns):
        first = column * count // columns
        last = max(first + 1, (column + 1) * count // columns)
        known = [value for value in values[first:last] if value is not None]
        found.append(together(known) if known else _NO)
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
