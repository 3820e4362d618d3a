"""What goes: events and metrics that are old, values whose time is over.

Always in small steps, so that nobody who writes waits for long. What goes by itself goes a step at
a time, each behind a write of somebody: at opening, and from then on once an hour.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, NamedTuple

from ..clock import Clock
from ..errors import SwarmDeckError
from ..store.dbapi import Outcome, Values
from .values import DAY_US, day_number, day_sql

EVERY_S: Final = 3600.0
STEP: Final = 200
"""Rows looked at in one transaction."""
METRICS: Final = ("task_metrics", "agent_metrics", "swarm_metrics")

log = logging.getLogger(__name__)

_OLD: Final = """
DELETE FROM {table} WHERE rowid IN (
    SELECT rowid FROM {table}
    WHERE timestamp < :near AND coalesce({day}, 0) < :before ORDER BY timestamp LIMIT :step)
"""
_PART: Final = f"""
SELECT max(id), count(*), max({day_sql("created_at")})
FROM (SELECT id, created_at FROM {{table}} WHERE id > ? ORDER BY id LIMIT ?)
"""  # noqa: S608 - of our own words
_OLD_PART: Final = f"""
DELETE FROM agent_events WHERE id > ? AND id <= ?
AND {day_sql("created_at")} < ? AND coalesce({day_sql("timestamp")}, 0) < ?
"""  # noqa: S608 - of our own words
_OVER: Final = f"""
DELETE FROM session_memory WHERE id > ? AND id <= ? AND ttl_hours IS NOT NULL
AND (ttl_hours <= 0 OR {day_sql("timestamp")} + ttl_hours / 24.0 <= ?)
"""  # noqa: S608 - of our own words


class Tables(NamedTuple):
    """How to read from a database and how to change it, on whichever thread."""

    ask: Callable[[str, Values], list[Any]]
    run: Callable[[str, Values], Outcome]


class _Part(NamedTuple):
    """The next rows of a table, in the order they were made in."""

    last: int
    rows: int
    newest: float


def older(tables: Tables, table: str, before_us: int) -> Iterator[int]:
    """Delete the rows whose time is before another, step by step; how many each time."""
    # Found by the index on the text; whether it is so early, the zone of each decides.
    near = datetime.fromtimestamp((before_us + 2 * DAY_US) / 1e6, UTC).strftime("%Y-%m-%d")
    values = {"near": near, "before": day_number(before_us), "step": STEP}
    sql = _OLD.format(table=table, day=day_sql("timestamp"))
    while True:
        deleted = tables.run(sql, values).changed
        yield deleted
        if deleted < STEP:
            return


def over(tables: Tables, now_us: int) -> Iterator[int]:
    """Delete the values of sessions whose time is over, step by step; how many each time."""
    after, now = 0, day_number(now_us)
    while (part := _part(tables, "session_memory", after)).rows:
        yield tables.run(_OVER, (after, part.last, now)).changed
        after = part.last


def long_stored(tables: Tables, before_us: int) -> Iterator[int]:
    """Delete events that are old and were stored as long ago, step by step. What is brought in
    from elsewhere with times of last year stays as long as what is new."""
    after, before = 0, day_number(before_us)
    while (part := _part(tables, "agent_events", after)).rows:
        yield tables.run(_OLD_PART, (after, part.last, before, before)).changed
        if part.newest >= before:
            return
        after = part.last


def _part(tables: Tables, table: str, after: int) -> _Part:
    last, rows, newest = tables.ask(_PART.format(table=table), (after, STEP))[0]
    return _Part(last or after, rows, newest or 0.0)


class Retention:
    """What goes by itself: what is older than `days`, or nothing for its age. A round is made once
    an hour, a step at a time by whoever has written, and never by two at once."""

    def __init__(self, clock: Clock, days: float | None, tables: Tables) -> None:
        self._clock = clock
        self._days = days
        self._tables = tables
        self._lock = Lock()
        self._round: Iterator[int] | None = None
        self._due_s = clock.monotonic_s()

    @property
    def due(self) -> bool:
        return self._round is not None or self._clock.monotonic_s() >= self._due_s

    def step(self) -> bool:
        """Take the next step; whether there are more. A failure is said in the log, and the next
        hour tries again: whoever wrote has written."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._next()
        except SwarmDeckError as error:
            log.warning("what is old could not be deleted: %s", error)
            self._round = None
            return False
        finally:
            self._lock.release()

    def _next(self) -> bool:
        if self._round is None:
            self._round = self._all()
            self._due_s = self._clock.monotonic_s() + EVERY_S
        if next(self._round, None) is None:
            self._round = None
        return self._round is not None

    def _all(self) -> Iterator[int]:
        now_us = self._clock.wall_us()
        yield from over(self._tables, now_us)
        if self._days is None:
            return
        before_us = now_us - int(self._days * DAY_US)
        yield from long_stored(self._tables, before_us)
        for table in METRICS:
            yield from older(self._tables, table, before_us)
