"""What is looked for among events: pages of them, chains, how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from ..acl.rows import Rows
from ..acl.sight import Where, joined
from ..model import Environment, Principal
from ..store.contains import containing
from ..store.database import Reader
from . import rows
from .rows import Event
from .steering import states_of

_ORDERS: Final[dict[tuple[str, bool], str]] = {
    ("newest", False): "id DESC",
    ("newest", True): "id",
    ("urgency", False): "priority DESC, id",
    ("urgency", True): "priority, id DESC",
    ("type", False): "type, id DESC",
    ("type", True): "type DESC, id",
}
_OLDEST: Final = ("newest", True)
_TEXTS: Final = (
    "type", "owner", "target", "tags", "ifnull(holder, '')", "error", "'{prefix}_event_' || id",
)  # fmt: skip


class Wish(NamedTuple):
    """Which events, None is any, and in which order. `contains` is a text in id, type, source,
    target, tags, holder or error, in any case; `after` a number: only those published later.
    `order` is newest, urgency (as they are taken) or type, `descending` turns it around."""

    status: str | None = None
    type: str | None = None
    source: str | None = None
    target: str | None = None
    tag: str | None = None
    chain: int | None = None
    contains: str = ""
    after: int = 0
    order: str = "newest"
    descending: bool = False


def page(seen: Seen, wanted: Wish, offset: int, limit: int) -> Callable[[Reader], list[Event]]:
    """A page of the events that somebody may read."""
    parts = [within(wanted, seen.environment), seen.where]
    order = wanted.order, wanted.descending

    def query(reader: Reader) -> list[Event]:
        if seen.exact:  # the store passes over the others
            found = _rows(reader, parts, order, limit, offset)
            return [each for each in found if seen.sees(each)]
        found = filter(seen.sees, _rows(reader, parts, order))
        return list(islice(found, offset, offset + limit))

    return query


def count(seen: Seen) -> Callable[[Reader], dict[str, int]]:
    """How many events somebody may read there are, by status."""
    where, values = seen.where

    def query(reader: Reader) -> dict[str, int]:
        found: Counter[str] = Counter()
        if seen.exact:
            statement = (
                f"SELECT state, count(*) FROM event WHERE env = ? AND {where} GROUP BY state"  # noqa: S608
            )
            for state, many in reader.execute(statement, (reader.env, *values)):
                found[rows.STATUSES[state]] += many
            return found
        for each in filter(seen.sees, _rows(reader, [seen.where], _OLDEST)):
            found[rows.STATUSES[each.state]] += 1
        return found

    return query


class Seen:
    """Which events somebody may read: a condition for the store, and whether it is all there is
    to ask. Every one that is shown is decided besides."""

    def __init__(self, table: Rows, principal: Principal, environment: Environment) -> None:
        self.environment = environment
        self.where, self.exact = table.visible(principal)
        self._table = table
        self._principal = principal

    def sees(self, found: Event) -> bool:
        ident = rows.shown(self.environment, found.ident)
        return bool(self._table.seen(self._principal, [(ident, found)]))


def within(wanted: Wish, environment: Environment) -> Where:
    """The wish as a condition."""
    parts: list[Where] = [("id > ?", (wanted.after,))]
    if wanted.status is not None:
        parts.append((f"state IN ({', '.join(map(str, states_of(wanted.status)))})", ()))
    for column, value in (
        ("type", wanted.type), ("owner", wanted.source), ("target", wanted.target),
        ("chain", wanted.chain),
    ):  # fmt: skip
        if value is not None:
            parts.append((f"{column} = ?", (value,)))
    if wanted.tag is not None:
        parts.append(("instr(tags, ?) > 0", (f",{wanted.tag},",)))
    if wanted.contains:
        texts = [text.format(prefix=environment.prefix) for text in _TEXTS]
        parts.append(containing(wanted.contains, texts))
    return joined(parts)


def _rows(
    reader: Reader, parts: list[Where], order: tuple[str, bool], limit: int = -1, offset: int = 0
) -> Iterator[Event]:
    where, values = joined(parts)
    statement = f"""
SELECT {rows.COLUMNS} FROM event
WHERE env = ? AND {where} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"""  # noqa: S608 - ours
    found: Any = reader.execute(statement, (reader.env, *values, limit, offset))
    return map(rows.event, found)
