"""When a schedule is due: every so many seconds, or as cron expressions say.

An expression has the five fields of crontab(5): minute, hour, day of month, month, day of week. In
a time zone with summer time it goes as in Debian's cron: what falls into an hour that is left out
comes right after it, and what falls into one that is repeated comes once, unless it comes every
hour anyway.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import InvalidInput
from ..model import printable
from . import arguments

if TYPE_CHECKING:
    from datetime import tzinfo

MIN_EVERY_S: Final = 1.0
MAX_EVERY_S: Final = 366 * 86_400.0
MAX_CRON: Final = 128  # characters
LOOKS: Final = 3  # ticks passed that are not ahead: at the end of summer time one hour comes twice
FAR_YEARS: Final = 10

_HINT: Final = "five fields as in crontab: 30 6 * * mon-fri is at 06:30 from Monday to Friday"


class Rhythm(NamedTuple):
    """Either `every_us` or `cron`, which is meant in `zone`."""

    every_us: int | None
    cron: str | None
    zone: str

    def after(self, now_us: int, due_us: int | None = None) -> int:
        """The first time it is due after now, microseconds since the epoch. What comes every so
        often keeps in step with `due_us`, when it was due last. Raises InvalidInput for an
        expression that never comes."""
        if self.every_us is None:
            return _next_of_cron(self.cron or "", self.zone, now_us)
        begin_us = now_us if due_us is None else due_us
        return begin_us + ((now_us - begin_us) // self.every_us + 1) * self.every_us

    @property
    def words(self) -> str:
        """`every 60 s`, or the expression."""
        if self.every_us is not None:
            return f"every {self.every_us / 1_000_000:g} s"
        return f"{self.cron} {self.zone}"


def rhythm(every_s: float | None, cron: str | None, zone: str, now_us: int) -> Rhythm:
    """A rhythm from what somebody asks for. Raises InvalidInput."""
    if (every_s is None) == (cron is None):
        raise InvalidInput(
            "a schedule is due every so many seconds or by a cron expression",
            hint="give one of --every and --cron",
        )
    if every_s is not None:
        made = Rhythm(arguments.micros(every_s, MIN_EVERY_S, MAX_EVERY_S, "every"), None, "UTC")
    else:
        made = Rhythm(None, _expression(cron or ""), zone)
    made.after(now_us)
    return made


def _expression(cron: str) -> str:
    fields = cron.split()
    if len(fields) != 5 or len(cron) > MAX_CRON:
        raise InvalidInput(f"{printable(cron)} is no cron expression", hint=_HINT)
    return " ".join(fields)


def _next_of_cron(cron: str, zone: str, now_us: int) -> int:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - few engines have a schedule

    now = datetime.fromtimestamp(now_us // 1_000_000, _zone(zone))
    try:
        ticks = CronSim(cron, now)
    except CronSimError as error:
        raise InvalidInput(f"{printable(cron)}: {error}", hint=_HINT) from error
    for _, tick in zip(range(LOOKS), ticks, strict=False):
        next_us = int(tick.timestamp()) * 1_000_000
        if next_us > now_us and tick.year - now.year <= FAR_YEARS:
            return next_us
    raise InvalidInput(f"{printable(cron)} never comes", hint="look at its day and month")


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - as above

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = "a name such as Europe/Berlin or UTC"
        raise InvalidInput(f"unknown time zone {printable(name)}", hint=hint) from error
