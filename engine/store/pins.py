"""Who reads: an open read transaction keeps the write-ahead log from being used anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ..clock import Clock


class Pinned(msgspec.Struct, frozen=True):
    """Open reads: how many, how long the oldest has been open, what it is for, and how long the
    log is that it keeps."""

    readers: int = 0
    oldest_s: float = 0.0
    what: str = ""
    log_bytes: int = 0


class Pins:
    """The open reads of one database. Belongs to its loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, tuple[float, str]] = {}  # oldest first
        self._last = 0

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Count a read as open for as long as the block lasts."""
        self._last += 1
        number = self._last
        self._open[number] = (self._clock.monotonic_s(), what)
        try:
            yield
        finally:
            del self._open[number]

    @property
    def pinned(self) -> Pinned:
        for since_s, what in self._open.values():
            return Pinned(len(self._open), self._clock.monotonic_s() - since_s, what)
        return Pinned()
