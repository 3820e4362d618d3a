"""How much waits in a queue, bounded in all and for each caller."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..model import OPERATOR

PARTS: Final = 4  # what one caller may have of it: one that floods leaves room for others


class Crowd:
    """What waits, by caller, in whatever it is counted in. Belongs to the engine's loop."""

    __slots__ = ("_by_caller", "total")

    def __init__(self) -> None:
        self.total = 0
        self._by_caller: Counter[str] = Counter()

    def takes(self, caller: str, size: int, most: int) -> bool:
        """Whether so much more may wait, where `most` may in all and one of PARTS of that for one
        caller. The operator, who stands for many, may have all of it."""
        own = most if caller == OPERATOR else max(1, most // PARTS)
        return self.total + size <= most and self._by_caller[caller] + size <= own

    def join(self, caller: str, size: int = 1) -> None:
        self.total += size
        self._by_caller[caller] += size

    def leave(self, caller: str, size: int = 1) -> None:
        """It waits no longer."""
        self.total -= size
        self._by_caller[caller] -= size
        if not self._by_caller[caller]:
            del self._by_caller[caller]
