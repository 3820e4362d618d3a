"""Messages that have ended long enough ago are deleted, a few at a time between other work.

A pass looks through ids upwards: a message ends after it was sent, so beyond the first one that was
sent too late nothing has ended early enough. What is done has no index by time; it is met by its
id among all others. Each step looks at a bounded number of rows beside the writer and deletes a
bounded number of rows and bytes in one transaction, so that a caller behind it waits milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from ..clock import Clock
from ..settings import QueueSettings
from ..store.database import Database, Reader, Transaction
from . import steering
from .counters import Move
from .statements import CANCELLED, DEAD, DONE, EXPIRED, STATES
from .upkeep import ENGINE

PASS_EVERY_S: Final = 60.0
LOOK_ROWS: Final = 1_000
STEP_ROWS: Final = 100
STEP_BYTES: Final = 1 << 20

# NOT INDEXED: by id, whatever the planner thinks of.
SELECT_DONE: Final = """
SELECT id, state, created_at, updated_at, length(body) + ifnull(length(result), 0)
FROM message NOT INDEXED WHERE env = ? AND id > ? ORDER BY id LIMIT ?"""
SELECT_ENDED: Final = """
SELECT id, state, created_at, updated_at, length(body) + ifnull(length(result), 0)
FROM message INDEXED BY message_finished
WHERE env = ? AND state = {state} AND state >= 4 AND id > ? ORDER BY id LIMIT ?"""
SELECT_DOOMED: Final = """
SELECT id, state, target, kind, priority, created_at, holder, attempt FROM message
WHERE id = ? AND env = ? AND state = ? AND updated_at <= ?"""


class Found(NamedTuple):
    """What a look has found to delete, as id and bytes, and the id to go on after; None: the pass
    of this state is over."""

    rows: list[tuple[int, int]]
    after: int | None


class Queue(Protocol):
    def moved(self, moves: list[Move]) -> None: ...


class Retention:
    """Deletes what has ended in one queue. Belongs to the engine's loop; `is_behind` while a pass
    is not over."""

    def __init__(
        self, queue: Queue, database: Database, settings: QueueSettings, clock: Clock
    ) -> None:
        self._queue = queue
        self._database = database
        self._settings = settings
        self._clock = clock
        self._next_s = clock.monotonic_s()
        self._states: list[int] = []  # left in this pass
        self._after = 0
        self._sweeping = False

    @property
    def is_behind(self) -> bool:
        return bool(self._states)

    def take(self, settings: QueueSettings) -> None:
        """Keep what has ended as long as these say."""
        self._settings = settings

    async def sweep(self, budget_s: float) -> int:
        """Go on with a pass, or begin one when it is time; how many messages were deleted. Stops
        after about `budget_s` seconds; while another call is at it, at once. Raises StorageError,
        Corrupt."""
        if self._sweeping:
            return 0
        self._sweeping = True
        try:
            return await self._sweep(budget_s)
        finally:
            self._sweeping = False

    async def _sweep(self, budget_s: float) -> int:
        now_s = self._clock.monotonic_s()
        if not self._states:
            if now_s < self._next_s:
                return 0
            self._next_s = now_s + PASS_EVERY_S
            self._states, self._after = [DONE, DEAD, EXPIRED, CANCELLED], 0
        gone = 0
        while self._states and self._clock.monotonic_s() - now_s < budget_s:
            gone += await self._step(self._states[0])
        return gone

    async def _step(self, state: int) -> int:
        until_us = self._clock.wall_us() - int(self._keep_s(state) * 1_000_000)
        found = await self._database.read(look(state, self._after, until_us))
        gone = 0
        for idents in _parts(found.rows):
            change = clean(idents, state, until_us, self._keep_s(state))
            moves = await self._database.write(change, topic="queue", then=self._queue.moved)
            gone += len(moves)
        if found.after is None:
            self._states.pop(0)
        self._after = found.after or 0
        return gone

    def _keep_s(self, state: int) -> float:
        settings = self._settings
        kept = {DONE: settings.done_keep_s, DEAD: settings.dead_keep_s}
        return kept.get(state, settings.ended_keep_s)


def look(state: int, after: int, until_us: int) -> Callable[[Reader], Found]:
    """Which of the next messages in a state have ended by then."""
    statement = SELECT_DONE if state == DONE else SELECT_ENDED.format(state=state)

    def query(reader: Reader) -> Found:
        found: list[tuple[int, int]] = []
        passed = 0
        for ident, its_state, sent_us, ended_us, size in reader.execute(
            statement, (reader.env, after, LOOK_ROWS)
        ):
            if sent_us > until_us:
                return Found(found, None)
            passed += 1
            if its_state == state and ended_us <= until_us:
                found.append((ident, size))
        return Found(found, ident if passed == LOOK_ROWS else None)

    return query


def _parts(rows: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Ids that one transaction deletes: a bounded number, and of bounded size."""
    part: list[int] = []
    held = 0
    for ident, size in rows:
        if part and (len(part) == STEP_ROWS or held + size > STEP_BYTES):
            yield part
            part, held = [], 0
        part.append(ident)
        held += size
    if part:
        yield part


def clean(
    idents: list[int], state: int, until_us: int, keep_s: float
) -> Callable[[Transaction], list[Move]]:
    """Delete these messages, if they are still in that state and have not moved since."""

    def change(tx: Transaction) -> list[Move]:
        rows: list[tuple[Any, ...]] = []
        for ident in idents:
            row = tx.execute(SELECT_DOOMED, (ident, tx.env, state, until_us)).fetchone()
            if row is not None:
                rows.append(row)
        why = f"{STATES[state]} for {keep_s:g} s"
        return steering.delete(tx, ENGINE, "queue.clean", rows, why)

    return change
