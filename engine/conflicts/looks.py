"""What is looked for among conflicts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final, NamedTuple

from ..acl.rows import Rows
from ..acl.sight import Where, joined
from ..model import Principal
from ..numbered import Numbered
from ..store.contains import containing
from ..store.database import Reader
from ..views import ConflictView
from . import rows

_TEXTS: Final = (
    "title", "one", "other", "owner", "ifnull(holder, '')", "reason", "'{prefix}_conflict_' || id",
)  # fmt: skip
_ORDERS: Final = {
    ("newest", False): "id DESC",
    ("newest", True): "id",
    ("severity", False): "severity DESC, id DESC",
    ("severity", True): "severity, id",
}


class Wish(NamedTuple):
    """Which conflicts, None is any. `state` may be open: all that is not resolved; `about` is one
    of the two. `contains` is a text in id, title, the two, reporter, holder or reason, in any case.
    `order` is newest or severity."""

    state: str | None = None
    type: str | None = None
    severity: str | None = None
    about: str | None = None
    contains: str = ""
    order: str = "newest"
    descending: bool = False


def page(
    table: Rows, ids: Numbered, principal: Principal, wanted: Wish
) -> Callable[[Reader, int, int], list[ConflictView]]:
    """A page of the conflicts that somebody may read."""
    sight, exact = table.visible(principal)
    where, values = joined([_within(wanted, ids), sight])
    order = _ORDERS[wanted.order, wanted.descending]
    statement = f"""
SELECT {rows.COLUMNS} FROM conflict WHERE env = ? AND {where}
ORDER BY {order} LIMIT ? OFFSET ?"""  # noqa: S608 - made of ours

    def query(reader: Reader, offset: int, limit: int) -> list[ConflictView]:
        bounds = (limit, offset) if exact else (-1, 0)
        found: Any = reader.execute(statement, (reader.env, *values, *bounds))
        named = ((ids.shown(each.ident), each) for each in map(rows.conflict, found))
        seen = table.seen(principal, named)
        part = seen if exact else islice(seen, offset, offset + limit)
        return [rows.view(ids, each) for _, each in part]

    return query


def _within(wanted: Wish, ids: Numbered) -> Where:
    parts: list[Where] = [("1", ())]
    if wanted.state == "open":
        parts.append(("state <> 'resolved'", ()))
    elif wanted.state is not None:
        parts.append(("state = ?", (wanted.state,)))
    if wanted.type is not None:
        parts.append(("type = ?", (wanted.type,)))
    if wanted.severity is not None:
        parts.append(("severity = ?", (rows.SEVERITIES.index(wanted.severity) + 1,)))
    if wanted.about is not None:
        parts.append(("(one = ? OR other = ?)", (wanted.about, wanted.about)))
    if wanted.contains:
        texts = [text.format(prefix=ids.environment.prefix) for text in _TEXTS]
        parts.append(containing(wanted.contains, texts))
    return joined(parts)
