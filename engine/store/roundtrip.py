"""Whether a database works: something is committed by one connection and seen by the other.

What is written is the schema version over itself: a page and a real commit, and nothing that would
have to be cleared away.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import StorageError, Unavailable
from . import driver
from .database import Database, Reader, Transaction


async def round_trip(database: Database) -> None:
    """Commit, and look whether a reader sees that; in a brief opening the reader is the writer.
    Raises StorageError, Corrupt."""
    before = await database.read(_seen)
    await database.write(_touch)
    if await database.read(_seen) == before and not database.is_brief:
        raise StorageError(
            f"the {database.env} database: a reader does not see what was committed",
            hint="swarmdeck db check",
        )


async def require_unlocked(path: Path) -> None:
    """Raises Unavailable while somebody else holds the lock of a database file, StorageError or
    Corrupt when it cannot be opened at all."""
    if not path.exists():
        raise StorageError(f"{path.name} is gone", hint="restore it from a backup")
    try:
        connection = await driver.connect(path)
    except driver.Error as error:
        raise StorageError(f"{path.name} cannot be opened: {error}") from error
    try:
        await connection.run(_lock)
    except driver.Error as error:
        raise Unavailable(
            f"{path.name} is locked: another process writes to it, or keeps it",
            hint="look for it with: lsof or fuser",
        ) from error
    finally:
        await connection.close()


def _lock(raw: driver.Raw) -> None:
    raw.execute("PRAGMA busy_timeout = 0")
    raw.execute("BEGIN IMMEDIATE")
    raw.rollback()


def _seen(reader: Reader) -> int:
    """Changes with each commit of another connection."""
    ((version,),) = reader.execute("PRAGMA data_version").fetchall()
    return int(version)


def _touch(tx: Transaction) -> None:
    ((version,),) = tx.execute("PRAGMA user_version").fetchall()
    tx.execute(f"PRAGMA user_version = {int(version)}")
