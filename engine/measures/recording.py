"""Values are recorded by the thousand: those of one series and second become one row.

A series is made with its first value. There is an end to how many there are: a label that holds
an id or a time would make one of each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from ..acl.rows import Rows
from ..errors import Busy, Conflict, SwarmDeckError
from ..model import Environment, Level, Principal
from ..store.database import Operation, Transaction
from . import rows
from .buckets import READ, WRITE, Bucket
from .rows import SPREAD, Series

MOST_SERIES: Final = 10_000  # of one environment
MOST_OF_A_NAME: Final = 1_000

_SECOND_US: Final = 1_000_000
_FIND: Final = f"""
SELECT {rows.COLUMNS} FROM measure
WHERE env = ? AND owner = ? AND name = ? AND labels = ?"""  # noqa: S608 - constants
_OTHER: Final = "SELECT kind, unit FROM measure WHERE env = ? AND owner = ? AND name = ? LIMIT 1"
_COUNT: Final = "SELECT count(*) FROM measure WHERE env = ?"
_COUNT_NAME: Final = "SELECT count(*) FROM measure WHERE env = ? AND name = ?"
_INSERT: Final = """
INSERT INTO measure (env, name, kind, unit, labels, level, owner, team, swarm, keep_s, last,
                     created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_DROP: Final = "DELETE FROM measure WHERE id = ?"
_TOUCH: Final = "UPDATE measure SET last = ?, updated_at = ? WHERE id = ?"
_KEEP: Final = "UPDATE measure SET keep_s = ?, updated_at = ? WHERE id = ?"


class Value(msgspec.Struct, frozen=True):
    """A value of a series, and how the series is to be if there is none yet. `kind` None: a
    gauge, or whatever it is; `level` and `keep_s` None: as usual, or as they are."""

    name: str
    value: float
    labels: str
    kind: str | None
    unit: str
    level: Level | None
    keep_s: int | None


class Keeper(Protocol):
    """What recording needs of those it belongs to."""

    environment: Environment
    rows: Rows

    def level_of(self, principal: Principal) -> Level: ...


class Record(Operation):
    """Record the values of one call, all or none; answers with the numbers of their series."""

    __slots__ = ("keep_s", "keeper", "principal", "values")
    topic = "measures"
    grows = True

    def __init__(
        self, keeper: Keeper, principal: Principal, values: Sequence[Value], keep_s: int
    ) -> None:
        self.keeper = keeper
        self.principal = principal
        self.values = values
        self.keep_s = keep_s

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        outcomes: list[Any] = []
        fresh: dict[int, Bucket] = {}
        for operation in operations:
            try:
                found = operation.series(tx)
            except SwarmDeckError as error:
                outcomes.append(error)
                continue
            for each, wanted in zip(found, operation.values, strict=True):
                bucket = fresh.get(each.ident)
                if bucket is None:
                    bucket = fresh[each.ident] = Bucket(spread=each.kind in SPREAD)
                bucket.add(wanted.value)
            outcomes.append([each.ident for each in found])
        _write(tx, fresh)
        return outcomes

    def series(self, tx: Transaction) -> list[Series]:
        """The series of each value, made where there is none. Raises Conflict for another kind or
        unit, Busy beyond what there may be; then none was made."""
        known = tx.overlay(self.keeper)
        made: list[Series] = []
        found = []
        try:
            for wanted in self.values:
                place = self.principal.id, wanted.name, wanted.labels
                each = known.get(place) or self._find(tx, place)
                if each is None:
                    each = self._make(tx, wanted)
                    made.append(each)
                known[place] = each = self._agreed(tx, each, wanted)
                found.append(each)
        except SwarmDeckError:
            for each in made:
                tx.execute(_DROP, (each.ident,))
                known.pop((each.owner, each.name, each.labels), None)
            raise
        for each in made:
            shown = rows.shown(self.keeper.environment, each.ident)
            tx.audit(self.principal.id, "metric.create", shown, detail=f"{each.name} {each.labels}")
        return found

    @staticmethod
    def _find(tx: Transaction, place: tuple[str, str, str]) -> Series | None:
        row = tx.execute(_FIND, (tx.env, *place)).fetchone()
        return None if row is None else rows.series(row)

    def _make(self, tx: Transaction, wanted: Value) -> Series:
        _require_room(tx, wanted.name)
        kind, unit = self._alike(tx, wanted)
        level = self.keeper.level_of(self.principal) if wanted.level is None else wanted.level
        stands = self.keeper.rows.stand(self.principal, level)
        keep_s = wanted.keep_s or self.keep_s
        row = (tx.env, wanted.name, kind, unit, wanted.labels, int(level), stands.owner,
               stands.team, stands.swarm, keep_s, wanted.value, tx.now_us, tx.now_us)  # fmt: skip
        ident = tx.execute(_INSERT, row).lastrowid
        return Series(
            ident or 0, wanted.name, kind, unit, wanted.labels, level, stands.owner,
            stands.team, stands.swarm, keep_s, wanted.value, tx.now_us, tx.now_us,
        )  # fmt: skip

    def _alike(self, tx: Transaction, wanted: Value) -> tuple[str, str]:
        """Kind and unit of a new series: those that its source's others of the name have. That
        they are what is said is looked at with those of all series."""
        row = tx.execute(_OTHER, (tx.env, self.principal.id, wanted.name)).fetchone()
        return (wanted.kind or "gauge", wanted.unit) if row is None else (row[0], row[1])

    @staticmethod
    def _agreed(tx: Transaction, each: Series, wanted: Value) -> Series:
        """The series, if it is what a value takes it for; kept for as long as that says."""
        for what, mine, said in (
            ("kind", each.kind, wanted.kind), ("unit", each.unit, wanted.unit or None),
            ("level", each.level.name.lower(), wanted.level and wanted.level.name.lower()),
        ):  # fmt: skip
            if said is not None and said != mine:
                raise Conflict(
                    f"the {what} of {each.name} {each.labels} is {mine or 'none'}, not {said}",
                    hint="record it under another name, or delete what is there",
                )
        if each.kind == "counter" and wanted.value < 0:
            raise Conflict(f"{each.name} is a counter: it only grows", hint="use a gauge")
        if wanted.keep_s is not None and wanted.keep_s != each.keep_s:
            tx.execute(_KEEP, (wanted.keep_s, tx.now_us, each.ident))
            return msgspec.structs.replace(each, keep_s=wanted.keep_s)
        return each


def _require_room(tx: Transaction, name: str) -> None:
    for most, what, statement, bounds in (
        (MOST_SERIES, "series", _COUNT, (tx.env,)),
        (MOST_OF_A_NAME, f"series of {name}", _COUNT_NAME, (tx.env, name)),
    ):
        row = tx.execute(statement, bounds).fetchone()
        if row is not None and row[0] >= most:
            raise Busy(
                f"there are {most:,} {what} in {tx.env} already",
                hint="a label should have few values, no ids or times; delete series or names",
            )


def _write(tx: Transaction, fresh: dict[int, Bucket]) -> None:
    """Put what is new to what this second has already."""
    step_s = rows.STEPS_S[0]
    at_us = tx.now_us // _SECOND_US * _SECOND_US
    written = []
    for ident, bucket in fresh.items():
        place = (tx.env, ident, step_s, at_us)
        written.append((*place, *together(tx.execute(READ, place).fetchone(), bucket).row))
    tx.executemany(WRITE, written)
    touched = [(bucket.last, tx.now_us, ident) for ident, bucket in fresh.items()]
    tx.executemany(_TOUCH, touched)


def together(row: Any, fresh: Bucket) -> Bucket:  # noqa: ANN401 - a row of the store, or None
    """What is stored, and after it what is new."""
    if row is None:
        return fresh
    whole = Bucket(spread=fresh.sketch is not None)
    whole.merge(row)
    whole.merge(fresh.row)
    return whole
