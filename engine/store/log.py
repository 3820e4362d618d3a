"""What a database file's write-ahead log needs that SQLite does not do.

When an fsync fails, the kernel gives the unwritten pages up and marks them clean: the next fsync of
the same file succeeds without writing them. So a log whose sync has failed is never synced again as
it is. Its bytes are written once more, which makes the pages dirty, and then synced.

The same goes for the file itself. What is copied of a log that was not copied to its end, because a
reader or the next commit was in the way, counts as copied although SQLite has not synced the file:
it is copied once more. The format is that of https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from array import array
from pathlib import Path
from typing import BinaryIO, Final

from .descriptor import descriptor

CHUNK_BYTES: Final = 1 << 20

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, count, two salts, two sums
_FRAME: Final = struct.Struct(">6I")  # page, pages of the file (0: no commit), salts, sums
_SUMMED: Final = 24, 8  # of a header and of a frame's own: what their sums are of
_LITTLE_ENDIAN_SUMS: Final = 0x377F0682
_WORD: Final = 0xFFFFFFFF
_NO_LOG: Final = "the log does not hold what was copied from it"


def log_of(path: Path) -> Path:
    """The write-ahead log of a database file."""
    return path.with_name(path.name + "-wal")


def log_bytes(path: Path) -> int:
    """How large the log of a database file is; 0 where there is none."""
    try:
        return log_of(path).stat().st_size
    except FileNotFoundError:
        return 0


def rewrite_log(path: Path) -> None:
    """Write the log of a database file over itself and sync it, so that all it holds is on the
    disk. Nobody may write the file meanwhile; readers do not mind. Raises OSError."""
    try:
        log = os.open(log_of(path.resolve()), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    # Closing it takes no lock from SQLite: those are on the file itself and its index.
    try:
        offset = 0
        while chunk := os.pread(log, CHUNK_BYTES, offset):
            offset += os.pwrite(log, chunk, offset)
        os.fsync(log)
    finally:
        os.close(log)


def sync_log(path: Path) -> None:
    """Put what the log of a database file holds on the disk. Raises OSError."""
    log = os.open(log_of(path.resolve()), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(log)
    finally:
        os.close(log)


def copy_again(path: Path, frames: int) -> None:
    """Write the pages of the first `frames` of a log, which count as copied, into its file again
    and sync it. Whoever reads sees what it saw. Nobody may write or copy meanwhile.

    Raises OSError, also where the log is not whole.
    """
    file = descriptor(path)
    with log_of(path.resolve()).open("rb") as log:
        size, places = _places(log.read(_HEADER.size), log, frames)
        for last in (False, True):
            for page, offset in places.items():
                body = os.pread(log.fileno(), size, offset)
                if os.pwrite(file, body, (page - 1) * size) != size:
                    raise OSError(errno.EIO, "a page was written in part")
            try:
                os.fsync(file)
            except OSError:  # the first may tell of what another descriptor has written
                if last:
                    raise
            else:
                return


def _places(header: bytes, log: BinaryIO, frames: int) -> tuple[int, dict[int, int]]:
    """The size of a page, and of each page the offset of its last body among the first `frames`
    of a log. All sums are checked."""
    if len(header) < _HEADER.size:
        raise OSError(errno.EIO, _NO_LOG)
    magic, _, size, _, *salts, first, second = _HEADER.unpack(header)
    swapped = (magic == _LITTLE_ENDIAN_SUMS) != (sys.byteorder == "little")
    sums = _sums((0, 0), header[: _SUMMED[0]], swapped=swapped)
    if sums != (first, second):
        raise OSError(errno.EIO, _NO_LOG)
    places: dict[int, int] = {}
    for _ in range(frames):
        frame = log.read(_FRAME.size + size)
        if len(frame) < _FRAME.size + size:
            raise OSError(errno.EIO, _NO_LOG)
        page, _, salt, other, first, second = _FRAME.unpack_from(frame)
        sums = _sums(sums, frame[: _SUMMED[1]] + frame[_FRAME.size :], swapped=swapped)
        if [salt, other] != salts or sums != (first, second):
            raise OSError(errno.EIO, _NO_LOG)
        places[page] = log.tell() - size
    return size, places


def _sums(sums: tuple[int, int], content: bytes, *, swapped: bool) -> tuple[int, int]:
    """The running sums of a log after so much more of it."""
    words = array("I", content)
    if swapped:
        words.byteswap()
    first, second = sums
    pairs = iter(words)
    for one, two in zip(pairs, pairs, strict=True):
        first = (first + one + second) & _WORD
        second = (second + two + first) & _WORD
    return first, second


def sync_directories(path: Path, levels: int) -> None:
    """Make the name of a new file last, and those of the `levels` - 1 directories it lies in.
    Raises OSError."""
    for directory in list(path.parents)[:levels]:
        sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Let a new or moved name in a directory reach the disk. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
