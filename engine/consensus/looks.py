"""What is looked for among proposals."""

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
from ..views import ProposalView
from . import rows
from .rows import Tally

_TEXTS: Final = ("title", "ifnull(target, '')", "owner", "reason", "'{prefix}_consensus_' || id")
_STATUS: Final = """
CASE WHEN closed_at IS NULL AND deadline <= ? THEN 'expired' ELSE status END"""


class Wish(NamedTuple):
    """Which proposals, None is any. `status` may be open: pending or in progress. `contains` is a
    text in id, title, target, proposer or reason, in any case."""

    status: str | None = None
    type: str | None = None
    target: str | None = None
    proposer: str | None = None
    contains: str = ""
    descending: bool = False


def page(
    table: Rows, ids: Numbered, principal: Principal, wanted: Wish, now_us: int
) -> Callable[[Reader, int, int], list[ProposalView]]:
    """A page of the proposals that somebody may read, newest first."""
    sight, exact = table.visible(principal)
    where, values = joined([_within(wanted, ids, now_us), sight])
    order = "id" if wanted.descending else "id DESC"
    statement = f"""
SELECT {rows.COLUMNS} FROM consensus WHERE env = ? AND {where}
ORDER BY {order} LIMIT ? OFFSET ?"""  # noqa: S608 - made of ours

    def query(reader: Reader, offset: int, limit: int) -> list[ProposalView]:
        bounds = (limit, offset) if exact else (-1, 0)
        found: Any = reader.execute(statement, (reader.env, *values, *bounds))
        named = ((ids.shown(each.ident), each) for each in map(rows.proposal, found))
        seen = table.seen(principal, named)
        part = [each for _, each in (seen if exact else islice(seen, offset, offset + limit))]
        counted = rows.tallies(reader, [each.ident for each in part])
        return [rows.view(ids, each, counted.get(each.ident, Tally()), now_us) for each in part]

    return query


def _within(wanted: Wish, ids: Numbered, now_us: int) -> Where:
    parts: list[Where] = [("1", ())]
    if wanted.status == "open":
        parts.append(("closed_at IS NULL AND ifnull(deadline > ?, 1)", (now_us,)))
    elif wanted.status is not None:
        parts.append((f"{_STATUS} = ?", (now_us, wanted.status)))
    for column, value in (
        ("type", wanted.type), ("target", wanted.target), ("owner", wanted.proposer),
    ):  # fmt: skip
        if value is not None:
            parts.append((f"{column} = ?", (value,)))
    if wanted.contains:
        texts = [text.format(prefix=ids.environment.prefix) for text in _TEXTS]
        parts.append(containing(wanted.contains, texts))
    return joined(parts)
