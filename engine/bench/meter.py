"""Watching a workload while it runs, without slowing it.

A thread looks ten times a second at what the callers have written down. It copies at most
MOST latencies of that moment, so that a sample costs the same for a thousand calls as for a
hundred thousand, and it is there too where a workload never lets its loop turn.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

EVERY_S: Final = 0.1
MOST: Final = 500


class Sample(msgspec.Struct, frozen=True):
    """What one workload did in the last moment; fields as in `events.Sampled`."""

    workload: str
    at_s: float
    ops_s: float
    p50_us: float
    p99_us: float


class Meter:
    """Tells samples of one workload. Time counts what is measured, over all repeats."""

    def __init__(self, workload: str, tell: Callable[[Sample], object]) -> None:
        self._workload = workload
        self._tell = tell
        self._before_s = 0.0

    @contextmanager
    def watch(self, latencies: array[float], weight: int, share: int) -> Iterator[None]:
        """While a repeat runs that appends to `latencies`, in microseconds a call: `weight`
        operations, each with a `share` of it."""
        stopped = threading.Event()
        thread = threading.Thread(target=self._look, args=(latencies, weight, share, stopped))
        started = time.perf_counter()
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self._before_s += time.perf_counter() - started

    def _look(
        self, latencies: array[float], weight: int, share: int, stopped: threading.Event
    ) -> None:
        started = last = time.perf_counter()
        seen = 0
        while not stopped.wait(EVERY_S):
            now, upto = time.perf_counter(), len(latencies)
            part = sorted(latencies[seen : upto : 1 + (upto - seen) // MOST])
            rate = (upto - seen) * weight / (now - last)
            p50, p99 = (_at(part, place) / share for place in (0.50, 0.99))
            at_s = self._before_s + now - started
            self._tell(
                Sample(self._workload, round(at_s, 3), round(rate, 1), round(p50, 2), round(p99, 2))
            )
            seen, last = upto, now


def _at(ordered: list[float], place: float) -> float:
    return ordered[int((len(ordered) - 1) * place)] if ordered else 0.0
