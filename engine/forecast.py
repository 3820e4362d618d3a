"""When the memory of an environment will be full, if its use goes on growing as it does.

A straight line through the samples of the last minutes, by least squares. It counts only when it
rises beyond what the scatter around it could do by chance (reference: the t statistic of a slope in
simple linear regression).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

from .clock import Clock

WINDOW_S: Final = 300.0
SPAN_S: Final = 30.0  # less than this says nothing
THIN_S: Final = 5.0  # what is older than the newest sample is kept so far apart
CERTAIN: Final = 4.0  # standard errors the slope has to be above zero
FEW: Final = 5.0  # with so many samples beyond two, twice as many are asked
VISIBLE: Final = 2.0  # standard deviations of the scatter that the rise has to be

Sample = tuple[float, int]  # seconds, bytes


class Trend(NamedTuple):
    """Bytes now, and by how many a second they grow."""

    used_bytes: int
    slope: float


class Forecast:
    """The use of memory by environment, as it was measured about once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: dict[str, deque[Sample]] = {}
        self._crowds: dict[str, Hashable] = {}
        self._trends: dict[str, Trend | None] = {}

    def note(self, environment: str, used_bytes: int, crowd: Hashable = None) -> None:
        """One measurement. `crowd` stands for the processes measured: when others run, what was
        seen before says nothing about them."""
        samples = self._samples.setdefault(environment, deque())
        if self._crowds.get(environment) != crowd:
            self._crowds[environment] = crowd
            samples.clear()
        now_s = self._clock.monotonic_s()
        if len(samples) > 1 and now_s - samples[-2][0] <= THIN_S:
            samples.pop()
        samples.append((now_s, used_bytes))
        while now_s - samples[0][0] > WINDOW_S:
            samples.popleft()
        self._trends[environment] = trend(samples)

    def full_in_s(self, environment: str, allocated_bytes: int) -> float | None:
        """Seconds until the use reaches what is allocated; None while it does not grow."""
        found = self._trends.get(environment)
        if found is None or allocated_bytes <= 0:
            return None
        return max(0.0, (allocated_bytes - found.used_bytes) / found.slope)


def trend(samples: Iterable[Sample]) -> Trend | None:
    """How fast the samples grow, or None when that is too short, not upwards or only noise."""
    points = list(samples)
    span_s = points[-1][0] - points[0][0]
    count = len(points)
    if span_s < SPAN_S or count < 4:
        return None
    middle_s = sum(at for at, _ in points) / count
    mean = sum(used for _, used in points) / count
    spread = sum((at - middle_s) ** 2 for at, _ in points)
    slope = sum((at - middle_s) * (used - mean) for at, used in points) / spread
    off = sum((used - mean - slope * (at - middle_s)) ** 2 for at, used in points)
    scatter = math.sqrt(off / (count - 2))
    # The line is looked at each second: of few samples some line always looks steep.
    needed = CERTAIN * (1 + FEW / (count - 2)) * scatter
    certain = slope * math.sqrt(spread) > needed
    if slope <= 0 or not certain or slope * span_s < VISIBLE * scatter:
        return None
    return Trend(points[-1][1], slope)
