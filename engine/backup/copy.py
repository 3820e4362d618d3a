"""A consistent copy of a database file while it is written to.

VACUUM INTO reads one snapshot on a connection of its own: the writer goes on, and only its log
cannot be used anew until the copy is done. What was deleted is not in the copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, cast

from ..errors import Conflict, Corrupt, SwarmDeckError
from ..store import driver
from ..store.database import Database
from .pace import Pace
from .shelf import digest

_CHUNK: Final = 1 << 20
SYNC_BYTES: Final = 4 << 20  # at once: a large one would hold up the commits of the writer
_STEPS: Final = 20_000  # of SQLite's machine between two looks: below 1 ms


class _Watched(driver.Raw, Protocol):
    def set_progress_handler(self, handler: Callable[[], bool], steps: int) -> None: ...


async def copy_into(
    database: Database, file: int, path: Path, progress: Callable[[float], object]
) -> None:
    """Copy a database into an empty file, given by handle and path, and put it on the disk.
    Raises StorageError, Corrupt, Conflict when it was cancelled."""
    pace = Pace()
    connection = await driver.connect(database.path, read_only=True)
    try:
        with database.pins.reading("a backup"):
            await connection.run(_vacuum, path, _Syncing(database.path, file, pace, progress))
    except driver.Error as error:
        raise _blame(error, database, pace) from error
    finally:
        pace.over = True
        await connection.close()
    os.fsync(file)


def _blame(error: Exception, database: Database, pace: Pace) -> SwarmDeckError:
    if pace.over:
        return Conflict(f"the backup of {database.env} was cancelled")
    return driver.translate(error, f"the copy of {database.path.name}")


class _Syncing:
    """Called while the copy grows: puts what there is on the disk bit by bit."""

    def __init__(
        self, source: Path, file: int, pace: Pace, progress: Callable[[float], object]
    ) -> None:
        self._size = max(1, source.stat().st_size)
        self._file = file
        self._pace = pace
        self._progress = progress
        self._synced = 0

    def __call__(self) -> bool:
        written = os.fstat(self._file).st_size
        if written - self._synced > SYNC_BYTES:
            os.fdatasync(self._file)
            self._synced = written
            self._progress(min(1.0, written / self._size))
        return self._pace()


def _vacuum(raw: driver.Raw, path: Path, watch: _Syncing) -> None:
    cast("_Watched", raw).set_progress_handler(watch, _STEPS)
    raw.execute("PRAGMA cache_size = -2000")
    raw.execute("PRAGMA trusted_schema = 0")
    raw.execute("VACUUM INTO ?", (str(path),))


def copy_back(source: int, target: int, sha256: bytes) -> None:
    """Copy a verified backup to the disk; what is written must be what was verified."""
    size, at = os.fstat(source).st_size, 0
    while at < size:
        part = os.pread(source, _CHUNK, at)
        if not part:
            break
        at += os.pwrite(target, part, at)
    os.fsync(target)
    if digest(target) != sha256:
        raise Corrupt("the backup changed while it was read", hint="use another one")
