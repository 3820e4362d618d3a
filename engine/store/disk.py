"""What a database knows of its disk, and what follows when the disk fails.

Full: nothing is stored any more, the reserve is given up, and what makes room goes on. Failed: the
connection that met the error is finished. It is closed, the log is written anew, and the file is
looked at before another writes to it; nothing is retried on the old one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import Defect, StorageError, SwarmDeckError
from . import driver
from .log import log_bytes
from .migrate import Series
from .reserve import Reserve

ROOM_PAGES: Final = 256  # unused pages of a file that let it store again on a full disk


class Disk:
    """The disk below one database file. Written on the writer's thread, read on the loop.

    `failed` says why the writer's connection is finished, `full` that the disk had no room for
    what the last batch stored, `log_pages` how long the log was when somebody looked, `unseen`
    how many operations ago, `unverified` that nobody has looked yet whether a file that was left
    in use is whole."""

    __slots__ = ("failed", "full", "log_pages", "path", "reserve", "series", "unseen", "unverified")

    def __init__(self, path: Path, series: Series, reserve: Reserve | None) -> None:
        self.path = path
        self.series: Series = series
        self.reserve = reserve
        self.failed = ""
        self.full = False
        self.log_pages = 0
        self.unseen = 0
        self.unverified = False

    @property
    def log_bytes(self) -> int:
        return log_bytes(self.path)

    @property
    def trouble(self) -> str:
        """What is wrong now, in words; empty when nothing is."""
        if self.failed:
            return f"the disk failed: {self.failed}"
        return "the disk is full: only what makes room is written" if self.full else ""

    @property
    def condition(self) -> str:
        """What the operator should know of this file; empty when all is well."""
        looking = (
            "unverified: it was left in use, and is being looked at" if self.unverified else ""
        )
        return self.trouble or looking

    @property
    def is_short(self) -> bool:
        """Whether this or another database of the directory has found the disk full."""
        return self.full or (self.reserve is not None and self.reserve.emergency)

    def note(self, error: Exception) -> None:
        """Take in an error of the writer's connection. Other errors than the disk's are not."""
        if driver.is_io_error(error):
            self.failed = driver.describe(error)
        elif driver.is_full(error):
            self.full = True
            if self.reserve is not None:
                self.reserve.spend()

    def stored(self) -> None:
        """A batch that stores values is committed: there is room."""
        self.full = False

    def has_room(self, raw: driver.Raw) -> bool:
        """Whether values may be stored again: the disk has room, or the file has unused pages."""
        if self.reserve is None or self.reserve.regain():
            return True
        unused = raw.execute("PRAGMA freelist_count").fetchone()
        return unused is not None and int(unused[0]) >= ROOM_PAGES

    def refusal(self, env: str) -> StorageError:
        """The error of a caller whose value has no room."""
        return StorageError(
            f"the {env} database was not changed: the disk is full",
            hint="free some disk space, or delete records: deleting still works",
        )


def is_disk_trouble(error: Exception) -> bool:
    """Whether running again, singly, could only meet the same trouble."""
    if driver.is_io_error(error) or driver.is_full(error):
        return True
    words = ("disk", "full", "readonly", "malformed", "not a database", "locked")
    return isinstance(error, driver.DatabaseError) and any(word in str(error) for word in words)


def blame(error: Exception, env: str, *, committing: bool) -> SwarmDeckError:
    """The error of ours that a caller gets for what the driver has raised."""
    if isinstance(error, SwarmDeckError):
        return error
    if isinstance(error, driver.OperationalError) or is_disk_trouble(error):
        found = driver.translate(error, f"the {env} database", committing=committing)
    else:
        found = Defect(f"the {env} database refused a change: {error}")
    found.__cause__ = error
    return found
