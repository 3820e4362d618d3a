"""Long looks at a database file, beside its reader.

Agents' reads share one connection and wait for each other; a look that reads many rows would
hold all of them up. It gets a connection of its own for as long as it lasts, and an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVar, cast

from ..clock import Clock
from ..errors import Corrupt, Unavailable
from . import driver
from .database import Database, Reader
from .reader import UNHELD, unheld

T = TypeVar("T")

LIGHT_ROWS: Final = 5_000  # what the shared reader passes in a few milliseconds
LIMIT_S: Final = 10.0
LOOKS_AT_ONCE: Final = 2
_CACHE_KIB: Final = 16_384
_STEPS: Final = 20_000  # of SQLite's machine between two looks at the clock: below 1 ms


class Aside:
    """Looks at one file. Not more than LOOKS_AT_ONCE at a time, each ended after `limit_s`."""

    def __init__(self, database: Database, *, limit_s: float = LIMIT_S) -> None:
        self._database = database
        self._limit_s = limit_s
        self._rooms = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def read(self, query: Callable[[Reader], T], *, rows: int | None = None) -> T:
        """Run `query` over one snapshot of the file: on the shared reader if it is to pass
        few `rows`, else aside. Raises Unavailable when it takes too long, StorageError, Corrupt.
        A caller that cancels ends it."""
        light = rows is not None and rows <= LIGHT_ROWS
        if light or self._database.is_volatile:  # nobody reads beside the writer of one in memory
            return await self._database.read(query)
        async with self._rooms:
            watch = _Watch(self._database.clock, self._limit_s)
            connection = await driver.connect(self._database.path, read_only=True)
            try:
                with self._database.pins.reading("a long look"):
                    return await connection.run(_look, self._database, query, watch)
            except driver.Error as error:
                raise self._blame(error, watch) from error
            except UNHELD as error:
                raise unheld(error) from error
            finally:
                watch.over = True
                await connection.close()

    def _blame(self, error: Exception, watch: _Watch) -> Exception:
        if watch.over:
            return Unavailable(
                f"looking through {self._database.env} took longer than {self._limit_s:g} s",
                hint="ask for less: a namespace, a prefix, a kind or a state",
            )
        found = driver.translate(error, self._database.path.name)
        if type(found) is Corrupt:
            self._database.damaged(found)
        return found


class _Watch:
    """Says when a look is over: its time is up, or nobody waits for it any more."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._end_s = clock.monotonic_s() + limit_s
        self.over = False

    def __call__(self) -> bool:
        self.over = self.over or self._clock.monotonic_s() > self._end_s
        return self.over


class _Watched(driver.Raw, Protocol):
    def set_progress_handler(self, handler: Callable[[], bool], steps: int) -> None: ...


def _look(raw: driver.Raw, database: Database, query: Callable[[Reader], T], watch: _Watch) -> T:
    raw.execute("PRAGMA query_only = 1")
    raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    cast("_Watched", raw).set_progress_handler(watch, _STEPS)
    raw.execute("BEGIN")
    try:
        reader = Reader(raw, database.env, database.slow)
        found = query(reader)
        reader.lap()
        return found
    finally:
        raw.execute("ROLLBACK")
