"""A file that holds disk space back for an emergency.

On a full disk not even a delete works: SQLite writes it to the log first. The reserve is given up
when a database finds the disk full, so that deletes, acknowledgements and checkpoints go on, and is
made again when there is room for it and as much besides. Until then nothing that stores a value is
written: it would only use up what the others need.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from threading import Lock
from typing import Final

SHARE_OF_DISK: Final = 16  # of a small disk not more than this part

log = logging.getLogger(__name__)


class Reserve:
    """The reserve of a data directory. May be used from any thread; never raises."""

    def __init__(self, path: Path, wanted_bytes: int) -> None:
        self.path = path
        self.size_bytes = _fitting(path.parent, wanted_bytes)
        self.emergency = False
        self._lock = Lock()

    @property
    def held(self) -> bool:
        """Whether the space is there for an emergency."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return found.st_blocks * 512 >= self.size_bytes

    def spend(self) -> None:
        """Give the space up: a database has found the disk full."""
        with self._lock:
            self.emergency = True
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("the reserve %s stays: %s", self.path, error.strerror)

    def regain(self) -> bool:
        """Whether the emergency is over, which it is once the reserve could be made again."""
        with self._lock:
            if not self.emergency:
                return True
            if self._make():
                self.emergency = False
                log.info("the disk has room again, and its reserve")
            return not self.emergency

    def make(self) -> bool:
        """Hold the space, if there is room for it and as much besides. Whether it is held."""
        with self._lock:
            return self._make()

    def _make(self) -> bool:
        try:
            return self.held or self._allocate()
        except OSError as error:
            log.warning("no reserve at %s: %s", self.path, error.strerror)
            return False

    def _allocate(self) -> bool:
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * self.size_bytes:
            return False
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
            os.posix_fallocate(descriptor, 0, self.size_bytes)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return True


def _fitting(directory: Path, wanted_bytes: int) -> int:
    """What to hold back on this disk."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return wanted_bytes
    return min(wanted_bytes, disk.f_blocks * disk.f_frsize // SHARE_OF_DISK)
