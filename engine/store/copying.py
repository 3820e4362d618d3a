"""Copying the log into the file beside the writer, so that nobody waits for a long one.

A checkpoint syncs the log, writes pages and syncs the file: a tenth of a second for the 32 MB that
gather under load. On a connection and thread of its own it holds up nobody. While the writer goes
on SQLite leaves an end, and syncing the file, to a later checkpoint: the writer copies and syncs
what is left, which is what lets the log begin anew. So that this is little the file is synced here
before. A disk that fails here has failed for the writer too; whatever else is refused the writer
meets itself. This part alone promises nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import SwarmDeckError
from . import driver
from .descriptor import descriptor
from .prepare import StoreOptions, prepare_copier

LONG_PAGES: Final = 1_000
"""A log this long is worth copying beside the writer: some 10 ms of waiting."""

_PASSES: Final = 2  # the second copies what was written during the first


class Copier:
    """Belongs to the loop of its database, and copies nothing once that is `over`. The connection
    is opened when first needed."""

    def __init__(self, path: Path, options: StoreOptions, over: Callable[[], bool]) -> None:
        self._path = path
        self._options = options
        self._over = over
        self._connection: driver.Connection | None = None
        self._copying: asyncio.Task[None] | None = None

    @property
    def is_copying(self) -> bool:
        return self._copying is not None

    def begin(self, then: Callable[[Exception | None], None]) -> None:
        """Copy what the log holds, unless that is under way, and call `then` on the loop with what
        the driver or the disk has raised."""
        if self._copying is None:
            self._copying = asyncio.get_running_loop().create_task(self._copy(then), name="copier")

    async def wait(self) -> None:
        """Until nothing is being copied."""
        if self._copying is not None:
            await asyncio.wait([self._copying])

    async def close(self) -> None:
        """Finish and let go of the connection; the next copy opens another."""
        await self.wait()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _copy(self, then: Callable[[Exception | None], None]) -> None:
        refused: Exception | None = None
        try:
            with suppress(SwarmDeckError):
                connection = self._connection or await self._open()
                for _ in range(_PASSES):
                    if not self._over():
                        await connection.run(_copy_log, self._path)
        except (driver.Error, OSError) as error:
            refused = error
        finally:
            self._copying = None
            then(refused)

    async def _open(self) -> driver.Connection:
        connection = await driver.connect(self._path, existing=True)
        try:
            await connection.run(prepare_copier, self._options)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return connection


def _copy_log(raw: driver.Raw, path: Path) -> None:
    raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    try:
        file = descriptor(path)
    except OSError:  # too many are open: the writer syncs the file anyway
        return
    os.fsync(file)
