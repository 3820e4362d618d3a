"""One timer for the earliest of all deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from ..clock import Clock

MAX_SLEEP_S: Final = 60.0  # look again after this long: the wall clock may have been set


class Alarm:
    """Rings on the loop once a deadline has passed. Stored deadlines are on the wall clock, those
    of callers on the monotonic one; both clocks are injected, so that a test rings by hand.

    A deadline can be called off without saying so: then the alarm rings once for nothing and its
    owner sets it anew.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._armed_s = math.inf  # when it rings; a loop's handle need not tell
        self._closed = False

    def at_wall(self, deadline_us: int) -> None:
        """Ring at that time, or earlier if asked to before."""
        self._within((deadline_us - self._clock.wall_us()) / 1_000_000)

    def at_monotonic(self, deadline_s: float) -> None:
        self._within(deadline_s - self._clock.monotonic_s())

    def reset(self) -> None:
        """Forget all deadlines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_s = math.inf

    def close(self) -> None:
        self._closed = True
        self.reset()

    def _within(self, wait_s: float) -> None:
        when_s = self._loop.time() + min(MAX_SLEEP_S, max(0.0, wait_s))
        if when_s < self._armed_s and not self._closed:
            self.reset()
            self._timer = self._loop.call_at(when_s, self._go_off)
            self._armed_s = when_s

    def _go_off(self) -> None:
        self._timer = None
        self._armed_s = math.inf
        self._ring()
