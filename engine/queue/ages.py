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

    __slots__ = ("_counts", "_times")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._times: list[int] = []  # a heap; those that have no message any more may be in it

    def add(self, sent_us: int, count: int = 1) -> None:
        """So many messages became ready."""
        known = self._counts.get(sent_us)
        if known is None:
            heappush(self._times, sent_us)
            known = 0
        self._counts[sent_us] = known + count

    def remove(self, sent_us: int) -> None:
        """A ready message became something else."""
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
        return times[0] if times else None
