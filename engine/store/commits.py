"""How long commits take: counted by length, so that a 99th of a hundred costs no memory."""

from __future__ import annotations

import math
from typing import Final

_PARTS: Final = 8  # of each doubling: what is told is at most an eighth too long
_LONGEST: Final = 40 * _PARTS  # a microsecond doubled 40 times


class Commits:
    """Lengths of commits since they were last taken."""

    __slots__ = ("_count", "_counts")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._count = 0

    def note(self, seconds: float) -> None:
        """A commit took so long."""
        share, power = math.frexp(max(seconds, 1e-6) * 1e6)
        place = min(_LONGEST, int((power + 2 * share - 2) * _PARTS))
        self._counts[place] = self._counts.get(place, 0) + 1
        self._count += 1

    def take(self) -> float | None:
        """The length in milliseconds that 99 of 100 stayed within; None where there was none. From
        here on they are counted anew."""
        counts, left = self._counts, self._count - math.ceil(self._count * 0.99)
        self._counts, self._count = {}, 0
        for place in sorted(counts, reverse=True):
            left -= counts[place]
            if left < 0:
                return round(_upper_us(place) / 1000, 3)
        return None


def _upper_us(place: int) -> float:
    """The longest that is counted in this place."""
    power, part = divmod(place + 1, _PARTS)
    return math.ldexp(1 + part / _PARTS, power)
