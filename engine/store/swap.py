"""Another file in the place of a database, at no moment none.

    <name>.db.part     the new file, being written
    <name>.restore     why: written when the new file is whole and on the disk
    replaced-<time>/   the old file with its log, linked there next
    <name>.db.ready    the new file from the moment it counts, until it is <name>.db

Whatever ends a process in between, the next opening finds either the old file untouched or a new
one that counts, and finishes. The log of the old file goes before the new one takes its place:
SQLite would play it into that.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ..errors import Corrupt, StorageError
from .log import sync_directory

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR


class Reason(msgspec.Struct, frozen=True):
    """Why a file was replaced: the backup it comes from, and who asked for it, when (microseconds).
    Its audit trail ends at `sequence` with `hash`; `bare`: something in it has no check, because
    it is of before there were keys. The signature is the vault's (`replaced.py`)."""

    backup: str
    actor: str
    kept: str
    at_us: int = 0
    sequence: int = 0
    hash: bytes = b""
    bare: bool = False
    signature: bytes = b""


class Swap:
    """The replacing of one database file. All of it blocks; raises StorageError."""

    def __init__(self, database: Path) -> None:
        self.counts = False  # whether the new file is the one from now on
        self._database = database
        self._part = database.with_name(database.name + ".part")
        self._ready = database.with_name(database.name + ".ready")
        self._reason = database.with_suffix(".restore")
        self._draft = database.with_suffix(".restore.part")

    def begin(self) -> int:
        """A handle of an empty file for what is to be there. Close it before `commit`."""
        try:
            self._database.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
            self._part.unlink(missing_ok=True)
            return os.open(self._part, _CREATE, _OWNER_ONLY)
        except OSError as error:
            raise _refused(self._database, error) from error

    def abandon(self) -> None:
        """Leave everything as it is."""
        for path in (self._reason, self._draft, self._part):
            path.unlink(missing_ok=True)

    def commit(self, reason: Reason) -> None:
        """Let the new file, which is on the disk, take the place of the old one, which nobody has
        open. The old one is kept in the directory `reason.kept` beside it."""
        kept = self._database.with_name(reason.kept)
        try:
            _write(self._draft, msgspec.json.encode(reason))
            self._draft.rename(self._reason)
            self._keep(kept)
            self._part.rename(self._ready)
            self.counts = True
            sync_directory(self._database.parent)
            self._finish()
        except OSError as error:
            if not self.counts:
                self._forget(kept)
            raise _refused(self._database, error) from error

    def settle(self) -> Reason | None:
        """Finish or undo what a killed process has left, before the file is opened. Why it was
        replaced, as long as nobody has said `settled`."""
        if not self._reason.exists():
            self._draft.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
            return None
        try:
            if self._ready.exists():
                self._finish()
            reason = msgspec.json.decode(self._reason.read_bytes(), type=Reason)
            if self._part.exists():
                self._forget(self._database.with_name(reason.kept))
                self.abandon()
        except OSError as error:
            raise _refused(self._database, error) from error
        except (msgspec.DecodeError, ValueError) as error:
            raise Corrupt(f"{self._reason} is damaged", hint="delete it") from error
        return reason if self._reason.exists() else None

    def settled(self) -> None:
        """What follows from a new file is done and recorded in it."""
        self._reason.unlink(missing_ok=True)

    def _keep(self, directory: Path) -> None:
        """Link the old file and its log into a directory."""
        directory.mkdir(mode=stat.S_IRWXU)
        for suffix in ("", "-wal"):
            old = self._database.with_name(self._database.name + suffix)
            with suppress(FileNotFoundError):
                os.link(old, directory / old.name, follow_symlinks=False)
        sync_directory(directory)
        sync_directory(self._database.parent)

    def _forget(self, directory: Path) -> None:
        """Remove the second names of files that still have their first, and no other."""
        for suffix in ("", "-wal"):
            first = self._database.with_name(self._database.name + suffix)
            second = directory / first.name
            with suppress(FileNotFoundError):
                if first.samefile(second):
                    second.unlink()
        with suppress(OSError):
            directory.rmdir()

    def _finish(self) -> None:
        for suffix in ("-wal", "-shm", "-journal"):
            self._database.with_name(self._database.name + suffix).unlink(missing_ok=True)
        sync_directory(self._database.parent)
        self._ready.replace(self._database)
        sync_directory(self._database.parent)


def _write(path: Path, body: bytes) -> None:
    path.unlink(missing_ok=True)
    file = os.open(path, _CREATE, _OWNER_ONLY)
    try:
        os.write(file, body)
        os.fsync(file)
    finally:
        os.close(file)


def _refused(database: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{database.name} cannot be replaced: {error.strerror}",
        hint="free some disk space or check the rights of its directory",
    )
