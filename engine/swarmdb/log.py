"""The write-ahead log of one file: copied into it in good time, and mended after a failed sync."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from ..errors import SwarmDeckError
from ..store.dbapi import Link
from ..store.kin import DiskError
from ..store.log import rewrite_log

LOOK_AFTER: Final = 32  # writes: asking how long the log is costs a tenth of a write
COPY_FROM_PAGES: Final = 8000

_IO_ERROR: Final = 10
_TOUCH: Final = "UPDATE schema_info SET value = value WHERE key = 'version'"

log = logging.getLogger(__name__)


class Log:
    """Told of each write by the thread whose turn it is. `failed`: why the disk is not to be
    believed before the log was written anew; empty while all is well."""

    def __init__(self, path: Path | None, durability: str) -> None:
        self._path = path
        self._durability = durability
        self._unseen = 0
        self._refused = False
        self.failed = ""

    def before(self, link: Link) -> None:
        """Mend what a failed disk has left, before anything is added. The kernel believes pages
        clean whose sync has failed, so the log is written over itself and synced, and a synced
        commit covers what was half-written. Raises DiskError while the disk refuses."""
        if not self.failed or self._path is None:
            return
        try:
            link.ask("PRAGMA synchronous = full")
            link.begin()
            rewrite_log(self._path)  # nobody else adds to it while this one writes
            link.run([(_TOUCH, ())])
            link.commit()
        except OSError as error:
            raise DiskError(
                f"{self._path} was not changed: {error.strerror}", hint="check the disk"
            ) from error
        finally:
            link.undo()
            link.ask(f"PRAGMA synchronous = {self._durability}")
        self.failed = ""

    def after(self, link: Link, writes: int) -> None:
        """Copy the log into the file once it is long. A failure belongs to nobody's write: they
        are committed. The next one meets it first."""
        self._unseen += writes
        if self._path is None or self._unseen < LOOK_AFTER:
            return
        self._unseen = 0
        try:
            if link.ask("PRAGMA wal_checkpoint(NOOP)")[0][1] >= COPY_FROM_PAGES:
                link.ask("PRAGMA wal_checkpoint(PASSIVE)")
                self._refused = False
        except SwarmDeckError as error:
            self.note(error)
            if not self._refused:  # said once, until it goes again
                log.warning("the log could not be copied into the file: %s", error)
            self._refused = True

    def at_end(self, link: Link) -> None:
        """Mend what is to be mended before the last connection copies the log by itself."""
        try:
            self.before(link)
        except SwarmDeckError as error:
            log.warning("closed on a disk that fails: %s", error)

    def note(self, error: BaseException) -> None:
        """Take in what a write met. Other errors than the disk's are not."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == _IO_ERROR:
            self.failed = str(error)
