"""Files of whoever asks: read as a content, and written from one. Used by the engine for the
operator, and by the client of an agent in its own process."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from ..errors import Conflict, InvalidInput, StorageError
from ..model import printable
from .aside import aside

Progress = Callable[[float, str], object]
T = TypeVar("T")

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR


@asynccontextmanager
async def source(path: Path) -> AsyncIterator[tuple[int, int]]:
    """A file to read and its size in bytes. Raises InvalidInput for what is no file."""
    file = await aside(_opened, path)
    try:
        yield file, os.fstat(file).st_size
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    try:
        file = os.open(path, _READ)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{printable(str(path))} cannot be read: {_why(error)}", hint="name a file"
        ) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidInput(f"{printable(str(path))} is not a file", hint="name a file")
    return file


def read(file: int, size_bytes: int) -> bytes:
    """The next bytes of a source, none at its end. Raises StorageError."""
    try:
        return os.read(file, size_bytes)
    except OSError as error:
        raise StorageError(f"the file cannot be read: {_why(error)}") from error


class Target:
    """A new file beside its place, which it gets when all of it is written. All of it blocks."""

    def __init__(self, path: Path, token: str, *, replace: bool) -> None:
        """Raises Conflict where something is there that is not to be replaced, InvalidInput where
        nothing can be."""
        self._path = path
        self._part = path.with_name(f".{path.name}.{token}.part")
        self._replace = replace
        if path.is_dir() or (not replace and os.path.lexists(path)):
            raise _taken(path)
        try:
            self._file = os.open(self._part, _CREATE, _OWNER_ONLY)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{printable(str(path))} cannot be written: {_why(error)}"
            ) from error

    def write(self, body: bytes) -> None:
        """Raises StorageError."""
        left = memoryview(body)
        with self._blamed():
            while left:
                left = left[os.write(self._file, left) :]

    def keep(self) -> None:
        """Put it on the disk and in its place. Raises StorageError, Conflict where somebody else
        has put something there meanwhile."""
        with self._blamed():
            os.fsync(self._file)
            if self._replace:
                self._part.replace(self._path)
                return
            try:
                os.link(self._part, self._path, follow_symlinks=False)
            except FileExistsError as error:
                raise _taken(self._path) from error

    def close(self) -> None:
        """Leave nothing of one that was not kept."""
        os.close(self._file)
        with suppress(FileNotFoundError):
            self._part.unlink()

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{printable(str(self._path))} was not written: {_why(error)}",
                hint="free some disk space, or name another place",
            ) from error


@asynccontextmanager
async def target(path: Path, token: str, *, replace: bool) -> AsyncIterator[Target]:
    """A file that is in its place when the block ends, or not at all. Raises as `Target`."""
    made = await aside(lambda: Target(path, token, replace=replace))
    try:
        yield made
        await aside(made.keep)
    finally:
        made.close()


def _taken(path: Path) -> Conflict:
    return Conflict(
        f"{printable(str(path))} is there already", hint="name another place, or replace it"
    )


def _why(error: OSError | ValueError) -> str:
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else str(error)
