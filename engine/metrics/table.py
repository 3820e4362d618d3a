"""The tables `measured` and `measurement`: what is written and read, on the store's threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..store.database import Reader, Transaction
from .series import Row
from .windows import HOUR_S

Names = tuple[str, ...]

# The distinct steps, each looked up behind the one before.
_STEPS: Final = """
WITH RECURSIVE kept(step_s) AS (
  SELECT min(step_s) FROM measurement
  UNION ALL SELECT (SELECT min(m.step_s) FROM measurement m WHERE m.step_s > kept.step_s)
  FROM kept WHERE kept.step_s IS NOT NULL
) SELECT step_s FROM kept WHERE step_s IS NOT NULL"""
_FIND: Final = "SELECT id FROM measured WHERE subject = ? AND names = ?"
_NAME: Final = "INSERT INTO measured (subject, names, seen_s) VALUES (?, ?, ?) RETURNING id"
_SEE: Final = "UPDATE measured SET seen_s = ? WHERE id = ? AND seen_s < ?"
_NAMED: Final = "SELECT id, names FROM measured WHERE subject = ? ORDER BY id"
_ALL_NAMED: Final = "SELECT id, subject, names FROM measured WHERE seen_s >= ?"
_PUT: Final = """
INSERT OR REPLACE INTO measurement (step_s, at_s, measured, readings) VALUES (?, ?, ?, ?)"""
# Each step is looked up: the rows that other subjects have in between are not read.
_OF_SUBJECT: Final = """
WITH RECURSIVE step(at_s) AS (
  VALUES (?) UNION ALL SELECT at_s + ? FROM step WHERE at_s + ? < ?
) SELECT m.at_s, m.readings FROM step CROSS JOIN measurement m
  ON m.step_s = ? AND m.at_s = step.at_s AND m.measured = ?"""
_OF_ALL: Final = """
SELECT at_s, measured, readings FROM measurement
WHERE step_s = ? AND at_s >= ? AND at_s < ? ORDER BY at_s"""
_NEWEST: Final = "SELECT max(at_s) FROM measurement WHERE step_s = ? AND at_s <= ?"


class Taken(NamedTuple):
    """Readings of one subject that are to be kept."""

    subject: str
    names: Names
    readings: bytes


class Found(NamedTuple):
    """What there is of a subject: every name it was ever measured by, and rows."""

    names: list[str]
    rows: list[Row]


def steps(store: Reader | Transaction) -> list[int]:
    """The lengths of step that there are rows of, in seconds, shortest first."""
    return [int(row[0]) for row in store.execute(_STEPS).fetchall()]


def newest(store: Reader | Transaction, step_s: int, now_s: int) -> int | None:
    """When the last step of this length began that is not in the future."""
    row = store.execute(_NEWEST, (step_s, now_s)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


# --- writing ----------------------------------------------------------------------------------


def write(
    tx: Transaction,
    step_s: int,
    at_s: int,
    taken: Sequence[Taken],
    known: Mapping[tuple[str, Names], int],
) -> dict[tuple[str, Names], int]:
    """Write a step; what was there of these subjects is replaced. The ids of all of them, those
    that are not `known` looked up or made."""
    ids = {
        (each.subject, each.names): known.get((each.subject, each.names))
        or _id_of(tx, each.subject, each.names, at_s)
        for each in taken
    }
    put(tx, step_s, at_s, ((ids[each.subject, each.names], each.readings) for each in taken))
    see(tx, at_s, ids.values())
    return ids


def _id_of(tx: Transaction, subject: str, names: Names, at_s: int) -> int:
    key = (subject, json.dumps(names, separators=(",", ":")))
    row = tx.execute(_FIND, key).fetchone() or tx.execute(_NAME, (*key, at_s)).fetchone()
    assert row is not None
    return int(row[0])


def put(tx: Transaction, step_s: int, at_s: int, rows: Iterable[tuple[int, bytes]]) -> None:
    """Write rows of one step, by the ids of what was measured."""
    tx.executemany(_PUT, [(step_s, at_s, ident, readings) for ident, readings in rows])


def see(tx: Transaction, at_s: int, ids: Iterable[int]) -> None:
    """Note that these are still measured: within the hour is enough."""
    tx.executemany(_SEE, [(at_s, ident, at_s - HOUR_S) for ident in ids])


# --- reading ----------------------------------------------------------------------------------


def of_subject(
    subject: str, wanted: Collection[int], since_s: int, until_s: int
) -> Callable[[Reader], Found]:
    """Rows of a subject within a time, of those lengths of step that are `wanted`."""

    def query(reader: Reader) -> Found:
        named = [
            (int(ident), tuple(json.loads(names)))
            for ident, names in reader.execute(_NAMED, (subject,)).fetchall()
        ]
        rows = [
            Row(int(at_s), step_s, names, readings)
            for step_s in (steps(reader) if named and since_s < until_s else ())
            if step_s in wanted
            for ident, names in named
            for at_s, readings in _looked_up(reader, step_s, ident, since_s, until_s)
        ]
        # Those of today first: an old name is in the series that still have it.
        return Found(list(dict.fromkeys(n for _, names in named[::-1] for n in names)), rows)

    return query


def _looked_up(
    reader: Reader, step_s: int, ident: int, since_s: int, until_s: int
) -> list[tuple[int, bytes]]:
    first_s = -(-since_s // step_s) * step_s
    if first_s >= until_s:
        return []
    bounds = (first_s, step_s, step_s, until_s, step_s, ident)
    return reader.execute(_OF_SUBJECT, bounds).fetchall()


def lately(
    wanted: Collection[int], last_s: int, now_s: int
) -> Callable[[Reader], list[tuple[str, Row]]]:
    """Subject and row of everything within `last_s` seconds before the newest step, of those
    lengths that are `wanted`, oldest first."""

    def query(reader: Reader) -> list[tuple[str, Row]]:
        kept = [step_s for step_s in steps(reader) if step_s in wanted]
        ends = [end_s for step_s in kept if (end_s := newest(reader, step_s, now_s)) is not None]
        since_s = max(ends, default=now_s) - last_s
        named = {
            int(ident): (str(subject), tuple(json.loads(names)))
            for ident, subject, names in reader.execute(_ALL_NAMED, (since_s - HOUR_S,)).fetchall()
        }
        found = [
            (named[ident][0], Row(int(at_s), step_s, named[ident][1], readings))
            for step_s in kept
            for at_s, ident, readings in reader.execute(_OF_ALL, (step_s, since_s, now_s))
        ]
        found.sort(key=lambda each: each[1].at_s)
        return found

    return query
