"""What an operator asks of the databases: size, settings, schema, integrity, the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .environment import Place
from .store import driver
from .store.aside import Aside
from .store.contains import containing
from .store.database import Database, Reader
from .views import AuditView, CheckView, DatabaseView, PragmaView

_SELECT_AUDIT: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail FROM audit
WHERE env = ? AND (? IS NULL OR actor = ?) AND {contains}
ORDER BY sequence DESC LIMIT ?"""
_AUDIT_TEXTS: Final = ("actor", "action", "object", "detail")
_SELECT_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
_SELECT_SCHEMA: Final = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"


async def statistics(place: Place) -> DatabaseView:
    """Size, rows and write-ahead log of an environment's database."""
    database = place.database
    stats = database.stats
    return DatabaseView(
        environment=place.environment,
        path=str(database.path),
        schema_version=await database.schema_version(),
        size_bytes=database.path.stat().st_size,
        wal_bytes=database.wal_bytes,
        page_size=database.options.page_size,
        tables=tuple(await database.read(_names)),
        records=place.memory.records,
        messages=await database.read(_count_messages),
        batches=stats.batches,
        operations=stats.operations,
    )


async def pragmas(place: Place) -> list[PragmaView]:
    """Each setting as requested and as SQLite granted it."""
    return [
        PragmaView(environment=place.environment, name=name, requested=wanted, granted=granted)
        for name, wanted, granted in await place.database.pragmas()
    ]


async def schema(place: Place) -> list[str]:
    """The statements that made the tables, indexes and triggers."""
    rows = await place.database.read(lambda reader: reader.execute(_SELECT_SCHEMA).fetchall())
    return [row[0] for row in rows]


async def check(place: Place) -> CheckView:
    """SQLite's quick check, on a connection of its own so that nobody waits for it."""
    connection = await driver.connect(place.database.path, read_only=True)
    try:
        found = await connection.run(_quick_check)
    finally:
        await connection.close()
    sound = found == ["ok"]
    return CheckView(
        name=place.environment,
        status="ok" if sound else "failed",
        detail="; ".join(found[:5]),
        hint="" if sound else "restore it from a backup",
    )


async def audit_trail(
    database: Database, actor: str | None, contains: str, limit: int
) -> list[AuditView]:
    """What was changed, newest first; only rows in which the text occurs, in any case. Raises
    Unavailable when looking for them takes too long."""
    # An actor or a text that is rare may be looked for in all of the trail.
    rows = None if actor is not None or contains else limit
    return await Aside(database).read(_audit_query(actor, contains, limit), rows=rows)


def _audit_query(
    actor: str | None, contains: str, limit: int
) -> Callable[[Reader], list[AuditView]]:
    where, texts = containing(contains, _AUDIT_TEXTS) if contains else ("1", ())
    statement = _SELECT_AUDIT.format(contains=where)

    def query(reader: Reader) -> list[AuditView]:
        rows = reader.execute(statement, (reader.env, actor, actor, *texts, limit))
        return [
            AuditView(
                sequence=row[0], environment=row[1], at_us=row[2], actor=row[3], action=row[4],
                object=row[5], allowed=bool(row[6]), detail=row[7],
            )
            for row in rows
        ]  # fmt: skip

    return query


def _names(reader: Reader) -> list[str]:
    return [row[0] for row in reader.execute(_SELECT_TABLES)]


def _count_messages(reader: Reader) -> int:
    row = reader.execute("SELECT count(*) FROM message WHERE env = ?", (reader.env,)).fetchone()
    return int(row[0]) if row else 0


def _quick_check(raw: driver.Raw) -> list[str]:
    return [str(row[0]) for row in raw.execute("PRAGMA quick_check(20)").fetchall()]
