"""Numbered SQL files, forward only. The file's `user_version` says how far it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from ..errors import Corrupt
from . import driver

Series = Literal["environment", "coordination"]

APPLICATION_ID: Final = 0x53574D44  # "SWMD", so that file(1) and we know our own


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str


@cache
def migrations(series: Series) -> tuple[Migration, ...]:
    """The migrations of a series in order."""
    found = sorted((Path(__file__).with_name("sql") / series).glob("*.sql"))
    return tuple(
        Migration(int(file.name.partition("_")[0]), file.name, file.read_text(encoding="utf-8"))
        for file in found
    )


def schema_version(raw: driver.Raw) -> int:
    row = raw.execute("PRAGMA user_version").fetchone()
    return int(row[0]) if row else 0


def migrate(raw: driver.Raw, series: Series, what: str) -> int:
    """Bring a file up to date, each step in a transaction; the version reached.

    Raises Corrupt for a file of a newer release or of another program.
    """
    steps = migrations(series)
    version = require_known(raw, series, what)
    for step in steps:
        if step.number > version:
            _apply(raw, step)
    return steps[-1].number


def require_known(raw: driver.Raw, series: Series, what: str) -> int:
    """The schema version of a file, if it is empty or ours and not newer than this release.
    Raises Corrupt."""
    version, newest = schema_version(raw), migrations(series)[-1].number
    if version > newest:
        raise Corrupt(
            f"{what} has schema {version}, this release knows {newest}",
            hint="use the newer release of swarmdeck that wrote it",
        )
    _require_ours(raw, version, what)
    return version


def _require_ours(raw: driver.Raw, version: int, what: str) -> None:
    row = raw.execute("PRAGMA application_id").fetchone()
    found = int(row[0]) if row else 0
    tables = raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    fresh = version == 0 and found == 0 and tables == (0,)
    if not fresh and found != APPLICATION_ID:
        raise Corrupt(f"{what} is not a database of swarmdeck", hint="move it away")


def _apply(raw: driver.Raw, step: Migration) -> None:
    raw.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(step.sql):
            raw.execute(statement)
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version = {step.number}")
        raw.execute("COMMIT")
    except BaseException:
        raw.rollback()
        raise


def statements(sql: str) -> list[str]:
    """The statements of a script, triggers whole."""
    found: list[str] = []
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if driver.is_complete(pending):
            found.append(pending)
            pending = ""
    return [statement for statement in found if statement.strip()]
