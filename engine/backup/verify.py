"""Whether a copy is what its manifest says: its form, its pages, every record, the audit chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain as chained
from typing import Any, Final, Protocol, cast

import msgspec

from ..errors import Corrupt, SwarmDeckError
from ..store import driver
from ..store.chain import SELECT_ANCHOR, link, read_anchor
from ..store.migrate import APPLICATION_ID, Series, migrations, statements
from .pace import Pace

YIELD_ROWS: Final = 16  # below half a millisecond
_STEPS: Final = 20_000
_SCHEMA: Final = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema"
_SQLITES_OWN: Final = frozenset({"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"})
_AUDIT: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail, hash FROM audit
WHERE sequence > ? ORDER BY sequence"""
_COUNT: Final = {
    "records": "SELECT count(*) FROM memory",
    "messages": "SELECT count(*) FROM message",
    "audit_rows": "SELECT count(*) FROM audit",
}

Row = tuple[Any, ...]
Records = Callable[[driver.Raw], Iterator[None]]
Report = Callable[[float, str], object]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a copy. The audit trail ends at `audit_sequence` with `audit_hash`."""

    schema_version: int
    records: int
    messages: int
    audit_rows: int
    audit_sequence: int
    audit_hash: bytes
    key_ids: tuple[int, ...]
    contents: int = 0
    content_bytes: int = 0


class PagesDamaged(Corrupt):
    """What SQLite itself says is not whole."""


class _Watched(driver.Raw, Protocol):
    def set_progress_handler(self, handler: Callable[[], bool], steps: int) -> None: ...


def examine(raw: driver.Raw, records: Records | None, pace: Pace, report: Report) -> Found:
    """Look through all of a copy, on a connection that cannot write. `records` reads every record
    and compares its seal; None where the keys are not there. Raises Corrupt with the first thing
    that is wrong."""
    raw.execute("PRAGMA trusted_schema = 0")
    raw.execute("PRAGMA cell_size_check = 1")
    raw.execute("PRAGMA query_only = 1")
    cast("_Watched", raw).set_progress_handler(pace, _STEPS)
    version = require_schema(raw, "environment")
    report(0.1, "pages and indexes")
    require_integrity(raw)
    counts = {name: _number(raw, sql) for name, sql in _COUNT.items()}
    report(0.5, f"{counts['records']:,} records, {counts['messages']:,} messages")
    if records is not None:
        count = counts["records"] + counts["messages"]
        read_all(raw, records, pace, count, lambda part: report(0.5 + part * 0.4, ""))
    report(0.9, f"{counts['audit_rows']:,} audit rows")
    sequence, last = require_chain(raw, pace)
    keys = raw.execute("SELECT id FROM data_key ORDER BY id").fetchall()
    return Found(
        schema_version=version,
        audit_sequence=sequence,
        audit_hash=last,
        key_ids=tuple(row[0] for row in keys),
        **counts,
    )


def require_schema(raw: driver.Raw, series: Series) -> int:
    """The schema version of a file with our tables, indexes and triggers and nothing else. Raises
    Corrupt."""
    found = raw.execute("PRAGMA application_id").fetchone()
    version = _number(raw, "PRAGMA user_version")
    newest = migrations(series)[-1].number
    if found != (APPLICATION_ID,) or version < 1:
        raise Corrupt("it is not a database of swarmdeck")
    if version > newest:
        raise Corrupt(
            f"it has schema {version}, this release knows {newest}",
            hint="use the newer release of swarmdeck that wrote it",
        )
    strange = _schema(raw) ^ _expected(series, version)
    if strange:
        kind, name, _, _ = min(strange)
        raise Corrupt(f"its schema is not ours: {kind} {name}")
    return version


def require_integrity(raw: driver.Raw) -> None:
    """Raises Corrupt for a damaged page, index or constraint."""
    found = [str(row[0]) for row in raw.execute("PRAGMA integrity_check(5)").fetchall()]
    if found != ["ok"]:
        raise PagesDamaged(f"its pages are damaged: {'; '.join(found)}")
    broken = raw.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise Corrupt(f"a row of {broken[0]} refers to what is not there")


def read_all(
    raw: driver.Raw, records: Records, pace: Pace, count: int, report: Callable[[float], object]
) -> None:
    """Read every record and message. Raises Corrupt for the first that does not match its seal."""
    for number, _ in enumerate(records(raw)):
        if number % YIELD_ROWS == 0:
            pace.rest()
            report(number / max(1, count))


def require_chain(raw: driver.Raw, pace: Pace) -> tuple[int, bytes]:
    """Where the audit chain of a file ends: sequence and hash. Raises Corrupt where it breaks."""
    anchor = read_anchor(raw.execute(SELECT_ANCHOR).fetchone())
    sequence, last = anchor
    commit: list[Any] = []
    for row in raw.execute(_AUDIT, (anchor.sequence,)):
        sequence += 1
        if row[0] != sequence:
            raise Corrupt(f"the audit trail has no row {sequence}")
        commit.append(row[:8])
        if row[8] is not None:
            last = _linked(last, commit, row)
            commit = []
            pace.rest()
    if commit:
        raise Corrupt(f"the audit trail ends inside a commit, at row {sequence}")
    return sequence, last


def _linked(before: bytes, commit: list[Any], row: Row) -> bytes:
    try:
        found = link(before, commit)
    except (TypeError, ValueError, OverflowError) as error:
        raise Corrupt(f"the audit trail was changed at or before row {row[0]}") from error
    if found != row[8]:
        raise Corrupt(f"the audit trail was changed at or before row {row[0]}")
    return found


def _number(raw: driver.Raw, sql: str) -> int:
    row = raw.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _schema(raw: driver.Raw) -> frozenset[tuple[str, str, str, str]]:
    rows = raw.execute(_SCHEMA).fetchall()
    return frozenset(
        (str(kind), str(name), str(table), " ".join(str(sql).split()))
        for kind, name, table, sql in rows
        if not (kind == "table" and name in _SQLITES_OWN)
    )


@cache
def _expected(series: Series, version: int) -> frozenset[tuple[str, str, str, str]]:
    """The schema that the migrations up to `version` make."""
    raw = driver.scratch()
    try:
        steps = (step for step in migrations(series) if step.number <= version)
        for statement in chained.from_iterable(statements(step.sql) for step in steps):
            raw.execute(statement)
        return _schema(raw)
    finally:
        raw.close()


def wrong(error: Exception) -> str:
    """What is wrong with a copy, in words."""
    return error.message if isinstance(error, SwarmDeckError) else f"it is damaged: {error}"
