"""A comparison as files: a table with a chart in text, the chart as SVG, and the rows as JSON.

Ratios are drawn on a logarithmic scale, so that twice as fast and half as fast lie equally far
from 1. A bar reaches to the median, a thin line over all rounds; `|` marks what the engine is held
to.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from ..actions import BenchBars, BenchCompare
from ..errors import InvalidInput, StorageError
from ..views import BenchView, ComparisonView
from . import machine
from .bars import LEFT_OUT, MET, MISSED

_CELLS: Final = 44
_NAME: Final = 16
_ROW: Final = 22
_LEFT: Final = 210
_WIDE: Final = 520
_RIGHT: Final = 250
_TOP: Final = 56
_INK: Final = {"": "#5b7fb4", MET: "#3d8f5f", MISSED: "#bf4a3f"}


def prepare(folder: str) -> Path:
    """The directory of a report, made where it is missing: before hours of measuring, not after.
    Raises InvalidInput where nothing can be written there."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".swarmdeck-report"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InvalidInput(f"no report can be written to {path}: {error.strerror}") from error
    return path


def keep(folder: Path, rows: Sequence[BenchView]) -> Path:
    """The results of one run as .json, beside those of before. Raises StorageError."""
    at = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"bench-{at}.json"
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def write(
    folder: Path, job: BenchCompare | BenchBars, rows: Sequence[ComparisonView]
) -> tuple[Path, ...]:
    """`compare` or `bars` as .txt, .svg and .json; those of before are replaced. Raises
    StorageError."""
    name = "compare" if isinstance(job, BenchCompare) else "bars"
    head = _head(job)
    made = {
        "txt": as_text(head, rows).encode(),
        "svg": as_svg(head, rows).encode(),
        "json": msgspec.json.format(msgspec.json.encode(rows), indent=1),
    }
    paths = []
    for kind, content in made.items():
        path = folder / f"{name}.{kind}"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        paths.append(path)
    return tuple(paths)


def _head(job: BenchCompare | BenchBars) -> list[str]:
    """What was measured where, and how busy the machine was at the end."""
    at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = "the bars" if isinstance(job, BenchBars) else ", ".join(job.peers)
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"SwarmDeck beside {what}" if isinstance(job, BenchCompare) else "SwarmDeck and its bars",
        f"{job.rounds} interleaved rounds of {job.seconds:g} s, medians; {at}",
        f"{machine.machine()}; {machine.versions()}; commit {machine.commit()[:12] or 'unknown'}",
        f"load of the last 1, 5 and 15 minutes: {load}",
    ]


# --- text -----------------------------------------------------------------------------------


def as_text(head: Sequence[str], rows: Sequence[ComparisonView]) -> str:
    """The whole report as text of about 120 columns."""
    scale = _Scale(rows)
    lines = [*head, ""]
    for name, group in _groups(rows):
        lines += [name, f"  {group[0].workload}"]
        lines += [_text_row(row, scale) for row in group]
        lines.append("")
    lines.append(f"ratio, from {scale.low:g} to {scale.high:g}, logarithmic; : is 1, | the bar")
    return "".join(f"{line}\n" for line in lines)


def _text_row(row: ComparisonView, scale: _Scale) -> str:
    if row.verdict == LEFT_OUT:
        return f"  {row.peer:{_NAME}} left out: {row.workload}"
    figures = f"{_figure(row.ours)} to {_figure(row.theirs)} {row.unit}"
    said = f"{row.ratio:8.3g}  {row.ratio_low:.3g} to {row.ratio_high:.3g}"
    return f"  {row.peer:{_NAME}} {_cells(row, scale)} {said:26} {figures} {_said(row)}".rstrip()


def _cells(row: ComparisonView, scale: _Scale) -> str:
    """A row's part of the chart, one cell a step of the scale."""
    first, middle, last = (
        round(scale.at(value) * (_CELLS - 1))
        for value in (row.ratio_low, row.ratio, row.ratio_high)
    )
    cells = ["█" if place <= middle else " " for place in range(_CELLS)]
    for place in range(first, last + 1):
        cells[place] = "▓" if place <= middle else "─"
    cells[round(scale.at(1.0) * (_CELLS - 1))] = ":"
    if row.bar is not None:
        cells[round(scale.at(row.bar) * (_CELLS - 1))] = "|"
    return "".join(cells)


def _said(row: ComparisonView) -> str:
    """The bar and what became of it."""
    if row.bar is None:
        return ""
    return f"{row.verdict}: {'at most' if row.at_most else 'at least'} {row.bar:g}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


