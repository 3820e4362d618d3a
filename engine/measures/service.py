"""What users measure in one environment: what the rest of the engine sees of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from ..acl import Access
from ..acl.rows import Rows
from ..audit.reads import Reads
from ..clock import Clock
from ..errors import InvalidInput, NotFound
from ..model import Environment, Level, Principal, Right, check_name, parse_level, printable, shown
from ..queue.arguments import text
from ..store.aside import Aside
from ..store.database import Database, Reader, Transaction
from ..views import MeasuredView, MeasureView
from . import asking, rows, upkeep
from .asking import Asked, Seen, Wish
from .recording import Record, Value

MeasureViews = list[MeasureView]
Told = Callable[[float, str], None]

KINDS: Final = ("counter", "gauge", "histogram", "timer")
KEEP_DAYS: Final = 30.0
MOST_DAYS: Final = 3_650.0
MOST_VALUES: Final = 1_000  # of one call
MOST_LABELS: Final = 8
MAX_LABEL: Final = 64  # characters
MAX_UNIT: Final = 16
DELETE_ROWS: Final = 500  # samples in one transaction
PASS_EVERY_S: Final = 60.0
CLEAN_EVERY_S: Final = 600.0
LIGHT_WINDOW_S: Final = 3_600

_ANY: Final = "SELECT EXISTS (SELECT 1 FROM measure WHERE env = ?)"
_SAMPLES: Final = "SELECT measure, step_s, at FROM sample WHERE env = ? AND measure = ? LIMIT ?"
_DELETE_SAMPLE: Final = """
DELETE FROM sample WHERE env = ? AND measure = ? AND step_s = ? AND at = ?"""
_DELETE: Final = "DELETE FROM measure WHERE id = ?"
_BY_ID: Final = f"SELECT {rows.COLUMNS} FROM measure WHERE id = ? AND env = ?"  # noqa: S608


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value as somebody wants it recorded. `kind`, `unit`, `level` and `keep_days` are those of
    the series if it is new; later they may be left out."""

    name: str
    value: float
    labels: dict[str, str] = {}
    kind: str | None = None
    unit: str = ""
    level: str | int | None = None
    keep_days: float | None = None


class Place(Protocol):
    """What measuring needs of its environment."""

    environment: Environment
    database: Database
    access: Access
    reads: Reads


