"""`BrailleChart`: one to three series over time, eight dots to a cell."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Final

import msgspec

from .cells import Cell, Line, Span, fit, width_of
from .format import count
from .linewidget import Frame, LineWidget

MOST_SERIES: Final = 3
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE: Final = 0x2800
_AXIS: Final = 7
# The view moves on by this many cells at once. Moving by one sample would shift, and so resend,
# the whole chart every time; so seven of eight samples touch one column.
_STRIDE_CELLS: Final = 4
# A series is known by its stroke, not only by its colour: (dots drawn, dots left out).
_STROKES: Final = ((1, 0), (3, 2), (1, 2))
_STROKE_MARKS: Final = ("━━", "╍╍", "┅┅")


class Series(msgspec.Struct, frozen=True):
    name: str
    style: str = "accent"


class Threshold(msgspec.Struct, frozen=True):
    """A level drawn across the chart, with its name at the right end."""

    value: float
    label: str
    style: str = "warning"


class BrailleChart(LineWidget):
    """A chart that grows to the right and moves left by strides. The first series is drawn solid,
    the second dashed, the third dotted; the first wins a cell that several cross.

    `maximum` None takes the next round number above what is shown.
    """

    def __init__(
        self,
        series: Sequence[Series],
        *,
        title: str = "",
        frame: Frame | None = None,
        unit: str = "",
        capacity: int = 1024,
        maximum: float | None = None,
        thresholds: Sequence[Threshold] = (),
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        if not 1 <= len(series) <= MOST_SERIES:
            raise ValueError(f"a chart shows 1 to {MOST_SERIES} series, not {len(series)}")
        self._series = tuple(series)
        self._unit = unit
        self._maximum = maximum
        self._thresholds = tuple(thresholds)
        self._samples: tuple[deque[float], ...] = tuple(deque(maxlen=capacity) for _ in series)
        self._count = 0

    def push(self, *values: float) -> None:
        """Add one sample to each series."""
        for samples, value in zip(self._samples, values, strict=True):
            samples.append(value)
        self._count += 1
        self.rebuild()

    def show(self, rows: Sequence[Sequence[float]]) -> None:
        """Replace all samples: one sequence per series, oldest first, of one length."""
        for samples, values in zip(self._samples, rows, strict=True):
            samples.clear()
            samples.extend(values)
        self._count = len(rows[0])
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """Plot, axis and, where there is room, the legend."""
        width, height = self.body_width - _AXIS, self.body_height - 1
        if width < 2 or height < 1:
            return [self._legend()]
        visible = [self._visible(samples, width) for samples in self._samples]
        top = self._top(visible)
        grid = self._draw(visible, width, height, top)
        self._draw_thresholds(grid, top)
        plot = [self._axis(y, height, top) + _spans(row) for y, row in enumerate(grid)]
        return [*plot, self._legend()]

    def _visible(self, samples: deque[float], width: int) -> tuple[int, list[float]]:
        """The number of the first sample shown, and the samples from there on."""
        stride, dots = 2 * _STRIDE_CELLS, 2 * width
        start = max(0, math.ceil((self._count - dots) / stride) * stride)
        oldest = self._count - len(samples)
        return start, list(islice(samples, max(0, start - oldest), None))

    def _top(self, visible: list[tuple[int, list[float]]]) -> float:
        if self._maximum is not None:
            return self._maximum
        shown = [value for _, values in visible for value in values if math.isfinite(value)]
        return round_up(max([*shown, *(level.value for level in self._thresholds)], default=1.0))

    def _draw(
        self, visible: list[tuple[int, list[float]]], width: int, height: int, top: float
    ) -> list[list[Cell]]:
        dots = [bytearray(width) for _ in range(height)]
        inks = [[""] * width for _ in range(height)]
        order = list(zip(self._series, visible, _STROKES, strict=False))
        for series, (start, values), stroke in reversed(order):
            first = max(start, self._count - len(values))
            for x, y in trace(values, first, stroke, height * 4 - 1, top):
                column = x + first - start
                if column >> 1 < width:
                    dots[y >> 2][column >> 1] |= _DOTS[y & 3][column & 1]
                    inks[y >> 2][column >> 1] = series.style
        return [
            [
                (chr(_BRAILLE + bits), ink) if bits else (" ", "text")
                for bits, ink in zip(*row, strict=True)
            ]
            for row in zip(dots, inks, strict=True)
        ]

    def _draw_thresholds(self, grid: list[list[Cell]], top: float) -> None:
        height, width = len(grid), len(grid[0])
        for level in self._thresholds:
            if not 0 <= level.value <= top:
                continue
            row = grid[_row(level.value, height * 4 - 1, top) >> 2]
            label = fit(level.label, min(width_of(level.label), width))
            text = "╌" * (width - width_of(label) - 1) + " " + label
            for x, glyph in enumerate(text[-width:]):
                if row[x][0] == " ":
                    row[x] = (glyph, level.style)

    def _axis(self, y: int, height: int, top: float) -> Line:
        """Figures at the top, the middle and the bottom; the axis is one thin line."""
        if y in {0, height - 1} or (height >= 5 and y == height // 2):
            share = {0: 1.0, height - 1: 0.0}.get(y, 0.5) if height > 1 else 1.0
            return ((fit(count(top * share), _AXIS - 2, "right") + " ┤", "muted"),)
        return ((" " * (_AXIS - 2) + " │", "border"),)

    def _legend(self) -> Line:
        """The last figure of each series, as many as fit whole."""
        spans: list[Span] = [(" " * (_AXIS - 1), "text")]
        room = self.body_width - _AXIS + 1
        for series, samples, stroke in zip(
            self._series, self._samples, _STROKE_MARKS, strict=False
        ):
            last = count(samples[-1] if samples else None) + self._unit
            room -= len(stroke) + width_of(series.name) + width_of(last) + 2
            if room < 0:
                break
            spans += [(stroke, series.style), (f" {series.name} ", "muted"), (f"{last}  ", "text")]
            room -= 2
        return tuple(spans)


def trace(
    values: Sequence[float], first: int, stroke: tuple[int, int], bottom: int, top: float
) -> Iterator[tuple[int, int]]:
    """Dots of one series as (column, row), joined top to bottom between samples. The stroke's
    pattern belongs to the sample's number, so it moves along with the samples."""
    on, off = stroke
    before: int | None = None
    for x, value in enumerate(values):
        if not math.isfinite(value):
            before = None
            continue
        y = _row(value, bottom, top)
        if off == 0 or (first + x) % (on + off) < on:
            reach = range(y, y + 1) if before is None else range(min(before, y), max(before, y) + 1)
            for row in reach:
                yield x, row
        before = y


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * 1.000001)


def _row(value: float, bottom: int, top: float) -> int:
    share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return bottom - round(share * bottom)


def _spans(row: list[Cell]) -> Line:
    return tuple(
        ("".join(glyph for glyph, _ in run), style)
        for style, run in ((style, list(run)) for style, run in groupby(row, lambda cell: cell[1]))
    )
