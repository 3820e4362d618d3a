"""Since when messages are ready, kept in memory.

Messages of one commit have one time, so what is kept are times and how many ready messages each
has: less than the queue's limit of them, and far less under load.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

_SLACK: Final = 64  # times without a message that are not worth a clean-up


class Ages:
    """When the ready messages of one priority were sent. Belongs to the engine's loop."""

    __slots__ = ("_counts", "_first_us", "_times", "_unread")

    def __init__(self) -> None:
        self._first_us = 0
        self._unread = 0
        self._counts: dict[int, int] = {}
        self._times: list[int] = []  # a heap; those that have no message any more may be in it

    def add(self, sent_us: int, count: int = 1) -> None:
        """So many messages became ready."""
        known = self._counts.get(sent_us)
        if known is None:
            heappush(self._times, sent_us)
            known = 0
        self._counts[sent_us] = known + count

    def leave_unread(self, first_us: int, count: int) -> None:
        """So many messages are ready, the oldest of them since then; when the others were sent is
        not read, for an engine that is over in a moment. The oldest is told as long as one of
        them is left."""
        self._first_us, self._unread = first_us, count

    def remove(self, sent_us: int) -> None:
        """A ready message became something else."""
        if self._unread and sent_us not in self._counts:
            self._unread -= 1
            return
        left = self._counts[sent_us] - 1
        if left:
            self._counts[sent_us] = left
            return
        del self._counts[sent_us]
        if len(self._times) > 2 * len(self._counts) + _SLACK:
            self._times = list(self._counts)
            heapify(self._times)

    @property
    def oldest_us(self) -> int | None:
        """When the oldest of them was sent, None when none is ready."""
        times = self._times
        while times and times[0] not in self._counts:
            heappop(times)
        known_us = times[0] if times else None
        if not self._unread:
            return known_us
        return self._first_us if known_us is None else min(known_us, self._first_us)
