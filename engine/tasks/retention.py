"""Tasks that ended long enough ago are deleted, a few at a time between other work.

Those that something unended still needs or is a part of stay: what has failed holds what needs it,
and must not stop doing so because it is old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..store.database import Reader, Transaction

if TYPE_CHECKING:
    from ..settings import TaskSettings
    from .service import Tasks

PASS_EVERY_S: Final = 60.0
LOOK_ROWS: Final = 500
STEP_ROWS: Final = 50
ENGINE: Final = "engine"

_FREE: Final = """
NOT EXISTS (SELECT 1 FROM dependency JOIN task AS other ON other.id = dependency.task
            WHERE dependency.env = task.env AND dependency.needs = task.id
              AND other.ended_at IS NULL)
AND NOT EXISTS (SELECT 1 FROM task AS part
                WHERE part.env = task.env AND part.parent = task.id AND part.ended_at IS NULL)"""
_LOOK: Final = f"""
SELECT ended_at, id, {_FREE} FROM task
WHERE env = ? AND ended_at IS NOT NULL AND ended_at <= ? AND (ended_at, id) > (?, ?)
ORDER BY ended_at, id LIMIT ?"""  # noqa: S608 - constants
_DELETE: Final = f"""
DELETE FROM task WHERE id = ? AND env = ? AND ended_at <= ? AND {_FREE}"""  # noqa: S608 - constants
_ORPHANED: Final = "UPDATE task SET parent = NULL WHERE env = ? AND parent = ?"

Place = tuple[int, int]  # when a task has ended, and its id


class Retention:
    """Deletes what has ended of one environment. Belongs to the engine's loop; `is_behind` while a
    pass is not over."""

    def __init__(self, tasks: Tasks, settings: TaskSettings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._next_s = tasks.clock.monotonic_s()
        self._after: Place | None = None
        self._sweeping = False

    @property
    def is_behind(self) -> bool:
        return self._after is not None

    def take(self, settings: TaskSettings) -> None:
        """Keep what has ended as long as these say."""
        self._settings = settings

    async def sweep(self, budget_s: float) -> int:
        """Go on with a pass, or begin one when it is time; how many tasks were deleted. Stops
        after about `budget_s` seconds; while another call is at it, at once. Raises StorageError,
        Corrupt."""
        began_s = self._tasks.clock.monotonic_s()
        if self._sweeping or (self._after is None and began_s < self._next_s):
            return 0
        if self._after is None:
            self._next_s = began_s + PASS_EVERY_S
        self._sweeping = True
        try:
            return await self._sweep(self._after or (0, 0), began_s + budget_s)
        finally:
            self._sweeping = False

    async def _sweep(self, after: Place, until_s: float) -> int:
        gone, at = 0, after
        while self._tasks.clock.monotonic_s() < until_s:
            gone += await self._step(at)
            if self._after is None:
                break
            at = self._after
        return gone

    async def _step(self, after: Place) -> int:
        tasks = self._tasks
        until_us = tasks.clock.wall_us() - int(self._settings.keep_s * 1_000_000)
        found = await tasks.database.read(_look(until_us, after))
        free = [ident for _, ident, is_free in found if is_free]
        gone = 0
        for at in range(0, len(free), STEP_ROWS):
            change = _clean(free[at : at + STEP_ROWS], until_us)
            idents = await tasks.database.write(change, topic="tasks", then=tasks.gone)
            gone += len(idents)
        self._after = (found[-1][0], found[-1][1]) if len(found) == LOOK_ROWS else None
        return gone


def _look(until_us: int, after: Place) -> Callable[[Reader], list[tuple[int, int, int]]]:
    def query(reader: Reader) -> list[tuple[int, int, int]]:
        bounds = (reader.env, until_us, *after, LOOK_ROWS)
        return [(row[0], row[1], row[2]) for row in reader.execute(_LOOK, bounds)]

    return query


def _clean(idents: list[int], until_us: int) -> Callable[[Transaction], list[int]]:
    """Delete those that still have ended and hold nothing; which."""

    def change(tx: Transaction) -> list[int]:
        gone = []
        for ident in idents:
            if tx.execute(_DELETE, (ident, tx.env, until_us)).rowcount:
                tx.execute(_ORPHANED, (tx.env, ident))
                gone.append(ident)
        if gone:
            detail = f"{len(gone)} that ended long ago, the last of them {gone[-1]}"
            tx.audit(ENGINE, "task.forget", tx.env, detail=detail)
        return gone

    return change
