"""The write-ahead log of one file: copied into it in good time, and mended after a failed sync.

A long log is copied on a thread and connection of its own, so that whoever writes goes on. SQLite
leaves what is written meanwhile to the writer, who copies that: a little. A disk that fails on the
way has failed for all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Final

from ..errors import SwarmDeckError
from ..store.dbapi import Error, Link
from ..store.descriptor import descriptor
from ..store.driver import look
from ..store.kin import CommitUnknown, DamagedFile, DiskError, kin
from ..store.log import copy_again, rewrite_log

LOOK_AFTER: Final = 32  # writes: asking how long the log is costs a tenth of a write
COPY_FROM_PAGES: Final = 8000

_WAIT_FROM: Final = 4  # times as long: who writes then waits for who copies
_PASSES: Final = 2  # the second copies what was written during the first
_IO_ERROR: Final = 10
_TOUCH: Final = "UPDATE schema_info SET value = value WHERE key = 'version'"

log = logging.getLogger(__name__)


class Log:
    """Told of each write by the thread whose turn it is. `connect` gives a connection of no thread.
    `failed`: why the disk is not to be believed before the log was written anew; empty while all
    is well."""

    def __init__(self, path: Path | None, durability: str, connect: Callable[[], Link]) -> None:
        self._path = path
        self._durability = durability
        self._connect = connect
        self._unseen = 0
        self._done = 0  # pages of the log when copying it was last tried
        self._copier: Thread | None = None
        self._beside: Link | None = None  # the copier's, opened when first needed
        self._refused = False
        self.failed = ""

    def before(self, link: Link) -> None:
        """Mend what a failed disk has left, before anything is added. Raises DiskError while the
        disk refuses."""
        if self.failed:
            self.settle(link)

    def settle(self, link: Link) -> None:
        """Wait until nothing is being copied, and mend what that or a write has met. Raises
        DiskError while the disk refuses: nothing was added to the log."""
        if self._copier is not None:
            with suppress(RuntimeError):  # interrupted before it began
                self._copier.join()
            self._copier = None
        if not self.failed or self._path is None:
            return
        try:
            link.ask("PRAGMA synchronous = full")
            try:
                self._mend(link, self._path)
            except (SwarmDeckError, OSError) as error:
                if not _is_of_disk(error):
                    raise
                # Each descriptor is told once of what an earlier sync has lost.
                link.undo()
                self._mend(link, self._path)
        except (OSError, CommitUnknown) as error:
            words = error.strerror if isinstance(error, OSError) else error.message
            raise DiskError(
                f"{self._path} was not changed: {words}", hint="check the disk"
            ) from error
        finally:
            with suppress(SwarmDeckError):  # what went wrong first is told
                link.undo()
                link.ask(f"PRAGMA synchronous = {self._durability}")
        self.failed = ""

    def _mend(self, link: Link, path: Path) -> None:
        """The kernel believes pages clean whose sync has failed. So the log is written over itself
        and synced, what was copied from it is copied again, and a synced commit covers what was
        half-written and has every connection forget what it has read meanwhile."""
        link.begin()  # nobody else adds to it
        rewrite_log(path)
        while copied := _copied(path):
            copy_again(path, copied)
            if _copied(path) == copied:  # else another process has copied in between
                break
        link.undo()
        link.ask("PRAGMA shrink_memory")
        link.begin()
        link.run([(_TOUCH, ())])
        link.commit()

    def after(self, link: Link, writes: int) -> None:
        """Have the log copied into the file once it is long. A failure belongs to nobody's write:
        they are committed. The next one meets it first."""
        self._unseen += writes
        if self._path is None or self._unseen < LOOK_AFTER:
            return
        self._unseen = 0
        if self.failed:  # what a sync has lost is not to be copied
            return
        try:
            pages = link.ask("PRAGMA wal_checkpoint(NOOP)")[0][1]
            self._done = min(self._done, pages)  # it has begun anew
            if self._copier is None:
                if pages - self._done >= COPY_FROM_PAGES:
                    self._begin(self._path, link)
            elif not self._copier.is_alive() or pages >= _WAIT_FROM * COPY_FROM_PAGES:
                self.settle(link)
                self._finish(link)
        except SwarmDeckError as error:
            self._note_refusal(error)

    @contextmanager
    def closing(self, link: Link) -> Iterator[None]:
        """Around closing all connections. The last one copies the log by itself: where the disk
        cannot be mended, one that only reads stays until they are closed, and the log with it."""
        try:
            self.settle(link)
        except SwarmDeckError as error:
            log.warning("closed on a disk that fails: %s", error)
        self._beside = None
        with ExitStack() as stack:
            if self.failed and self._path is not None:
                with suppress(Error, OSError):  # what cannot be opened is not written to either
                    guard = stack.enter_context(closing(look(self._path)))
                    guard.execute("SELECT 1 FROM sqlite_schema").fetchone()
            yield

    def note(self, error: BaseException) -> None:
        """Take in what a write met. Other errors than the disk's are not."""
        if not isinstance(error, OSError) and _is_of_disk(error):
            self.failed = str(error)

    def _begin(self, path: Path, link: Link) -> None:
        # Known before it runs: nobody may mend beside a copier that an interrupt has hidden.
        self._copier = Thread(target=self._copy, args=(path,), name="swarmdb copier")
        try:
            self._copier.start()
        except RuntimeError:  # no thread is to be had: too many, or the program ends
            self._copier = None
            self._finish(link)

    def _copy(self, path: Path) -> None:
        """On a thread of its own: copy the log, and sync the file so that there is little left to
        do for who finishes it."""
        try:
            if self._beside is None:
                self._beside = self._connect()
            for _ in range(_PASSES):
                if self.failed:  # what a sync has lost is not to be copied
                    return
                self._beside.ask("PRAGMA wal_checkpoint(PASSIVE)")
                try:
                    file = descriptor(path)
                except OSError:  # too many are open: who finishes syncs the file anyway
                    return
                os.fsync(file)
        except SwarmDeckError as error:
            self._note_refusal(error)
        except OSError as error:
            self.failed = f"{path}: {error.strerror}"
            self._note_refusal(error)

    def _finish(self, link: Link) -> None:
        """Copy what is left. Where that is all of it, the next write begins the log anew."""
        self._done = link.ask("PRAGMA wal_checkpoint(PASSIVE)")[0][1]
        self._refused = False

    def _note_refusal(self, error: Exception) -> None:
        self.note(error)
        if not self._refused:  # said once, until it goes again
            log.warning("the log could not be copied into the file: %s", error)
        self._refused = True


def _copied(path: Path) -> int:
    """How many pages of the log count as copied. Asking reads the file as it is."""
    try:
        with closing(look(path)) as looking:
            found = looking.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    except Error as error:
        raise _not_mended(path, kin(error, str(path))) from error
    return 0 if found is None else max(0, int(found[2]))


def _not_mended(path: Path, error: SwarmDeckError) -> SwarmDeckError:
    if not isinstance(error, DamagedFile):
        return error
    return DiskError(  # no damage yet: whoever opens the file anew reads all of its log
        f"{path} cannot be mended while it is in use: {error}",
        hint="close the database and open it again",
    )


def _is_of_disk(error: BaseException) -> bool:
    """Whether the disk has failed: other errors leave what is on it as it is."""
    return isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF == _IO_ERROR
