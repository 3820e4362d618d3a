"""`BrailleChart`: one to three series over time, eight dots to a cell."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from .cells import Line, Span, fit, width_of
from .format import count
from .linewidget import Frame, LineWidget

MOST_SERIES: Final = 3
_ROWS_A_CELL: Final = 4
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_GLYPHS: Final = {bits: chr(0x2800 + bits) if bits else " " for bits in range(256)}
_BASELINE: Final = 0xC0
# The dots of one column of a cell from its row `high` to its row `low`: _RUNS[half][high][low].
_RUNS: Final = [
    [
        [sum(_DOTS[row][half] for row in range(high, low + 1)) for low in range(_ROWS_A_CELL)]
        for high in range(_ROWS_A_CELL)
    ]
    for half in (0, 1)
]
_INFINITE: Final = (math.inf, -math.inf)
_AXIS: Final = 7
# The view moves on by this many cells at once. Moving by one sample would shift, and so resend,
# the whole chart every time; so seven of eight samples touch one column.
_STRIDE_CELLS: Final = 4
# In a sweep this many dot columns are free between the newest sample and the oldest one left.
_SWEEP_GAP: Final = 8
# A series is known by its stroke, not only by its colour: (dots drawn, dots left out).
_STROKES: Final = ((1, 0), (3, 2), (1, 2))
_STROKE_MARKS: Final = ("━━", "╍╍", "┅┅")


Mode: TypeAlias = Literal["scroll", "sweep"]


class Series(msgspec.Struct, frozen=True):
    name: str
    style: str = "accent"


class Threshold(msgspec.Struct, frozen=True):
    """A level drawn across the chart, with its name at the right end."""

    value: float
    label: str
    style: str = "warning"


class Stretch(NamedTuple):
    """Samples to draw side by side: the dot column of the first, its number, and their values."""

    column: int
    number: int
    values: list[float]


class Raster:
    """A field of dots, two by four to a cell, from 0 at the bottom to `top`. A line along the
    bottom is there from the beginning, and what stays at 0 leaves it as it is."""

    def __init__(self, width: int, height: int, top: float) -> None:
        self._dots = [bytearray(width) for _ in range(height)]
        self._inks = [[""] * width for _ in range(height)]
        self._labels: dict[int, Threshold] = {}
        self._width = width
        self._bottom = height * _ROWS_A_CELL - 1
        self._factor = self._bottom / top if top > 0 else 0.0
        self._dots[-1][:] = bytes((_BASELINE,)) * width
        self._inks[-1][:] = ["border"] * width

    def trace(
        self,
        values: Sequence[float],
        skip: int,
        style: str,
        stroke: tuple[int, int] = (1, 0),
        number: int = 0,
    ) -> None:
        """Draw a line through the values, one dot column each, from column `skip` on. What is not
        finite leaves a gap. The stroke's pattern goes with the samples, of which the first is the
        one of that `number`."""
        drawn, period = stroke[0], sum(stroke)
        bottom, factor, dots, inks = self._bottom, self._factor, self._dots, self._inks
        before = -1
        for x, value in enumerate(values[: 2 * self._width - skip], skip):
            if value != value or value in _INFINITE:  # noqa: PLR0124 - nan; a call costs too much
                before = -1
                continue
            y = bottom - min(bottom, max(0, int(value * factor + 0.5)))
            high, low = (y, before) if before > y else (y if before < 0 else before, y)
            before = y
            if high == bottom or (number + x - skip) % period >= drawn:
                continue  # on the line that is there, or left out by the pattern
            row = high >> 2
            if row == low >> 2:  # mostly: a step within one cell
                dots[row][x >> 1] |= _RUNS[x & 1][high & 3][low & 3]
                inks[row][x >> 1] = style
            else:
                self._run(x, high, low, style)

    def _run(self, x: int, high: int, low: int, style: str) -> None:
        """The dots of column `x` from row `high` down to row `low`, a cell at a time."""
        cell, runs = x >> 1, _RUNS[x & 1]
        first, last = high >> 2, low >> 2
        for row in range(first, last + 1):
            start = high & 3 if row == first else 0
            end = low & 3 if row == last else 3
            self._dots[row][cell] |= runs[start][end]
            self._inks[row][cell] = style

    def _row(self, value: float) -> int:
        return self._bottom - min(self._bottom, max(0, int(value * self._factor + 0.5)))

    def leave_out(self, columns: Sequence[bool]) -> None:
        """Take the line along the bottom away where dot columns are marked: nothing is not 0."""
        for x, left_out in enumerate(columns[: 2 * self._width]):
            if left_out:
                self._dots[-1][x >> 1] &= ~_DOTS[-1][x & 1]

    def level(self, threshold: Threshold) -> None:
        """Draw a level where nothing else is drawn."""
        if 0 <= threshold.value * self._factor <= self._bottom:
            self._labels[self._row(threshold.value) >> 2] = threshold

    def spans(self, y: int) -> Line:
        """One line of cells. Empty ones go with their neighbours: there is nothing to style."""
        text = self._dots[y].decode("latin-1").translate(_GLYPHS)
        inks = self._inks[y]
        if y in self._labels:
            text, inks = self._under(text, inks, self._labels[y])
        spans: list[Span] = []
        start, style = 0, ""
        for x, ink in enumerate(inks):
            if ink and ink != style:
                if style:
                    spans.append((text[start:x], style))
                    start = x
                style = ink
        return (*spans, (text[start:], style or "text"))

    def _under(self, text: str, inks: list[str], threshold: Threshold) -> tuple[str, list[str]]:
        """The line with a level where nothing else is drawn."""
        label = fit(threshold.label, min(width_of(threshold.label), self._width))
        level = ("╌" * self._width + " " + label)[-self._width :]
        shown = "".join(
            below if above == " " else above for above, below in zip(text, level, strict=True)
        )
        return shown, [ink or threshold.style for ink in inks]


class BrailleChart(LineWidget):
    """A chart of samples. The first series is drawn solid, the second dashed, the third dotted;
    the first wins a cell that several cross.

    In mode `scroll` it grows to the right and moves left by strides; in mode `sweep` it stays
    where it is and the newest sample runs over the oldest from left to right, which repaints one
    column a sample and so suits a slow line.

    `maximum` None takes the next round number above what is shown.
    """

    def __init__(  # noqa: PLR0913 - what a chart looks like
        self,
        series: Sequence[Series],
        *,
        title: str = "",
        frame: Frame | None = None,
        unit: str = "",
        capacity: int = 1024,
        maximum: float | None = None,
        thresholds: Sequence[Threshold] = (),
        mode: Mode = "scroll",
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        if not 1 <= len(series) <= MOST_SERIES:
            raise ValueError(f"a chart shows 1 to {MOST_SERIES} series, not {len(series)}")
        self._series = tuple(series)
        self._unit = unit
        self._maximum = maximum
        self._thresholds = tuple(thresholds)
        self._mode: Mode = mode
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
        """The plot with its axis, then the legend."""
        width, height = self.body_width - _AXIS, self.body_height - 1
        if width < 2 or height < 1:
            return [self._legend()]
        stretches = self._stretches
        shown = [stretches(samples, 2 * width) for samples in self._samples]
        top = self._top(shown)
        scale = top if self._count or self._maximum is not None else None
        raster = Raster(width, height, top)
        drawn = list(zip(self._series, shown, _STROKES, strict=False))
        for series, parts, stroke in reversed(drawn):
            for column, number, values in parts:
                raster.trace(values, column, series.style, stroke, number)
        for level in self._thresholds:
            raster.level(level)
        return [
            *(self._axis(y, height, scale) + raster.spans(y) for y in range(height)),
            self._legend(),
        ]

    def _stretches(self, samples: deque[float], dots: int) -> list[Stretch]:
        """The samples in view, each at its dot column."""
        oldest = self._count - len(samples)
        if self._mode == "scroll":
            stride = 2 * _STRIDE_CELLS
            start = max(0, math.ceil((self._count - dots) / stride) * stride)
            values = list(islice(samples, max(0, start - oldest), None))
            return [Stretch(max(0, oldest - start), self._count - len(values), values)]
        start = max(oldest, self._count - max(1, dots - _SWEEP_GAP))
        values = list(islice(samples, start - oldest, None))
        column = start % dots
        turn = dots - column
        return [Stretch(column, start, values[:turn]), Stretch(0, start + turn, values[turn:])]

    def _top(self, shown: list[list[Stretch]]) -> float:
        if self._maximum is not None:
            return self._maximum
        values = [
            value for parts in shown for part in parts for value in part.values
            if math.isfinite(value)
        ]  # fmt: skip
        return round_up(max([*values, *(level.value for level in self._thresholds)], default=1.0))

    def _axis(self, y: int, height: int, top: float | None) -> Line:
        """Figures at the top, the middle and the bottom, none while there is no scale; the axis
        is one thin line."""
        if top is None:
            return ((" " * (_AXIS - 2) + " │", "border"),)
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


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * 1.000001)
