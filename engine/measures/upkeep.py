"""Samples grow old: seconds are put together to minutes and these to hours, what is older than its
series keeps is deleted, and so are series that have nothing left.

Each step is one transaction over a bounded number of rows, so that a caller behind it waits
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..store.database import Reader, Transaction
from . import buckets
from .asking import FINE_FOR_S
from .buckets import READ, WRITE, Bucket
from .rows import STEPS_S

STEP_ROWS: Final = 200
LOOK_SERIES: Final = 200
ENGINE: Final = "engine"

_OLD: Final = f"""
SELECT measure, at, {buckets.COLUMNS} FROM sample INDEXED BY sample_age
WHERE env = ? AND step_s = ? AND at < ? ORDER BY at LIMIT ?"""  # noqa: S608 - constants
_DELETE: Final = "DELETE FROM sample WHERE env = ? AND measure = ? AND step_s = ? AND at = ?"
_SERIES: Final = """
SELECT id, keep_s, updated_at FROM measure WHERE env = ? AND id > ? ORDER BY id LIMIT ?"""
_EXPIRED: Final = """
SELECT step_s, at FROM sample WHERE env = ? AND measure = ? AND step_s = ? AND at < ?
ORDER BY at LIMIT ?"""
_EMPTY: Final = """
DELETE FROM measure WHERE id = ? AND updated_at < ?
  AND NOT EXISTS (SELECT 1 FROM sample WHERE env = ? AND measure = measure.id)"""


class Found(NamedTuple):
    """Samples that are too old, as series, step and time; series that nothing was recorded in for
    longer than they keep it, with the time before which that is; and the series to go on after,
    None at the end."""

    samples: list[tuple[int, int, int]]
    silent: list[tuple[int, int]]
    after: int | None


def thin(level: int) -> Callable[[Transaction], int]:
    """Put old samples of STEPS_S[level] together to those of the next length; how many rows went,
    STEP_ROWS at most."""
    step_s, coarse_s = STEPS_S[level], STEPS_S[level + 1]
    coarse_us = coarse_s * 1_000_000

    def change(tx: Transaction) -> int:
        # Whole steps of the coarser length alone: nothing is added to them any more.
        until_us = (tx.now_us - FINE_FOR_S[level] * 1_000_000) // coarse_us * coarse_us
        old = tx.execute(_OLD, (tx.env, step_s, until_us, STEP_ROWS)).fetchall()
        merged: dict[tuple[int, int], Bucket] = {}
        for measure, at_us, *row in old:
            place = measure, at_us // coarse_us * coarse_us
            if place not in merged:
                merged[place] = _kept(tx, place, coarse_s, spread=row[-1] is not None)
            values: Any = tuple(row)
            merged[place].merge(values)
        tx.executemany(WRITE, [
            (tx.env, measure, coarse_s, at_us, *bucket.row)
            for (measure, at_us), bucket in merged.items()
        ])  # fmt: skip
        tx.executemany(_DELETE, [(tx.env, row[0], step_s, row[1]) for row in old])
        return len(old)

    return change


def _kept(tx: Transaction, place: tuple[int, int], step_s: int, *, spread: bool) -> Bucket:
    """What an earlier step has put together there."""
    bucket = Bucket(spread=spread)
    measure, at_us = place
    row = tx.execute(READ, (tx.env, measure, step_s, at_us)).fetchone()
    if row is not None:
        bucket.merge(row)
    return bucket


def look(after: int, now_us: int) -> Callable[[Reader], Found]:
    """What the next series keep too long."""

    def query(reader: Reader) -> Found:
        samples: list[tuple[int, int, int]] = []
        silent = []
        rows = reader.execute(_SERIES, (reader.env, after, LOOK_SERIES)).fetchall()
        for ident, keep_s, updated_us in rows:
            until_us = now_us - keep_s * 1_000_000
            for step_s in STEPS_S:
                bounds = (reader.env, ident, step_s, until_us, STEP_ROWS - len(samples))
                found = reader.execute(_EXPIRED, bounds)
                samples += [(ident, step, at_us) for step, at_us in found]
            if updated_us < until_us:
                silent.append((ident, until_us))
            if len(samples) >= STEP_ROWS:
                return Found(samples, silent, ident - 1)  # there may be more of this one
        return Found(samples, silent, rows[-1][0] if len(rows) == LOOK_SERIES else None)

    return query


def clean(found: Found) -> Callable[[Transaction], int]:
    """Delete what a look has found; how many series went with it."""

    def change(tx: Transaction) -> int:
        tx.executemany(_DELETE, [(tx.env, *each) for each in found.samples])
        gone = 0
        for ident, until_us in found.silent:
            gone += tx.execute(_EMPTY, (ident, until_us, tx.env)).rowcount
        if gone:
            tx.audit(ENGINE, "metric.clean", f"{gone} series")
        return gone

    return change
