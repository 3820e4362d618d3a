"""Readings as they are kept, and series over a window of time made of them.

A step of time without a reading is a gap and stays one: nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from ..views import SeriesView
from .names import unit_of
from .windows import HOUR_S, MINUTES_S

MOST_POINTS: Final = 720
LEAST_POINTS: Final = 200
"""What a window is shown in: of the steps that are kept, the longest that gives so many."""

Number: TypeAlias = int | float
Thinned: TypeAlias = tuple[float, Number, Number, int]  # mean, least, greatest, how many
Reading: TypeAlias = Number | Thinned | None

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Reading]).decode


class Row(NamedTuple):
    """One step of a subject: when it began, how long it is, names and encoded readings."""

    at_s: int
    step_s: int
    names: tuple[str, ...]
    readings: bytes


class Stat:
    """Several readings of one thing put together."""

    __slots__ = ("count", "greatest", "least", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least: Number = 0
        self.greatest: Number = 0

    def add(self, reading: Reading) -> None:
        """Take in a reading, by the number of measurements it stands for."""
        if reading is None:
            return
        if isinstance(reading, tuple):
            mean, least, greatest, count = reading
        else:
            mean = least = greatest = reading
            count = 1
        if self.count:
            self.least = min(self.least, least)
            self.greatest = max(self.greatest, greatest)
        else:
            self.least, self.greatest = least, greatest
        self.total += mean * count
        self.count += count

    @property
    def mean(self) -> float:
        """Of at least one reading."""
        return self.total / self.count

    def reading(self) -> Thinned | None:
        """As it is kept; None for a gap."""
        if not self.count:
            return None
        return _short(self.mean), self.least, self.greatest, self.count


Cell: TypeAlias = Reading | Stat


def encoded(readings: Sequence[Reading]) -> bytes:
    return _encode(readings)


def decoded(readings: bytes) -> list[Reading]:
    return _decode(readings)


def latest(row: Row) -> dict[str, Number]:
    """The readings of a row by name, without those that are missing."""
    found = zip(row.names, decoded(row.readings), strict=True)
    return {
        name: reading[0] if isinstance(reading, tuple) else reading
        for name, reading in found
        if reading is not None
    }


class Span(msgspec.Struct, frozen=True):
    """What is shown of time: steps of `step_s`, the first from `first_s` on, `count` of them."""

    first_s: int
    step_s: int
    count: int

    @property
    def end_s(self) -> int:
        return self.first_s + self.step_s * self.count


def alike(step_s: int) -> range:
    """The lengths of step that are kept as long as this one."""
    if step_s < MINUTES_S:
        return range(1, MINUTES_S)
    return range(MINUTES_S, HOUR_S) if step_s < HOUR_S else range(HOUR_S, 2 * HOUR_S)


def kept_step(window_s: int, step_s: int) -> int:
    """In which of the steps that are kept a window is read, where `step_s` is the shortest."""
    longer = [each for each in (MINUTES_S, HOUR_S) if each > step_s]
    fitting = [each for each in longer if window_s // each >= LEAST_POINTS]
    return max(fitting, default=step_s)


def span_of(window_s: int, step_s: int, now_s: int, newest_s: int | None) -> Span:
    """The span of a window that is kept in steps of `step_s`. It ends with the newest step, or
    with the one that should have been when that is too long ago: a gap at the end is seen."""
    many = max(1, -(-window_s // step_s))
    shown_s = step_s * -(-many // MOST_POINTS)
    end_s = now_s // shown_s * shown_s
    if newest_s is None or newest_s < end_s - shown_s:
        end_s -= shown_s
    elif newest_s < end_s:
        end_s = newest_s // shown_s * shown_s
    count = max(1, window_s // shown_s)
    return Span(end_s - (count - 1) * shown_s, shown_s, count)


class Weave:
    """Makes series of rows, whatever order they come in. Rows outside the span are left out. A
    step of one row keeps its reading as it is: mostly there is nothing to put together."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._cells: dict[str, list[Cell]] = {}

    def add(self, rows: Iterable[Row], wanted: frozenset[str] | None = None) -> None:
        """Take in rows; only readings that are `wanted`, None is all."""
        before: tuple[str, ...] | None = None
        places: list[tuple[int, list[Cell]]] = []
        for row in rows:
            first, last = self._covered(row)
            if first > last:
                continue
            if row.names is not before:
                before, places = row.names, self._places(row.names, wanted)
            readings = decoded(row.readings)
            for at, cells in places:
                for place in range(first, last + 1):
                    cells[place] = _with(cells[place], readings[at])

    def _covered(self, row: Row) -> tuple[int, int]:
        """The first and last step that a row says something of: several where its own is longer."""
        span = self._span
        first = (row.at_s - span.first_s) // span.step_s
        last = first + max(1, row.step_s // span.step_s) - 1
        return max(0, first), min(last, span.count - 1)

    def _places(
        self, names: Sequence[str], wanted: frozenset[str] | None
    ) -> list[tuple[int, list[Cell]]]:
        return [
            (at, self._cells.setdefault(name, [None] * self._span.count))
            for at, name in enumerate(names)
            if wanted is None or name in wanted
        ]

    def series(self, subject: str, window: str, names: Iterable[str]) -> list[SeriesView]:
        """A series for each name, also for one of which nothing was found."""
        nothing: list[Cell] = [None] * self._span.count
        return [self._view(subject, window, name, self._cells.get(name, nothing)) for name in names]

    def _view(self, subject: str, window: str, name: str, cells: Sequence[Cell]) -> SeriesView:
        whole = Stat()
        values: list[Number | None] = []
        lows: list[Number | None] = []
        highs: list[Number | None] = []
        for cell in cells:
            reading = cell.reading() if isinstance(cell, Stat) else cell
            whole.add(reading)
            if isinstance(reading, tuple):
                values.append(reading[0])
                lows.append(reading[1])
                highs.append(reading[2])
            else:
                values.append(reading)
                lows.append(reading)
                highs.append(reading)
        spread = lows != highs
        known = whole.count > 0
        return SeriesView(
            subject=subject,
            metric=name,
            unit=unit_of(name),
            window=window,
            step_s=self._span.step_s,
            first_at_us=self._span.first_s * 1_000_000,
            latest=next((value for value in reversed(values) if value is not None), None),
            mean=_short(whole.mean) if known else None,
            least=whole.least if known else None,
            greatest=whole.greatest if known else None,
            measured=sum(value is not None for value in values),
            values=tuple(values),
            lows=tuple(lows) if spread else (),
            highs=tuple(highs) if spread else (),
        )


def _with(cell: Cell, reading: Reading) -> Cell:
    """What a step holds with one more reading."""
    if cell is None:
        return reading
    if reading is None:
        return cell
    if not isinstance(cell, Stat):
        first, cell = cell, Stat()
        cell.add(first)
    cell.add(reading)
    return cell


def _short(number: float) -> Number:
    """A mean without digits that mean nothing; a whole one as a whole number."""
    if number == int(number):
        return int(number)
    return float(f"{number:.6g}")
