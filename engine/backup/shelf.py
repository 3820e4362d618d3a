"""`backups/<environment>/`: where backups lie, reached by directory handles only.

No name from outside becomes a path: it is checked against the grammar of names and opened below a
handle of a directory that was itself opened without following a link. So nothing outside the
backup root is read, written or deleted, whatever somebody puts there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import Conflict, InvalidInput, NotFound, StorageError
from ..model import check_name, printable

COPY: Final = ".db"
MANIFEST: Final = ".json"
FILES: Final = ".files"  # contents of artifacts
PART: Final = ".part"  # what is not finished yet
MAX_MANIFEST_BYTES: Final = 1 << 20

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
_CHUNK: Final = 1 << 20


class Shelf:
    """The backups of one environment."""

    def __init__(self, root: Path, environment: str) -> None:
        """`root` is the directory `backups` of a data directory."""
        self._root = root
        self._environment = environment
        self.path = root / environment

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A handle of the directory, made on first use. Raises StorageError where it is something
        else, such as a link that leads elsewhere."""
        try:
            root = os.open(self._root, _DIRECTORY)
            try:
                with suppress(FileExistsError):
                    os.mkdir(self._environment, stat.S_IRWXU, dir_fd=root)
                handle = os.open(self._environment, _DIRECTORY, dir_fd=root)
            finally:
                os.close(root)
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be used: {error.strerror}",
                hint="backups and the directories in it must be directories of their own",
            ) from error
        try:
            yield handle
        finally:
            os.close(handle)

    def names(self) -> list[str]:
        """The backups with a manifest, in order of their names."""
        with self.opened() as handle:
            found = [name for name in _listed(handle) if name.endswith(MANIFEST)]
        return sorted(name.removesuffix(MANIFEST) for name in found)

    def manifest(self, name: str) -> bytes:
        """The manifest of a backup as it lies there. Raises NotFound, StorageError."""
        with self.opened() as handle, self._file(handle, name, MANIFEST) as file:
            return _whole(file)

    @contextmanager
    def copy(self, name: str) -> Iterator[int]:
        """A handle of a backup's copy, for reading. Raises NotFound, StorageError."""
        with self.opened() as handle, self._file(handle, name, COPY) as file:
            yield file

    @contextmanager
    def _file(self, handle: int, name: str, suffix: str) -> Iterator[int]:
        check_backup_name(name)
        try:
            file = os.open(name + suffix, _READ, dir_fd=handle)
        except FileNotFoundError as error:
            raise NotFound(
                f"no backup {name} of {self._environment}", hint="see swarmdeck backup list"
            ) from error
        except OSError as error:
            raise StorageError(f"{self.path / (name + suffix)}: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise StorageError(f"{self.path / (name + suffix)} is not a file")
            yield file
        finally:
            os.close(file)

    def files(self, name: str) -> Path:
        """Where the contents of a backup's artifacts lie; nothing is there if it has none."""
        return self.path / (check_backup_name(name) + FILES)

    def gathering(self, name: str) -> Path:
        """Where they are put while it is made."""
        return self.path / (check_backup_name(name) + FILES + PART)

    @contextmanager
    def making(self, name: str) -> Iterator[tuple[int, Path]]:
        """A new file for a copy: its handle and path. It is there under its own name once `keep`
        was called, else it is gone. Raises Conflict, StorageError."""
        check_backup_name(name)
        part = name + COPY + PART
        with self.opened() as handle:
            file = self._create(handle, part)
            try:
                yield file, self.path / part
            finally:
                os.close(file)
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=handle)
                shutil.rmtree(name + FILES + PART, ignore_errors=True, dir_fd=handle)

    def keep(self, name: str, manifest: bytes) -> None:
        """Let the copy that is being made and its manifest appear, manifest last: without it there
        is no backup. Raises StorageError."""
        with self.opened() as handle:
            try:
                with suppress(FileNotFoundError):
                    os.rename(
                        name + FILES + PART, name + FILES, src_dir_fd=handle, dst_dir_fd=handle
                    )
                os.rename(name + COPY + PART, name + COPY, src_dir_fd=handle, dst_dir_fd=handle)
                file = self._create(handle, name + MANIFEST + PART)
                try:
                    _write(file, manifest)
                finally:
                    os.close(file)
                os.rename(
                    name + MANIFEST + PART, name + MANIFEST, src_dir_fd=handle, dst_dir_fd=handle
                )
                os.fsync(handle)
            except OSError as error:
                self._remove(handle, name)
                raise StorageError(
                    f"backup {name} was not kept: {error.strerror}",
                    hint="free some disk space, then repeat it",
                ) from error

    def delete(self, name: str) -> None:
        """Delete a backup, its manifest first. Raises NotFound, StorageError."""
        check_backup_name(name)
        with self.opened() as handle:
            if not self._remove(handle, name):
                raise NotFound(f"no backup {name} of {self._environment}")
            os.fsync(handle)

    def sweep(self) -> int:
        """Remove what an engine that was killed has left half made; how many files."""
        with self.opened() as handle:
            left = [name for name in _listed(handle) if name.endswith(PART)]
            for name in left:
                if name.endswith(FILES + PART):
                    shutil.rmtree(name, ignore_errors=True, dir_fd=handle)
                else:
                    os.unlink(name, dir_fd=handle)
        return len(left)

    def _create(self, handle: int, name: str) -> int:
        try:
            return os.open(name, _CREATE, _OWNER_ONLY, dir_fd=handle)
        except FileExistsError as error:
            raise Conflict(f"{self.path / name} is there already") from error
        except OSError as error:
            raise StorageError(
                f"{self.path / name} cannot be made: {error.strerror}",
                hint="free some disk space or check its rights",
            ) from error

    @staticmethod
    def _remove(handle: int, name: str) -> bool:
        found = False
        for suffix in (MANIFEST, COPY, MANIFEST + PART):
            with suppress(FileNotFoundError):
                os.unlink(name + suffix, dir_fd=handle)
                found = True
        shutil.rmtree(name + FILES, ignore_errors=True, dir_fd=handle)
        return found


def check_backup_name(name: str) -> str:
    """A name that is only a name. Raises InvalidInput."""
    try:
        return check_name(name, "backup")
    except InvalidInput as error:
        raise InvalidInput(
            f"{printable(name)} is not the name of a backup", hint="see swarmdeck backup list"
        ) from error


def digest(file: int, progress: Callable[[float], object] = lambda _: None) -> bytes:
    """SHA-256 of what a handle holds, from its beginning."""
    size, read, found = max(1, os.fstat(file).st_size), 0, hashlib.sha256()
    while part := os.pread(file, _CHUNK, read):
        found.update(part)
        read += len(part)
        progress(read / size)
    return found.digest()


def _listed(handle: int) -> list[str]:
    return os.listdir(handle)


def _whole(file: int) -> bytes:
    if os.fstat(file).st_size > MAX_MANIFEST_BYTES:
        raise StorageError("a manifest is longer than any can be", hint="delete that backup")
    return os.pread(file, MAX_MANIFEST_BYTES, 0)


def _write(file: int, body: bytes) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)
