"""What is asked of series: which there are, and what a name came to over a window of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from ..acl.rows import Rows
from ..acl.sight import Where, joined
from ..errors import Conflict, InvalidInput, NotFound
from ..model import Environment, Principal, printable
from ..store.contains import containing
from ..store.database import Reader
from ..views import MeasuredView
from . import buckets, rows
from .buckets import AGGREGATES, Bucket
from .rows import SPREAD, STEPS_S, Series

MOST_POINTS: Final = 720
USUAL_POINTS: Final = 120
FINE_FOR_S: Final = (3_600, 2 * 86_400)
"""How long steps of 1 s and of 60 s are kept as they are."""

_ORDERS: Final[dict[tuple[str, bool], str]] = {
    ("name", False): "name, owner, labels",
    ("name", True): "name DESC, owner DESC, labels DESC",
    ("newest", False): "updated_at DESC, id DESC",
    ("newest", True): "updated_at, id",
}
_TEXTS: Final = ("name", "labels", "owner", "kind", "unit")
_SAMPLES: Final = f"""
SELECT at, {buckets.COLUMNS} FROM sample
WHERE env = ? AND measure = ? AND step_s = ? AND at >= ? AND at < ? ORDER BY at"""  # noqa: S608
USUAL: Final[Mapping[str, str]] = {
    "counter": "sum", "gauge": "avg", "histogram": "p50", "timer": "p50",
}  # fmt: skip
"""Which aggregate a step is shown by."""


class Wish(NamedTuple):
    """Which series, None is any: of a name, a source, with all of some labels, and with a text in
    name, labels, source, kind or unit. `order` is name or newest."""

    name: str | None = None
    source: str | None = None
    labels: Mapping[str, str] = {}
    contains: str = ""
    order: str = "name"
    descending: bool = False

    def fits(self, each: Series) -> bool:
        """Whether a series has the labels."""
        return not self.labels or self.labels.items() <= each.has.items()


class Asked(NamedTuple):
    """What is asked of a name: an `aggregate` (None: the usual one of its kind) of each step, over
    `window_s` in steps of `step_s` (None: some that fit)."""

    aggregate: str | None
    window_s: int
    step_s: int | None


class Seen:
    """Which series somebody may read: a condition, and whether it is all there is to ask."""

    def __init__(self, table: Rows, principal: Principal, environment: Environment) -> None:
        self.environment = environment
        self.where, self.exact = table.visible(principal)
        self._table = table
        self._principal = principal

    def sees(self, found: Series) -> bool:
        ident = rows.shown(self.environment, found.ident)
        return bool(self._table.seen(self._principal, [(ident, found)]))


def page(seen: Seen, wanted: Wish, offset: int, limit: int) -> Callable[[Reader], list[Series]]:
    """A page of the series that somebody may read."""

    def query(reader: Reader) -> list[Series]:
        return list(islice(fitting(reader, seen, wanted), offset, offset + limit))

    return query


def fitting(reader: Reader, seen: Seen, wanted: Wish) -> Iterator[Series]:
    """The series that a wish names and somebody may read."""
    parts: list[Where] = [seen.where]
    for column, value in (("name", wanted.name), ("owner", wanted.source)):
        if value is not None:
            parts.append((f"{column} = ?", (value,)))
    if wanted.contains:
        parts.append(containing(wanted.contains, _TEXTS))
    where, values = joined(parts)
    order = _ORDERS[wanted.order, wanted.descending]
    statement = f"SELECT {rows.COLUMNS} FROM measure WHERE env = ? AND {where} ORDER BY {order}"  # noqa: S608
    found = map(rows.series, reader.execute(statement, (reader.env, *values)).fetchall())
    return (each for each in found if wanted.fits(each) and seen.sees(each))


def measured(
    seen: Seen, wanted: Wish, asked: Asked, now_us: int
) -> Callable[[Reader], MeasuredView]:
    """What a name came to. Raises NotFound for one that nothing was recorded under, Conflict when
    its series are of several kinds, InvalidInput."""

    def query(reader: Reader) -> MeasuredView:
        found = list(fitting(reader, seen, wanted))
        if not found:
            raise NotFound(
                f"nothing that may be read is called {printable(wanted.name or '')}",
                hint="see swarmdeck metric series",
            )
        kind = _one({each.kind for each in found}, wanted, "kinds")
        unit = _one({each.unit for each in found}, wanted, "units")
        aggregate = _aggregate(asked.aggregate, kind)
        span = _span(asked, now_us)
        cells, whole = _gathered(reader, found, span, spread=kind in SPREAD)
        return MeasuredView(
            environment=seen.environment.value, name=wanted.name or "", kind=kind, unit=unit,
            aggregate=aggregate, series=len(found), window_s=asked.window_s, step_s=span.step_s,
            first_at_us=span.first_us, count=whole.count,
            values=tuple(None if cell is None else cell.value(aggregate) for cell in cells),
            **{name: whole.value(name) for name in AGGREGATES if name != "count"},
        )  # fmt: skip

    return query


class _Span(NamedTuple):
    first_us: int
    step_s: int
    many: int

    @property
    def end_us(self) -> int:
        return self.first_us + self.many * self.step_s * 1_000_000


def _span(asked: Asked, now_us: int) -> _Span:
    """Steps up to the one that is not over yet, no shorter than those that are kept so far back."""
    kept = next(
        (s for s, fine in zip(STEPS_S, FINE_FOR_S, strict=False) if asked.window_s <= fine),
        STEPS_S[-1],
    )
    wanted = asked.step_s or -(-asked.window_s // USUAL_POINTS)
    least = max(kept, -(-asked.window_s // MOST_POINTS))
    step_s = -(-max(wanted, least) // kept) * kept
    count = max(1, -(-asked.window_s // step_s))
    step_us = step_s * 1_000_000
    end_us = now_us // step_us * step_us + step_us
    return _Span(end_us - count * step_us, step_s, count)


def _gathered(
    reader: Reader, found: Sequence[Series], span: _Span, *, spread: bool
) -> tuple[list[Bucket | None], Bucket]:
    """What was recorded in each step, and in all of them. What is `last` is that of the series
    which was recorded last."""
    cells: list[Bucket | None] = [None] * span.many
    whole, step_us = Bucket(spread=spread), span.step_s * 1_000_000
    for each in sorted(found, key=lambda series: series.updated_us):
        for step_s in reversed(STEPS_S):
            bounds = (reader.env, each.ident, step_s, span.first_us, span.end_us)
            for at_us, *row in reader.execute(_SAMPLES, bounds):
                place = (at_us - span.first_us) // step_us
                cell = cells[place]
                if cell is None:
                    cell = cells[place] = Bucket(spread=spread)
                values: Any = tuple(row)
                cell.merge(values)
                whole.merge(values)
    return cells, whole


def _one(found: set[str], wanted: Wish, what: str) -> str:
    if len(found) > 1:
        raise Conflict(
            f"series of {wanted.name} have several {what}: {', '.join(sorted(found))}",
            hint="narrow by labels or source",
        )
    return next(iter(found))


def _aggregate(wanted: str | None, kind: str) -> str:
    if wanted is None:
        return USUAL[kind]
    if wanted not in AGGREGATES:
        raise InvalidInput(f"unknown aggregate {wanted}", hint=", ".join(AGGREGATES))
    if wanted.startswith("p") and kind not in SPREAD:
        raise InvalidInput(
            f"a {kind} has no {wanted}", hint="percentiles are of histograms and timers"
        )
    return wanted
