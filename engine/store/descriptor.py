"""A descriptor of a database file beside SQLite's own.

SQLite's locks on a file belong to the process: closing any descriptor of that file ends them all.
So there is at most one beside those of SQLite, lent to who has to sync or mend the file, and it is
closed after the last connection of this process to it.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

Inode: TypeAlias = tuple[int, int]
"""Device and number of a file, which stay when its name is given to another."""

_lock: Final = Lock()
_connections: Final[dict[Inode, int]] = {}
_lent: Final[dict[Inode, int]] = {}
_gone: Final[deque[Inode]] = deque()


def descriptor(path: Path) -> int:
    """A descriptor of a file that a connection is open to, for writing; not to be closed. Any
    thread. Raises OSError."""
    try:
        with _lock:
            inode = _inode(path)
            found = _lent.get(inode)
            if found is None:
                found = _lent[inode] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            return found
    finally:
        _settle()


def opened(path: Path) -> Inode:
    """A connection to this file was opened, and has asked nothing yet. Raises OSError."""
    try:
        with _lock:
            inode = _inode(path)
            _connections[inode] = _connections.get(inode, 0) + 1
            return inode
    finally:
        _settle()


def closed(inode: Inode) -> None:
    """A connection that was `opened` is closed. May be called while garbage is collected: whoever
    has the lock then sees to it."""
    _gone.append(inode)
    _settle()


def _settle() -> None:
    while _gone and _lock.acquire(blocking=False):
        try:
            while _gone:
                _forget(_gone.popleft())
        finally:
            _lock.release()


def _forget(inode: Inode) -> None:
    _connections[inode] -= 1
    if not _connections[inode]:
        del _connections[inode]
        lent = _lent.pop(inode, None)
        if lent is not None:
            os.close(lent)


def _inode(path: Path) -> Inode:
    found = path.stat()
    return found.st_dev, found.st_ino
