"""When schedules are due, over changes of the clock too."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.queue.rhythm import Rhythm, rhythm

SECOND = 1_000_000
NOW = int(datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()) * SECOND


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


def days(made: Rhythm, begin: str, zone: str, count: int) -> list[str]:
    """The next times, as a clock on the wall shows them."""
    found, now_us = [], at(begin, zone)
    for _ in range(count):
        now_us = made.after(now_us, now_us)
        local = datetime.fromtimestamp(now_us / SECOND, ZoneInfo(zone))
        found.append(local.strftime("%d %H:%M %z"))
    return found


def test_every_so_often_keeps_in_step_with_what_was_due() -> None:
    made = rhythm(60, None, "UTC", NOW)
    assert made.after(NOW) == NOW + 60 * SECOND
    assert made.after(NOW + 7 * SECOND, NOW) == NOW + 60 * SECOND
    assert made.after(NOW + 3_601 * SECOND, NOW) == NOW + 3_660 * SECOND
    assert made.after(NOW, NOW) == NOW + 60 * SECOND


def test_what_falls_into_the_hour_that_summer_time_leaves_out_comes_right_after_it() -> None:
    made = rhythm(None, "30 2 * * *", "Europe/Berlin", NOW)
    times = days(made, "2026-03-28T00:00:00", "Europe/Berlin", 3)
    assert times == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]


def test_what_falls_into_the_hour_that_comes_twice_comes_once() -> None:
    made = rhythm(None, "30 2 * * *", "Europe/Berlin", NOW)
    times = days(made, "2026-10-24T12:00:00", "Europe/Berlin", 2)
    assert times == ["25 02:30 +0200", "26 02:30 +0100"]


def test_what_comes_every_hour_comes_in_both() -> None:
    made = rhythm(None, "0 * * * *", "Europe/Berlin", NOW)
    times = days(made, "2026-10-25T01:30:00", "Europe/Berlin", 3)
    assert times == ["25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"]


def test_a_cron_expression_is_meant_in_its_zone() -> None:
    made = rhythm(None, "30  6 * *   mon-fri", "America/New_York", NOW)
    assert made.cron == "30 6 * * mon-fri"
    assert made.after(NOW) == at("2026-03-02T06:30:00", "America/New_York")


@pytest.mark.parametrize(
    ("every_s", "cron", "zone"),
    [
        (None, None, "UTC"),
        (60, "* * * * *", "UTC"),
        (0.5, None, "UTC"),
        (1e9, None, "UTC"),
        (None, "", "UTC"),
        (None, "* * * *", "UTC"),
        (None, "* * * * * *", "UTC"),
        (None, "61 * * * *", "UTC"),
        (None, "0 0 30 2 *", "UTC"),
        (None, "* * * * *" + "," * 200, "UTC"),
        (None, "* * * * *", "Mars/Olympus"),
        (None, "* * * * *", "../../etc/passwd"),
        (None, "* * * * *", ""),
        (None, "\x1b[2J * * * *", "UTC"),
    ],
)
def test_what_is_no_rhythm_is_refused(every_s: float | None, cron: str | None, zone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rhythm(every_s, cron, zone, NOW)
    assert refused.value.hint
    assert refused.value.message.isprintable()
