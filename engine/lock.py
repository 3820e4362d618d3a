"""One owner per data directory, and where its socket is.

The owner holds a flock on `<data>/run/engine.lock`, with its pid written inside; the kernel frees
it with the process, however that ends. Only the owner may make and remove the socket. The socket
itself lives in a short private runtime directory, because the path of a unix socket may not
pass 107 bytes, and `<data>/run/engine.sock` is a link to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from .errors import Denied, EngineBusy, StorageError

MAX_SOCKET_PATH_BYTES: Final = 107
RETRY_S: Final = 0.05
PASSING_HOLDER_S: Final = 5.0

_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_HELD: Final = {errno.EWOULDBLOCK, errno.EACCES}
_UNWELL: Final = "the disk refuses; look at its space and health, then repeat"


def make_directory(data: Path) -> None:
    """Make the data directory, closed to others. Raises StorageError when it cannot be."""
    try:
        data.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        for name in ("run", "logs", "keys", "backups", "instances"):
            (data / name).mkdir(mode=stat.S_IRWXU, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the data directory {data}: {error.strerror}",
            hint="give another one with --data",
        ) from error


class OwnerLock:
    """The right to a data directory, held until release() or the end of the process."""

    def __init__(self, data: Path, descriptor: int) -> None:
        self._data = data
        self._descriptor: int | None = descriptor

    @classmethod
    async def acquire(cls, data: Path, wait_s: float = 0.0) -> OwnerLock:
        """Become the owner of a data directory, which must exist. Waits up to `wait_s` for the
        present one to go. Raises EngineBusy with its pid, StorageError when `run/` refuses."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            try:
                return cls._try(data)
            except EngineBusy:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    @classmethod
    def _try(cls, data: Path) -> OwnerLock:
        path = data / "run" / "engine.lock"
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, _LOCK_FLAGS, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot lock {data}: {error.strerror}",
                hint="the directory must exist and be yours to write",
            ) from error
        try:
            _take(descriptor, data)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(data, descriptor)

    def prepare_socket(self) -> Path:
        """Where to bind the socket: its place is empty afterwards and `run/engine.sock` points
        there. Raises Denied when the runtime directory is not safely ours, StorageError when the
        disk takes no link."""
        place = runtime_directory() / _socket_name(self._data)
        _remove_sockets({place, find_socket(self._data)})
        link = _link(self._data)
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(place)
            fresh.replace(link)
        except OSError as error:
            raise StorageError(f"cannot make {link}: {error.strerror}", hint=_UNWELL) from error
        return place

    def release(self) -> None:
        """Remove the socket and give the directory up. Can be called again."""
        if self._descriptor is None:
            return
        _remove_sockets({find_socket(self._data)})
        _link(self._data).unlink(missing_ok=True)
        descriptor, self._descriptor = self._descriptor, None
        # The file stays: removing it would let two processes lock two files of one name. Where
        # the pid in it stays too, nobody asks for it: no one holds the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def __enter__(self) -> OwnerLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


async def own(data: Path) -> OwnerLock:
    """The owner's lock. A holder without a socket is a command that is done in a moment, or an
    owner that begins: worth waiting for. Raises EngineBusy."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + PASSING_HOLDER_S
    while True:
        try:
            return await OwnerLock.acquire(data)
        except EngineBusy:
            if find_socket(data) is not None or loop.time() > deadline_s:
                raise
        await asyncio.sleep(RETRY_S)


def find_socket(data: Path) -> Path | None:
    """The socket the owner of a data directory published, alive or stale; None without one."""
    with contextlib.suppress(OSError):
        return _link(data).readlink()
    return None


def lasting_socket(data: Path, socket: Path) -> Path:
    """How agents find the engine of a data directory, also the next one, which may put its socket
    elsewhere: by the link in the directory, where its path is short enough for a socket."""
    link = _link(data.absolute())
    return link if len(os.fsencode(link)) <= MAX_SOCKET_PATH_BYTES else socket


def runtime_directory() -> Path:
    """A directory that only we can enter: `$XDG_RUNTIME_DIR/swarmdeck`, or one of our uid in
    /tmp. Made if missing. Raises Denied when it is somebody else's or open to others."""
    uid = os.getuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = Path(base) / "swarmdeck"
    if not base or not directory.is_absolute() or not _fits(directory) or not _private(base, uid):
        directory = Path(f"/tmp/swarmdeck-{uid}")  # noqa: S108 - checked below
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if not _private(directory, uid):
        raise Denied(
            f"{directory} is not a directory of uid {uid} that is closed to others",
            hint="remove it, or point XDG_RUNTIME_DIR to a private directory",
        )
    return directory


def _take(descriptor: int, data: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise StorageError(f"cannot lock {data}: {error.strerror}") from error
        pid = _holder(descriptor)
        raise EngineBusy(
            f"{data} is owned by process {pid or 'of unknown pid'}",
            hint="attach to it, stop it with `swarmdeck stop`, or use another --data",
            pid=pid,
        ) from None
    try:
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:  # whoever is refused must be told whose the directory is
        raise StorageError(f"cannot lock {data}: {error.strerror}", hint=_UNWELL) from error


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _remove_sockets(places: set[Path | None]) -> None:
    """The last owner may have lived in another session, so its socket can be elsewhere."""
    for place in places:
        if place is not None and place.is_socket():
            place.unlink(missing_ok=True)


def _link(data: Path) -> Path:
    return data / "run" / "engine.sock"


def _socket_name(data: Path) -> str:
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()
    return f"{digest[:32]}.sock"


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / _socket_name(Path("/")))) <= MAX_SOCKET_PATH_BYTES


def _private(directory: Path | str, uid: int) -> bool:
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077
