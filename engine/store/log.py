"""What a database file's write-ahead log needs that SQLite does not do.

When an fsync fails, the kernel gives the unwritten pages up and marks them clean: the next fsync of
the same file succeeds without writing them. So a log whose sync has failed is never synced again as
it is. Its bytes are written once more, which makes the pages dirty, and then synced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1 << 20


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
        descriptor = os.open(log_of(path), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    # Closing it takes no lock from SQLite: those are on the file itself and its index.
    try:
        offset = 0
        while chunk := os.pread(descriptor, CHUNK_BYTES, offset):
            offset += os.pwrite(descriptor, chunk, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directories(path: Path, levels: int) -> None:
    """Make the name of a new file last, and those of the `levels` - 1 directories it lies in.
    Raises OSError."""
    for directory in list(path.parents)[:levels]:
        sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Let a new or moved name in a directory reach the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
