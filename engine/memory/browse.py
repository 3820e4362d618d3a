"""What part of the records somebody looks at, in which order, and who may see which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from ..acl import Access, Standing
from ..acl.sight import Where, by_standing, joined
from ..errors import InvalidInput
from ..model import Level, Principal, Right
from ..store.contains import containing
from ..store.database import Reader
from ..vault.record import OVERHEAD_BYTES
from .records import Place

Row = Sequence[Any]
Seen = Callable[[Row], bool]

LAST: Final = "\U0010ffff"
_ANY: Final[Where] = ("1", ())
# Bytes of the value as they are kept: without what a seal adds, compressed where it is.
_SIZE: Final = f"length(body) - (format >> 5 & 1) * {OVERHEAD_BYTES}"
_COLUMNS: Final = f"""namespace, key, format, {_SIZE}, level, owner, team, swarm, version,
       created_at, updated_at, expires_at"""
_LEVEL_NAMES: Final = " ".join(f"WHEN {level:d} THEN '{level.name}'" for level in Level)
_TEXTS: Final = ("key", "namespace", "owner", "ifnull(team, '')", f"CASE level {_LEVEL_NAMES} END")
_ORDERS: Final = {
    "key": (),
    "size": (_SIZE,),
    "changed": ("updated_at",),
    "version": ("version",),
    "level": ("level",),
    "owner": ("owner",),
    "expires": ("expires_at IS NULL", "expires_at"),
}


class Browse(NamedTuple):
    """A page of records. `contains` is a text in key, namespace, owner, team or level, in any
    case; `order` is key, size, changed, version, level, owner or expires (what never expires
    comes last), `descending` turns it around. `offset` counts records that may be read."""

    namespace: str | None
    prefix: str = ""
    contains: str = ""
    order: str = "key"
    descending: bool = False
    offset: int = 0
    limit: int = 200


class Sight(NamedTuple):
    """Which records somebody may read: a condition for the store to pass over the others, and
    whether it is all there is to ask. Every row that is shown is decided by `access` besides."""

    where: Where
    exact: bool
    sees: Seen
    until_us: int  # an entry ends then, or begins or stops to count


def sight(access: Access, principal: Principal) -> Sight:
    """What `principal` may read. Its standing alone is a condition on columns; explicit entries
    are left to the decision, row by row."""

    def sees(row: Row) -> bool:
        standing = Standing(Level(row[4]), row[5], row[6], row[7])
        return access.allows(principal, Right.READ, standing, row[0], row[1])

    named = bool(access.about(principal))
    where = _ANY if named else by_standing(access, principal)
    return Sight(where, not named, sees, access.until_us(principal))


def query(
    wanted: Browse, sight: Sight, now_us: int, start: Place | None = None
) -> Callable[[Reader], list[Row]]:
    """A page of records, those before it passed over. `start`: count from this place on."""
    parts = [within(wanted, now_us), sight.where]
    if start is not None:
        parts.append(("(namespace, key) >= (?, ?)", start))
    order = _ordered(wanted.order, descending=wanted.descending)

    def read(reader: Reader) -> list[Row]:
        if sight.exact:
            rows = rows_of(reader, parts, order, limit=wanted.limit, offset=wanted.offset)
            return list(filter(sight.sees, rows))
        kept = filter(sight.sees, rows_of(reader, parts, order))
        return list(islice(kept, wanted.offset, wanted.offset + wanted.limit))

    return read


def within(wanted: Browse, now_us: int) -> Where:
    """Live records of a namespace (None: of all) whose key begins with a prefix and in which a
    text occurs."""
    parts: list[Where] = [("expires_at IS NULL OR expires_at > ?", (now_us,))]
    if wanted.namespace is not None:
        parts.append(("namespace = ?", (wanted.namespace,)))
    if wanted.prefix:
        parts.append(("key >= ? AND key < ?", (wanted.prefix, wanted.prefix + LAST)))
    if wanted.contains:
        parts.append(containing(wanted.contains, _TEXTS))
    return joined(parts)


def rows_of(
    reader: Reader, parts: Sequence[Where], order: str, *, limit: int = -1, offset: int = 0
) -> Iterator[Row]:
    """Records that meet all conditions, without their values."""
    where, parameters = joined(parts)
    statement = f"""
SELECT {_COLUMNS} FROM memory
WHERE env = ? AND {where} ORDER BY {order} LIMIT ? OFFSET ?"""  # noqa: S608 - constants above
    return iter(reader.execute(statement, (reader.env, *parameters, limit, offset)))


def _ordered(order: str, *, descending: bool) -> str:
    if order not in _ORDERS:
        raise InvalidInput(f"records have no order {order}", hint=", ".join(_ORDERS))
    turn = " DESC" if descending else ""
    return ", ".join(column + turn for column in (*_ORDERS[order], "namespace", "key"))