class Measures:
    """All methods belong to the engine's loop. Nothing is read from the file before it is
    needed."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.environment = place.environment
        self.rows = Rows(place.access, "metric")
        self._database = place.database
        self._reads = place.reads
        self._aside = Aside(place.database)
        self._clock = clock
        self._any = False  # whether there may be series
        self._looked = False
        self._next_s = clock.monotonic_s()
        self._clean_s = clock.monotonic_s()
        self._work: list[int] = []  # levels that are to be thinned in this pass
        self._after: int | None = None

    # --- recording ---------------------------------------------------------------------------

    def record(self, principal: Principal, wanted: Sequence[Wanted]) -> asyncio.Future[list[int]]:
        """Record values as of now, all or none; answers with the numbers of their series. Raises
        InvalidInput; the answer raises Conflict for a series that is of another kind, unit or
        level, Busy beyond what series there may be, Denied for a level."""
        if not 1 <= len(wanted) <= MOST_VALUES:
            raise InvalidInput(f"{len(wanted)} values in one call", hint=f"1 to {MOST_VALUES:,}")
        values = [_checked(each) for each in wanted]
        self._any = True
        keep_s = int(KEEP_DAYS * 86_400)
        return self._database.submit(Record(self, principal, values, keep_s))

    def level_of(self, principal: Principal) -> Level:
        """For its swarm; of the operator, which has none, for all."""
        return Level.PUBLIC if principal.is_operator else Level.SWARM

    async def show(self, principal: Principal, number: int) -> MeasureView:
        """A series as it is. Raises NotFound."""

        def query(reader: Reader) -> MeasureView:
            row = reader.execute(_BY_ID, (number, reader.env)).fetchone()
            found = None if row is None else rows.series(row)
            ident = rows.shown(self.environment, number)
            self.rows.require(principal, Right.READ, found, ident)
            assert found is not None, "one that is required is there"
            return rows.view(self.environment, found)

        return await self._database.read(query)

    # --- looking -----------------------------------------------------------------------------

    async def series(
        self, principal: Principal, wanted: Wish, *, offset: int = 0, limit: int = 200
    ) -> MeasureViews:
        """A page of the series that somebody may read."""
        await self._reads.look(principal, "metric.series", self.environment.value)
        seen = Seen(self.rows, principal, self.environment)
        found = await self._aside.read(asking.page(seen, wanted, offset, limit), rows=limit)
        return [rows.view(self.environment, each) for each in found]

    async def query(self, principal: Principal, wanted: Wish, asked: Asked) -> MeasuredView:
        """What a name came to over a window. Raises NotFound, Conflict when its series are of
        several kinds, InvalidInput, Unavailable when looking takes too long."""
        if not 1 <= asked.window_s <= MOST_DAYS * 86_400:
            raise InvalidInput(f"a window of {asked.window_s} s", hint="1 s to ten years")
        await self._reads.look(principal, "metric.query", printable(wanted.name or ""))
        seen = Seen(self.rows, principal, self.environment)
        query = asking.measured(seen, wanted, asked, self._clock.wall_us())
        light = 0 if asked.window_s <= LIGHT_WINDOW_S else None
        return await self._aside.read(query, rows=light)

    # --- deleting ----------------------------------------------------------------------------

    async def delete(self, principal: Principal, wanted: Wish, told: Told) -> int:
        """Delete the series of a name with all that was recorded, of what somebody may delete; how
        many. Raises NotFound where there is none of it."""
        seen = Seen(self.rows, principal, self.environment)
        found = await self._aside.read(lambda reader: list(asking.fitting(reader, seen, wanted)))
        mine = [each for each in found if self._may_delete(principal, each)]
        if not mine:
            raise NotFound(
                f"no series of {printable(wanted.name or '')} that may be deleted",
                hint="see swarmdeck metric series",
            )
        for at, each in enumerate(mine):
            told(at / len(mine), f"{at:,} series deleted")
            change = self._deleting(principal, each)
            while not await self._database.write(change, topic="measures"):
                pass
        return len(mine)

    def _deleting(self, principal: Principal, each: rows.Series) -> Callable[[Transaction], bool]:
        """Delete some of what a series holds, with the last of it the series: is it gone?"""

        def change(tx: Transaction) -> bool:
            found = tx.execute(_SAMPLES, (tx.env, each.ident, DELETE_ROWS)).fetchall()
            tx.executemany(_DELETE_SAMPLE, [(tx.env, *row) for row in found])
            if len(found) == DELETE_ROWS:
                return False
            tx.execute(_DELETE, (each.ident,))
            tx.overlay(self).clear()  # what is recorded next makes it anew
            shown = rows.shown(self.environment, each.ident)
            tx.audit(principal.id, "metric.delete", shown, detail=f"{each.name} {each.labels}")
            return True

        return change

    def _may_delete(self, principal: Principal, each: rows.Series) -> bool:
        ident = rows.shown(self.environment, each.ident)
        return self.rows.allows(principal, Right.DELETE, each, ident)

    # --- time --------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether a pass is not over."""
        return bool(self._work) or self._after is not None

    async def sweep(self, budget_s: float) -> int:
        """Go on with thinning and deleting, or begin with it when it is time; how many samples
        went. Stops after about `budget_s` seconds. Costs nothing where nothing is measured."""
        if not self._looked:
            self._looked = True
            row = await self._database.read(
                lambda reader: reader.execute(_ANY, (reader.env,)).fetchone()
            )
            self._any = self._any or row == (1,)
        now_s, gone = self._clock.monotonic_s(), 0
        if not self._any or not (self.is_behind or self._begin(now_s)):
            return 0
        while self.is_behind and self._clock.monotonic_s() - now_s < budget_s:
            gone += await (self._thin() if self._work else self._clean())
        return gone

    def _begin(self, now_s: float) -> bool:
        if now_s < self._next_s:
            return False
        self._next_s = now_s + PASS_EVERY_S
        self._work = list(range(len(rows.STEPS_S) - 1))
        if now_s >= self._clean_s:
            self._clean_s, self._after = now_s + CLEAN_EVERY_S, 0
        return True

    async def _thin(self) -> int:
        gone = await self._database.write(upkeep.thin(self._work[0]))
        if gone < upkeep.STEP_ROWS:
            self._work.pop(0)
        return gone

    async def _clean(self) -> int:
        found = await self._database.read(upkeep.look(self._after or 0, self._clock.wall_us()))
        if found.samples or found.silent:
            await self._database.write(upkeep.clean(found), topic="measures")
        self._after = found.after
        return len(found.samples)


def _checked(wanted: Wanted) -> Value:
    """Raises InvalidInput."""
    value: object = wanted.value
    if type(value) not in {int, float} or not math.isfinite(wanted.value):
        raise InvalidInput(f"{shown(value)} is no value", hint="a finite number")
    if wanted.kind is not None and wanted.kind not in KINDS:
        raise InvalidInput(f"unknown kind {printable(wanted.kind)}", hint=", ".join(KINDS))
    if len(text(wanted.unit, "unit")) > MAX_UNIT or not wanted.unit.isprintable():
        raise InvalidInput(
            f"{printable(wanted.unit)} is no unit", hint=f"at most {MAX_UNIT} characters"
        )
    return Value(
        name=check_name(text(wanted.name, "metric"), "metric"),
        value=float(wanted.value),
        labels=rows.labels_text(labels(wanted.labels)),
        kind=wanted.kind,
        unit=wanted.unit,
        level=None if wanted.level is None else parse_level(wanted.level),
        keep_s=None if wanted.keep_days is None else _keep_s(wanted.keep_days),
    )


def _keep_s(days: float) -> int:
    if not 0 < days <= MOST_DAYS:
        raise InvalidInput(f"samples cannot be kept {days:g} days", hint=f"up to {MOST_DAYS:,.0f}")
    return max(1, int(days * 86_400))


def labels(found: Mapping[str, Any]) -> dict[str, str]:
    """Labels, checked: also those of a program in this process. Raises InvalidInput."""
    if len(found) > MOST_LABELS:
        raise InvalidInput(f"{len(found)} labels", hint=f"at most {MOST_LABELS}")
    for name, value in found.items():
        check_name(text(name, "label"), "label")
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= MAX_LABEL:
            raise InvalidInput(
                f"label {name} cannot be {shown(value)}",
                hint=f"a text of 1 to {MAX_LABEL} characters",
            )
    return dict(found)


def spoken_labels(words: Sequence[str]) -> dict[str, str]:
    """Labels as they are typed: `queue=digest`. Raises InvalidInput."""
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise InvalidInput(f"{printable(word)} is no label", hint="write it like queue=digest")
        if found.setdefault(name, value) != value:
            raise InvalidInput(f"label {printable(name)} has two values", hint="give it once")
    return labels(found)
