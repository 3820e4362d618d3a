"""What has happened to a message, from the audit trail.

The trail has no index by object: every commit would pay for it. But it is in the order of time and
a message knows when it was sent and when it changed last, so that a binary search over the sequence
finds the part to look through. On a busy queue that part is still long: it is read aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import NotFound
from ..store.database import Reader
from ..views import HistoryView

SELECT_TIMES: Final = "SELECT created_at, updated_at FROM message WHERE id = ? AND env = ?"
SELECT_ENDS: Final = "SELECT min(sequence), max(sequence) FROM audit"
SELECT_AT: Final = "SELECT at FROM audit WHERE sequence >= ? ORDER BY sequence LIMIT 1"
# Who has looked at it is in the trail, but not what happened to it.
SELECT_STEPS: Final = """
SELECT sequence, at, actor, action, allowed, detail FROM audit
WHERE sequence >= ? AND sequence < ? AND object = ? AND env = ?
  AND action NOT IN ('queue.show', 'queue.result', 'queue.history')
ORDER BY sequence DESC LIMIT ?"""


def history(ident: int, shown: str, limit: int) -> Callable[[Reader], list[HistoryView]]:
    """The last `limit` steps of a message, oldest first. Raises NotFound."""

    def query(reader: Reader) -> list[HistoryView]:
        times = reader.execute(SELECT_TIMES, (ident, reader.env)).fetchone()
        if times is None:
            raise NotFound(f"no message {shown}")
        first, end = _first_since(reader, times[0]), _first_since(reader, times[1] + 1)
        rows = reader.execute(SELECT_STEPS, (first, end, shown, reader.env, limit)).fetchall()
        return [
            HistoryView(
                environment=reader.env, sequence=sequence, at_us=at_us, actor=actor,
                action=action.partition(".")[2], allowed=bool(allowed), detail=detail,
            )
            for sequence, at_us, actor, action, allowed, detail in reversed(rows)
        ]  # fmt: skip

    return query


def _first_since(reader: Reader, time_us: int) -> int:
    """The sequence of the first row of that time or later, beyond the last if there is none. Rows
    that were pruned leave no gap that matters."""
    low, last = reader.execute(SELECT_ENDS).fetchone() or (None, None)
    if low is None:
        return 0
    high = last + 1
    while low < high:
        middle = (low + high) // 2
        row = reader.execute(SELECT_AT, (middle,)).fetchone()
        if row is not None and row[0] < time_us:
            low = middle + 1
        else:
            high = middle
    return int(low)