# --- picture --------------------------------------------------------------------------------


def as_svg(head: Sequence[str], rows: Sequence[ComparisonView]) -> str:
    """The chart as a picture. It loads nothing and names no font but a common one."""
    scale = _Scale(rows)
    lines = list(_svg_lines(rows))
    height = _TOP + _ROW * (len(lines) + 2)
    width = _LEFT + _WIDE + _RIGHT
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
    )
    parts = [
        root,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _label(12, 22, head[0], weight="bold", size=16),
        _label(12, 42, head[1], ink="#666666"),
        *_axis(scale, height),
    ]
    for place, line in enumerate(lines):
        top = _TOP + _ROW * (place + 1)
        if isinstance(line, str):
            parts.append(_label(12, top + 15, line, weight="bold"))
        else:
            parts += _svg_row(line, scale, top)
    return "\n".join([*parts, "</svg>", ""])


def _svg_lines(rows: Sequence[ComparisonView]) -> Iterator[ComparisonView | str]:
    for name, group in _groups(rows):
        yield name
        yield from group


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    for tick in scale.ticks():
        left = _LEFT + scale.at(tick) * _WIDE
        ink = "#999999" if tick == 1 else "#e2e2e2"
        yield (
            f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{height - _ROW}" '
            f'stroke="{ink}"/>'
        )
        yield _label(left, height - 8, f"{tick:g}", ink="#666666", anchor="middle")


def _svg_row(row: ComparisonView, scale: _Scale, top: int) -> Iterator[str]:
    yield _label(_LEFT - 8, top + 15, row.peer, anchor="end")
    if row.verdict == LEFT_OUT:
        yield _label(_LEFT + 4, top + 15, f"left out: {row.workload}", ink="#666666")
        return
    low, middle, high = (
        scale.at(each) * _WIDE for each in (row.ratio_low, row.ratio, row.ratio_high)
    )
    ink = _INK.get(row.verdict, _INK[""])
    yield (
        f'<rect x="{_LEFT}" y="{top + 4}" width="{max(1.0, middle):.1f}" height="{_ROW - 8}" '
        f'fill="{ink}"/>'
    )
    yield (
        f'<line x1="{_LEFT + low:.1f}" x2="{_LEFT + high:.1f}" y1="{top + _ROW / 2}" '
        f'y2="{top + _ROW / 2}" stroke="#222222" stroke-width="1.5"/>'
    )
    if row.bar is not None:
        left = _LEFT + scale.at(row.bar) * _WIDE
        yield (
            f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{top + 1}" y2="{top + _ROW - 1}" '
            f'stroke="#d08a00" stroke-width="3"/>'
        )
    yield _label(_LEFT + _WIDE + 10, top + 15, f"{row.ratio:.3g}  {_said(row)}")


def _label(
    left: float,
    top: float,
    text: str,
    *,
    ink: str = "#222222",
    weight: str = "normal",
    anchor: str = "start",
    size: int = 13,
) -> str:
    return (
        f'<text x="{left:.1f}" y="{top}" fill="{ink}" font-weight="{weight}" '
        f'text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
    )


# --- both -----------------------------------------------------------------------------------


def _groups(rows: Sequence[ComparisonView]) -> Iterator[tuple[str, list[ComparisonView]]]:
    """Rows of one workload together, in the order in which each first comes."""
    groups: dict[str, list[ComparisonView]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    yield from groups.items()


class _Scale:
    """Ratios as places from 0 to 1, by their logarithm; whole powers of ten at both ends."""

    def __init__(self, rows: Sequence[ComparisonView]) -> None:
        shown = [1.0]
        for row in rows:
            shown += [value for value in (row.ratio_low, row.ratio_high, row.bar) if value]
        self._first = math.floor(math.log10(min(shown)))
        self._last = max(self._first + 1, math.ceil(math.log10(max(shown))))

    @property
    def low(self) -> float:
        return float(10.0**self._first)

    @property
    def high(self) -> float:
        return float(10.0**self._last)

    def at(self, ratio: float) -> float:
        """Where a ratio lies; what is not above nothing lies at the lower end."""
        if ratio <= 0:
            return 0.0
        place = (math.log10(ratio) - self._first) / (self._last - self._first)
        return min(1.0, max(0.0, place))

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each power of ten, to the end."""
        found = [
            digit * 10.0**power
            for power in range(self._first, self._last)
            for digit in (1.0, 2.0, 5.0)
        ]
        return [float(f"{tick:.6g}") for tick in (*found, 10.0**self._last)]
