"""Looking through an audit trail, newest rows first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..store.aside import Aside
from ..store.contains import containing
from ..store.database import Database, Reader
from ..views import AuditView
from .risk import Risk, at_least, risk_of

_SELECT: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail FROM audit
WHERE env = ? AND {where} ORDER BY sequence DESC LIMIT ?"""
_TEXTS: Final = ("actor", "action", "object", "detail")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: of one actor, of a risk and above, only what was refused, only those in which a
    text occurs, in any case."""

    actor: str | None = None
    risk: Risk | None = None
    denied: bool = False
    contains: str = ""

    @property
    def all(self) -> bool:
        return self == Wanted()


async def rows_of(database: Database, wanted: Wanted, limit: int) -> list[AuditView]:
    """What was changed, read and refused, newest first. Raises Unavailable when looking for it
    takes too long."""
    # What is rare may be looked for in all of the trail.
    return await Aside(database).read(_query(wanted, limit), rows=limit if wanted.all else None)


def _query(wanted: Wanted, limit: int) -> Callable[[Reader], list[AuditView]]:
    def query(reader: Reader) -> list[AuditView]:
        where, parameters = _where(wanted, reader.env)
        statement = _SELECT.format(where=where)
        return [
            AuditView(
                sequence=row[0], environment=row[1], at_us=row[2], actor=row[3], action=row[4],
                object=row[5], allowed=bool(row[6]), detail=row[7],
                risk=risk_of(row[4], row[1], allowed=bool(row[6])),
            )
            for row in reader.execute(statement, (reader.env, *parameters, limit))
        ]  # fmt: skip

    return query


def _where(wanted: Wanted, environment: str) -> tuple[str, tuple[str, ...]]:
    parts: list[tuple[str, tuple[str, ...]]] = [("1", ())]
    if wanted.actor is not None:
        parts.append(("actor = ?", (wanted.actor,)))
    if wanted.denied:
        parts.append(("allowed = 0", ()))
    if wanted.risk is not None:
        parts.append(at_least(wanted.risk, environment))
    if wanted.contains:
        parts.append(containing(wanted.contains, _TEXTS))
    return " AND ".join(said for said, _ in parts), tuple(p for _, more in parts for p in more)
