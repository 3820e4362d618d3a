"""The tables, and how a file of an earlier version gets those it lacks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from ..store.dbapi import Link
from ..store.kin import DamagedFile
from ..store.migrate import APPLICATION_ID, statements

VERSION: Final = "2.0.0"

_FIRST: Final = "1.0.0"  # what a file has that was made before versions were recorded
_HAS_PLACE: Final = "SELECT 1 FROM sqlite_schema WHERE name = 'idx_session_memory_place'"
_SET_VERSION: Final = """
INSERT INTO schema_info (key, value) VALUES ('version', ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = CURRENT_TIMESTAMP
"""


class Step(NamedTuple):
    """What a version has that the one before lacks."""

    version: str
    sql: str


@cache
def steps() -> tuple[Step, ...]:
    """All versions, oldest first."""
    files = sorted(
        Path(__file__).with_name("sql").glob("*.sql"), key=lambda file: _parts(file.stem)
    )
    return tuple(Step(file.stem, file.read_text(encoding="utf-8")) for file in files)


def migrate(link: Link, what: str) -> str:
    """Bring a database to `VERSION`, all in one transaction; the version it had, empty for a new
    one. Raises DamagedFile for a file of a newer release or of the engine itself."""
    if link.ask("PRAGMA application_id")[0][0] == APPLICATION_ID:
        raise DamagedFile(
            f"{what} is a database of the engine", hint="give SwarmDB a file of its own"
        )
    if _found(link, what) == VERSION and link.ask(_HAS_PLACE):
        return VERSION
    link.begin()
    try:
        before = _found(link, what)  # another process may have been first
        for step in steps():
            # That of its own version too: others that write such files leave something out.
            if not before or _parts(step.version) >= _parts(before):
                link.run((statement, ()) for statement in statements(step.sql))
        if before != VERSION:
            link.run([(_SET_VERSION, (VERSION,))])
        link.commit()
    except BaseException:
        link.undo()
        raise
    return before


def _found(link: Link, what: str) -> str:
    """The version of a database; empty where none of the tables is. Raises DamagedFile for one
    that this release does not know."""
    tables = {row[0] for row in link.ask("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "schema_info" in tables:
        rows = link.ask("SELECT value FROM schema_info WHERE key = 'version'")
        version = str(rows[0][0]) if rows else _FIRST
    else:
        version = _FIRST if "agent_events" in tables else ""
    if version and _parts(version) > _parts(VERSION):
        raise DamagedFile(
            f"{what} has schema {version}, this release knows {VERSION}",
            hint="use the newer release that wrote it",
        )
    return version


def _parts(version: str) -> tuple[int, ...]:
    numbers = version.split(".")
    if not all(number.isdecimal() for number in numbers):
        raise DamagedFile(f"{version[:40]!r} is no version of a schema", hint="restore the file")
    return tuple(int(number) for number in [*numbers, "0", "0"][:3])
