"""`instances/<environment>/artifacts/`: the files of contents. All of it blocks.

    parts/<name>    a content that is being written; nobody's once its engine has ended
    <ab>/<address>  a content; without a row in the database it is nobody's
    restored/<ab>/  contents of a backup, until the environment is that backup

A file gets its address when all of it is on the disk, and its row after that. So whatever ends a
process in between leaves no row without its file, only files that nothing speaks of.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import Damaged, StorageError
from ..model import format_size
from ..store.log import sync_directory
from ..store.reserve import Reserve

PARTS: Final = "parts"
STAGED: Final = "restored"
MARGIN_BYTES: Final = 16 << 20  # left free where nothing is held back of the disk

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
_FAN: Final = 2  # letters of an address that name its directory
_HINT: Final = "free some disk space, or delete artifacts: deleting still works"


class Files:
    """The contents of one environment, below `root`."""

    def __init__(self, root: Path, reserve: Reserve | None) -> None:
        self.root = root
        self._reserve = reserve

    def path(self, address: str) -> Path:
        return self.root / address[:_FAN] / address

    # --- writing ----------------------------------------------------------------------------

    def begin(self, name: str) -> int:
        """A handle of an empty file. Raises StorageError."""
        try:
            self._directory(PARTS)
            return os.open(self.root / PARTS / name, _CREATE, _OWNER_ONLY)
        except OSError as error:
            raise refused(error) from error

    def require_room(self, size_bytes: int) -> None:
        """Raises StorageError unless so much can be written and as much is left as is held back of
        the disk for an emergency: contents alone never fill it."""
        margin = MARGIN_BYTES if self._reserve is None else self._reserve.size_bytes
        if self._reserve is not None and self._reserve.emergency:
            raise StorageError("the disk is full: no artifact is stored", hint=_HINT)
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        if free < size_bytes + margin:
            raise StorageError(
                f"the disk has {format_size(free)} left, and {format_size(margin)} of it are kept "
                f"for the databases: no room for {format_size(size_bytes)}",
                hint=_HINT,
            )

    def keep(self, name: str, address: str) -> None:
        """Give a part its address; its bytes are on the disk. Raises StorageError."""
        try:
            directory = self._directory(address[:_FAN])
            (self.root / PARTS / name).rename(directory / address)
            sync_directory(directory)
        except OSError as error:
            raise refused(error) from error

    def drop(self, name: str) -> None:
        """Remove a part, if it is there."""
        with suppress(OSError):
            (self.root / PARTS / name).unlink()

    def _directory(self, name: str) -> Path:
        path = self.root / name
        if not path.is_dir():
            path.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
            for above in (self.root, self.root.parent):
                sync_directory(above)
        return path

    # --- reading ----------------------------------------------------------------------------

    def open(self, address: str) -> int:
        """A handle of a content, for reading. Raises Damaged where there is none, StorageError."""
        try:
            file = os.open(self.path(address), _READ)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Damaged("its file is gone") from error
        except OSError as error:
            raise refused(error) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise Damaged("its file is something else")
        return file

    def size(self, address: str) -> int:
        """Bytes of a file, -1 where there is none."""
        try:
            return self.path(address).stat(follow_symlinks=False).st_size
        except OSError:
            return -1

    # --- what is nobody's -------------------------------------------------------------------

    def remove(self, address: str) -> bool:
        """Delete a content; whether it was there."""
        try:
            self.path(address).unlink()
        except OSError:
            return False
        return True

    def parts(self) -> list[str]:
        return self._listed(PARTS)

    def fans(self) -> list[str]:
        """The directories that hold contents."""
        return [name for name in self._listed("") if len(name) == _FAN]

    def addresses(self, fan: str) -> list[str]:
        return self._listed(fan)

    # --- what another file of the environment needs -----------------------------------------

    @property
    def staged(self) -> Path:
        return self.root / STAGED

    def drop_staged(self) -> None:
        """Forget the contents of a backup that was not put back after all."""
        shutil.rmtree(self.staged, ignore_errors=True)

    def replace(self, kept: Path) -> None:
        """Let the staged contents be those of the environment, and move what was there to `kept`:
        two renames, and after a kill between them the second. Raises StorageError."""
        try:
            if self.staged.is_dir() and not kept.exists():
                self.root.rename(kept)
                sync_directory(self.root.parent)
            moved = kept / STAGED
            if moved.is_dir() and not self.root.exists():
                moved.rename(self.root)
                sync_directory(self.root.parent)
        except OSError as error:
            raise refused(error) from error

    def _listed(self, name: str) -> list[str]:
        with suppress(OSError):
            return sorted(path.name for path in (self.root / name).iterdir())
        return []


def refused(error: OSError) -> StorageError:
    """What a caller is told of a failing disk."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError("the disk is full: the artifact was not stored", hint=_HINT)
    return StorageError(
        f"the file of an artifact cannot be used: {error.strerror}",
        hint="check the disk and the rights of the data directory",
    )
