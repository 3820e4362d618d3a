"""Numbers as short, even words. Unknown (None) is always `-`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ..engine.model import format_size

UNKNOWN: Final = "-"
_SPANS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))
_STEPS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def size(size_bytes: int | None) -> str:
    """`512 MB`, `1.5 GB` (powers of two)."""
    return UNKNOWN if size_bytes is None else format_size(size_bytes)


def duration(seconds: float | None) -> str:
    """A span of time in its two leading units: `0.4 s`, `42 s`, `3m07s`, `2h05m`, `4d02h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, letter, part, minor in _SPANS:
        if whole >= unit:
            return f"{whole // unit}{letter}{whole % unit // part:02}{minor}"
    return f"{whole} s"


def age(seconds: float | None) -> str:
    """How long ago, without the words: whole seconds below a minute, so that it seldom changes."""
    if seconds is None:
        return UNKNOWN
    if 0 <= seconds < 59.5:
        return f"{round(seconds)} s"
    return duration(seconds)


def count(number: float | None) -> str:
    """A number of things: `9,999` in full, from there `12.3k`, `4.5M`."""
    if number is None:
        return UNKNOWN
    return f"{number:,.0f}" if abs(number) < 10_000 else _short(number)


def rate(per_second: float | None) -> str:
    """Operations a second: `0.4/s`, `12.3k/s`."""
    if per_second is None:
        return UNKNOWN
    text = f"{per_second:.1f}" if 0 < abs(per_second) < 10 else count(per_second)
    return f"{text}/s"


def percent(share: float | None) -> str:
    """A share of one: 0.236 is `24 %`."""
    return UNKNOWN if share is None else f"{share * 100:.0f} %"


def micros(microseconds: float | None) -> str:
    """A latency given in microseconds: `87 µs`, `1.2 ms`, `3.4 s`."""
    if microseconds is None:
        return UNKNOWN
    if microseconds < 999.5:
        return f"{microseconds:.0f} µs"
    if microseconds < 999_950:
        return f"{microseconds / 1e3:.1f} ms"
    return duration(microseconds / 1e6)


def clock(at_us: int | None) -> str:
    """Time of day in UTC of microseconds since the epoch: `14:03:59`."""
    return UNKNOWN if at_us is None else _utc(at_us).strftime("%H:%M:%S")


def moment(at_us: int | None) -> str:
    """Date and time in UTC of microseconds since the epoch: `2026-11-21 14:03:59`."""
    return UNKNOWN if at_us is None else _utc(at_us).strftime("%Y-%m-%d %H:%M:%S")


def _utc(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC)


def _short(number: float) -> str:
    for step, letter in _STEPS:
        if abs(number) >= step * 0.9995:
            scaled = number / step
            return f"{scaled:.0f}{letter}" if abs(scaled) >= 99.95 else f"{scaled:.1f}{letter}"
    return f"{number:.0f}"
