"""A connection for each thread, opened when it first asks and closed when it ends."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from threading import Lock, local
from typing import Final

import msgspec

from ..clock import Clock
from ..store.dbapi import Connection, Link, Place, open_link
from ..store.kin import DiskError, ProgrammingError
from ..store.log import sync_directories
from .schema import migrate

MEMORY: Final = ":memory:"
_PRIVATE: Final = 0o700


class Pool:
    """The connections to one database. May be asked from any thread. What lies in memory lasts
    until `close`; a file is where it was."""

    def __init__(self, path: Path, durability: str, timeout_s: float, clock: Clock) -> None:
        self.in_memory = str(path) == MEMORY
        self._place = Place(
            MEMORY if self.in_memory else path.name,
            None if self.in_memory else path,
            timeout_s,
            durability,
        )
        self._clock = clock
        self._lock = Lock()
        self._local = local()
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._anchor: Link | None = None  # what lies in memory lasts as long as this
        self._prepared = False
        self._process = os.getpid()

    def link(self) -> Link:
        """This thread's connection. Raises DiskError where none can be opened, ProgrammingError
        in a process that was forked from the one that opened it."""
        if os.getpid() != self._process:
            raise ProgrammingError(
                "a SwarmDB cannot be used in a process forked after it was opened",
                hint="open it there, in a process that was spawned",
            )
        found: Link | None = getattr(self._local, "link", None)
        return found if found is not None else self._connect()

    def apart(self) -> Link:
        """A connection of no thread, closed with the others. Raises DiskError."""
        with self._lock:
            link = open_link(self._place)
            self._open.add(link.connection)
        return link

    def close(self) -> None:
        """Close all connections, also those of other threads. The next call opens anew."""
        with self._lock:
            self._local = local()
            self._prepared = False
            anchor, self._anchor = self._anchor, None
            for connection in list(self._open):
                connection.close()
            self._open.clear()
        if anchor is not None:
            anchor.connection.close()

    def _connect(self) -> Link:
        with self._lock:
            first = not self._prepared
            new = first and self._make_place()
            if self.in_memory and self._anchor is None:
                name = f"swarmdb-{self._clock.token(16)}"
                self._place = msgspec.structs.replace(self._place, name=name)
                self._anchor = open_link(self._place)
            link = open_link(self._place)
            self._open.add(link.connection)
            if first:
                migrate(link, self._place.name)
                self._prepared = True
            if new and self._place.path is not None:
                sync_directories(self._place.path, 2)
        self._local.link = link
        return link

    def _make_place(self) -> bool:
        """Make the directory, if it is not there; whether the file is not either."""
        path = self._place.path
        if path is None:
            return True
        try:
            path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            return not path.exists() or path.stat().st_size == 0
        except OSError as error:
            raise DiskError(
                f"{path.parent} cannot be used: {error.strerror}", hint="name another path"
            ) from error
