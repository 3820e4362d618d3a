"""How measurements grow old: put together into longer steps, and deleted.

A step is put together as soon as it is over, from the shorter ones in the file, so that a restart
loses nothing of it; the shorter ones are deleted later. Everything happens in pieces that take a
few milliseconds of the writer's time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ..store.database import Transaction
from . import table
from .series import Stat, decoded, encoded
from .windows import DAY_S, HOUR_S, MINUTES_S

LONGER: Final = (MINUTES_S, HOUR_S)
KEPT_S: Final = {MINUTES_S: DAY_S, HOUR_S: 7 * DAY_S}
"""How long steps shorter than this are kept; what is longer is kept as long as is set."""

DELETED_ROWS: Final = 2_000  # in one piece, or one step of time

_NEXT: Final = "SELECT min(at_s) FROM measurement WHERE step_s = ? AND at_s >= ?"
_ROWS: Final = """
SELECT measured, readings FROM measurement
WHERE step_s = ? AND at_s >= ? AND at_s < ? ORDER BY at_s"""
_FAR: Final = """
SELECT at_s FROM measurement WHERE step_s = ? ORDER BY at_s LIMIT 1 OFFSET ?"""
_DELETE: Final = "DELETE FROM measurement WHERE step_s = ? AND at_s >= ? AND at_s < ?"
_AHEAD: Final = "DELETE FROM measurement WHERE step_s = ? AND at_s > ?"
_FORGET: Final = "DELETE FROM measured WHERE seen_s < ?"


class Progress(msgspec.Struct, frozen=True):
    """How far thinning is: up to when each longer step is put together (empty: nobody has looked),
    and when names of what is no longer there were deleted. `busy`: there is more to do."""

    done: Mapping[int, int] = {}
    forgotten_s: int = 0
    busy: bool = True


def piece(
    tx: Transaction, progress: Progress, until_s: int, now_s: int, retention_s: int
) -> Progress:
    """Do one piece of what is due, where everything before `until_s` has been measured; how far it
    is when that is committed."""
    steps = table.steps(tx)
    done = progress.done or {each: _end_of_last(tx, each, now_s) for each in LONGER}
    for longer_s in LONGER:
        at_s = _due(tx, steps, longer_s, done[longer_s], until_s)
        if at_s is not None:
            put_together(tx, _shorter(steps, longer_s), at_s, longer_s)
            return Progress({**done, longer_s: at_s + longer_s}, progress.forgotten_s)
    for step_s in steps:
        if _delete(tx, step_s, _kept_since(step_s, done, now_s, retention_s)):
            return Progress(done, progress.forgotten_s)
    if now_s - progress.forgotten_s < HOUR_S:
        return Progress(done, progress.forgotten_s, busy=False)
    tx.execute(_FORGET, (now_s - retention_s - 2 * HOUR_S,))
    return Progress(done, now_s)


def went_back(tx: Transaction, now_s: int) -> Progress:
    """The clock was set back and is believed: what was measured later than now was not."""
    for step_s in table.steps(tx):
        tx.execute(_AHEAD, (step_s, now_s))
    return Progress()


def _due(
    tx: Transaction, steps: Sequence[int], longer_s: int, done_s: int, until_s: int
) -> int | None:
    """When the next step of this length begins of which all is measured; None while there is none.
    Time in which nothing was measured is passed over."""
    following = [_number(tx, _NEXT, (each, done_s)) for each in _shorter(steps, longer_s)]
    first_s = min((each for each in following if each is not None), default=until_s)
    at_s = first_s // longer_s * longer_s
    return at_s if at_s + longer_s <= until_s else None


def _kept_since(step_s: int, done: Mapping[int, int], now_s: int, retention_s: int) -> int:
    """Steps of this length before that are deleted: never before they are in a longer one."""
    longer_s = _next_longer(step_s)
    if not longer_s:
        return now_s - retention_s
    return min(now_s - min(retention_s, KEPT_S[longer_s]), done[longer_s])


def _delete(tx: Transaction, step_s: int, end_s: int) -> bool:
    """Delete the oldest steps of this length, as many as are one piece; whether there were any."""
    oldest_s = _number(tx, _NEXT, (step_s, 0))
    if oldest_s is None or oldest_s >= end_s:
        return False
    far_s = _number(tx, _FAR, (step_s, DELETED_ROWS))
    if far_s is not None:
        end_s = min(end_s, max(far_s, oldest_s + 1))
    tx.execute(_DELETE, (step_s, 0, end_s))
    return True


def put_together(tx: Transaction, shorter: Sequence[int], at_s: int, longer_s: int) -> None:
    """Write the step of this length from `at_s` on, made of the shorter ones in it."""
    stats: defaultdict[int, list[Stat]] = defaultdict(list)
    for step_s in shorter:
        for ident, readings in tx.execute(_ROWS, (step_s, at_s, at_s + longer_s)).fetchall():
            found = decoded(readings)
            held = stats[ident]
            held.extend(Stat() for _ in range(len(found) - len(held)))
            for stat, reading in zip(held, found, strict=True):
                stat.add(reading)
    rows = [(ident, encoded([stat.reading() for stat in held])) for ident, held in stats.items()]
    table.put(tx, longer_s, at_s, rows)


def _shorter(steps: Sequence[int], longer_s: int) -> list[int]:
    return [step_s for step_s in steps if _next_longer(step_s) == longer_s]


def _next_longer(step_s: int) -> int:
    """The step that this one is put together into; 0 for none."""
    return next((each for each in LONGER if step_s < each), 0)


def _end_of_last(tx: Transaction, step_s: int, now_s: int) -> int:
    last_s = table.newest(tx, step_s, now_s)
    return 0 if last_s is None else last_s + step_s


def _number(tx: Transaction, sql: str, parameters: tuple[int, ...]) -> int | None:
    row = tx.execute(sql, parameters).fetchone()
    return None if row is None or row[0] is None else int(row[0])
