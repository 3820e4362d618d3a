"""When an entry counts: hours of the day and days of the week, in a time zone.

`22:00-06:00` passes midnight: with days, the day meant is the one on which it begins. The hour
that a change to summer time leaves out never comes, the one it repeats counts both times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from ..errors import InvalidInput
from ..model import printable

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_MINUTE_US: Final = 60_000_000
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


class Conditions:
    """Hours and days in which an entry counts. Raises InvalidInput when made of what is neither.

    All offsets of time zones are whole minutes, so what is true once is true for that minute: the
    last answer is kept with its minute, which makes most decisions a comparison.
    """

    __slots__ = ("_days", "_end", "_last", "_start", "_zone")

    def __init__(self, hours: str, days: Sequence[str], zone: str) -> None:
        self._start, self._end = _window(hours)
        self._days = _weekdays(days)
        self._zone = _tz(zone)
        self._last = (-1, False)

    def hold(self, now_us: int) -> bool:
        """Whether they are met at a time, in microseconds since the epoch."""
        minute = now_us // _MINUTE_US
        known, met = self._last
        if known != minute:
            met = self._met(datetime.fromtimestamp(minute * 60, self._zone))
            self._last = (minute, met)  # at once: two threads decide
        return met

    def _met(self, local: datetime) -> bool:
        at, day = local.hour * 60 + local.minute, local.weekday()
        if self._start < self._end:
            return self._start <= at < self._end and day in self._days
        if at >= self._start:
            return day in self._days
        return at < self._end and (day - 1) % 7 in self._days


def conditions(hours: str, days: Sequence[str], zone: str) -> Conditions | None:
    """The conditions these words put, None for none. Raises InvalidInput."""
    return Conditions(hours, days, zone) if hours or days else None


def next_minute(now_us: int) -> int:
    """When the earliest of any conditions may change."""
    return (now_us // _MINUTE_US + 1) * _MINUTE_US


def spoken(hours: str, days: Sequence[str], zone: str) -> str:
    """`09:00-17:30 mon, tue UTC`; empty without conditions."""
    when = " ".join(filter(None, (hours, ", ".join(days))))
    return f"{when} {zone or 'UTC'}" if when else ""


def _window(hours: str) -> tuple[int, int]:
    if not hours:
        return 0, _DAY_MINUTES
    found = _HOURS.fullmatch(hours)
    numbers = [int(part) for part in found.groups()] if found else [0, 0, 0, 0]
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if found is None or start == end or end > _DAY_MINUTES:
        raise InvalidInput(
            f"hours {printable(hours)} are not a time of day",
            hint="from-to, such as 09:00-17:30, or 22:00-06:00 over midnight",
        )
    return start, end


def _weekdays(days: Sequence[str]) -> frozenset[int]:
    unknown = [day for day in days if day not in DAYS]
    if unknown:
        raise InvalidInput(f"{printable(unknown[0])} is not a weekday", hint=", ".join(DAYS))
    return frozenset(map(DAYS.index, days)) or frozenset(range(7))


def _tz(zone: str) -> tzinfo:
    if zone in {"", "UTC"}:
        return UTC
    import zoneinfo  # noqa: PLC0415 - few entries name a zone, and every command imports this

    try:
        return zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"unknown time zone {printable(zone)}",
            hint="UTC, or a name such as Europe/Berlin that this host's zone files know",
        ) from None
