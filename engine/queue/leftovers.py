"""Messages for somebody who has ended, or is gone for good: nobody can claim them, and they would
take the room of others. They are cancelled with the reason, in steps that hold nobody up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from ..clock import Clock
from ..store.aside import Aside
from ..store.database import Database, Reader, Transaction
from .counters import Counters, Move
from .line import Directory
from .statements import CANCELLED, READY
from .upkeep import ENGINE

STEP_ROWS: Final = 100  # messages one transaction cancels: callers wait behind it
MOST: Final = 2_000  # of one call: an engine that ends must not wait longer. The rest follows
GONE_S: Final = 300.0  # nobody has this id for so long: recovery may still hand its messages on

# Beside the writer; ready ones by their index, delayed ones among all that are delayed.
SELECT_IDENTS: Final = """
SELECT id FROM message INDEXED BY message_ready
WHERE env = ?1 AND target IN (SELECT value FROM json_each(?2)) AND state = 0
UNION ALL
SELECT id FROM message INDEXED BY message_delayed
WHERE env = ?1 AND target IN (SELECT value FROM json_each(?2)) AND state = 1
LIMIT ?3"""
SELECT_ONE: Final = """
SELECT id, state, target, kind, priority, created_at FROM message
WHERE id = ? AND env = ? AND state < 2"""
CANCEL: Final = """
UPDATE message SET state = 6, due_at = NULL, error = ?, updated_at = max(?, updated_at + 1)
WHERE id = ?"""


class Queue(Protocol):
    @property
    def counters(self) -> Counters: ...
    def moved(self, moves: Sequence[Move]) -> None: ...


class Leftovers:
    """Cancels in one queue what nobody will claim. Belongs to the engine's loop; `shown` makes an
    id of a number."""

    def __init__(
        self,
        queue: Queue,
        database: Database,
        directory: Directory,
        clock: Clock,
        shown: Callable[[int], str],
    ) -> None:
        self._queue = queue
        self._database = database
        self._aside = Aside(database)
        self._directory = directory
        self._clock = clock
        self._shown = shown
        self._gone_since_s: dict[str, float] = {}  # ids that nobody has, while they have messages

    async def cancel(self, targets: Sequence[str], why: str) -> int:
        """Cancel what is ready or delayed for any of `targets`, up to MOST; how many messages.
        Raises StorageError, Unavailable; what was cancelled before stays so."""
        wanted = msgspec.json.encode(targets).decode()

        def look(reader: Reader) -> list[int]:
            rows = reader.execute(SELECT_IDENTS, (reader.env, wanted, MOST)).fetchall()
            return [row[0] for row in rows]

        idents, count = await self._aside.read(look), 0
        for start in range(0, len(idents), STEP_ROWS):
            part = idents[start : start + STEP_ROWS]
            change = cancel(part, frozenset(targets), why, self._shown)
            moves = await self._database.write(change, topic="queue", then=self._queue.moved)
            count += len(moves)
        return count

    async def sweep(self) -> None:
        """Cancel what came for somebody after the end, or was left by an engine that died. Raises
        as `cancel` does."""
        for why, target in self._left():
            await self.cancel([target], why)

    def _left(self) -> list[tuple[str, str]]:
        """Whose ready messages nobody can claim, and why."""
        now_s, directory = self._clock.monotonic_s(), self._directory
        found, gone = [], {}
        for target in self._queue.counters.lanes.filled():
            if not target:
                continue
            if why := directory.ended(target):
                found.append((why, target))
            elif not directory.knows(target):
                gone[target] = since_s = self._gone_since_s.get(target, now_s)
                if now_s - since_s >= GONE_S:
                    found.append((f"nobody is called {target} any more", target))
        self._gone_since_s = gone
        return found


def cancel(
    idents: Sequence[int], targets: frozenset[str], why: str, shown: Callable[[int], str]
) -> Callable[[Transaction], list[Move]]:
    """Cancel those of these messages that still wait for one of `targets`."""

    def change(tx: Transaction) -> list[Move]:
        moves = []
        for ident in idents:
            row = tx.execute(SELECT_ONE, (ident, tx.env)).fetchone()
            if row is None or row[2] not in targets:
                continue  # somebody was quicker
            _, state, *lane = row
            tx.execute(CANCEL, (why, tx.now_us, ident))
            was = "ready" if state == READY else "delayed"
            tx.audit(ENGINE, "queue.cancel", shown(ident), detail=f"was {was}: {why}")
            moves.append(Move(ident, state, CANCELLED, *lane))
        return moves

    return change
