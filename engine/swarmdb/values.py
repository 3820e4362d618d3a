"""What may be stored, and in which form: words of a column, JSON, times.

A time is text. With a zone it says when it is; without one it is local where a `T` stands in the
middle, which is how Python writes one, and UTC where a blank does, which is how SQLite does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..clock import Clock
from ..store.kin import InvalidValue

EVENT_TYPES: Final = ("spawn", "complete", "error")
STATUSES: Final = ("spawned", "running", "complete", "error")
ACTIVE: Final = ("spawned", "running")
MEMORY_TYPES: Final = ("semantic", "episodic", "context_hint")
TASK_RESULTS: Final = ("success", "failure", "timeout", "cancelled")
AGENT_METRICS: Final = ("duration", "success_rate", "error_count")
SWARM_METRICS: Final = ("health", "throughput", "latency", "resource")

DAY_US: Final = 86_400_000_000
_EPOCH_DAY: Final = 2_440_587.5  # of the count of days that SQLite's julianday() gives
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_MAX_INTEGER: Final = (1 << 63) - 1


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise InvalidValue(
            f"{name} is {str(value)[:40]!r}", hint=f"it is one of {', '.join(allowed)}"
        )
    return value


def text(name: str, value: object) -> str:
    """A name or id: any text but an empty one."""
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{name} is {str(value)[:40]!r}", hint="it is a text that is not empty")
    return value


def number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValue(f"{name} is {str(value)[:40]!r}", hint="it is a finite number")
    return float(value)


def count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_INTEGER:
        raise InvalidValue(f"{name} is {str(value)[:40]!r}", hint="it is a whole number from 0 on")
    return value


def dumped(name: str, value: object) -> str:
    """Anything that JSON can say."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"{name} is no JSON: {error}", hint="store what JSON can say") from error


def loaded(value: str | None, otherwise: Any) -> Any:  # noqa: ANN401 - whatever was stored
    """What was stored as JSON; `otherwise` for what somebody else has put there."""
    try:
        return None if value is None else json.loads(value)
    except (ValueError, RecursionError):
        return otherwise


def fields(event: object, *names: str) -> list[object]:
    """What an event says under these names. Raises InvalidValue when it does not say one."""
    said = event if isinstance(event, Mapping) else {}
    for name in names:
        if name not in said:
            raise InvalidValue(f"an event without {name}", hint=f"pass a dict with {name!r} in it")
    return [said[name] for name in names]


def moment(name: str, value: object) -> str:
    """A time as text: as it was given, if it is one. Raises InvalidValue."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and _DATE.match(value) and _is_time(value):
        return value
    raise InvalidValue(
        f"{name} is {str(value)[:40]!r}", hint="it is a time such as 2026-01-31T12:00:00"
    )


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def utc_moment(name: str, value: object) -> str:
    """A time as the tables of metrics have it: UTC, to be compared as text."""
    found = datetime.fromisoformat(moment(name, value))
    if found.tzinfo is None and "T" not in str(value):
        found = found.replace(tzinfo=UTC)
    return _plain(found.astimezone(UTC))


def utc_now(clock: Clock) -> str:
    return _plain(_now(clock))


def stored_now(clock: Clock) -> str:
    """When a row is stored, as SQLite says it where nobody does: to the second, in UTC."""
    return _now(clock).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def zoned_now(clock: Clock) -> str:
    return _now(clock).isoformat()


def local_now(clock: Clock) -> str:
    """The time as programs that write this schema have it, which read it back as such."""
    return datetime.fromtimestamp(clock.wall_us() / 1e6).isoformat()  # noqa: DTZ006 - local


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.wall_us() / 1e6, UTC)


def _plain(found: datetime) -> str:
    return found.replace(tzinfo=None).isoformat(sep=" ")


def day_number(at_us: int) -> float:
    """A time as SQLite's julianday() gives it."""
    return at_us / DAY_US + _EPOCH_DAY


def day_sql(column: str) -> str:
    """SQL for the day number of a column of times; NULL for what is no time."""
    local = (
        f"{column} LIKE '%T%' AND {column} NOT LIKE '%Z'"
        f" AND {column} NOT GLOB '*[+-][0-9][0-9]:[0-9][0-9]'"
    )
    return f"julianday({column}, CASE WHEN {local} THEN 'utc' ELSE '+0 days' END)"
