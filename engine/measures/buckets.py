"""What is kept of many values: how many, their sum, least, greatest and last, and of histograms and
timers a sketch of how they are spread.

The sketch counts values in ranges whose bounds grow by a fixed ratio (as DDSketch does: Masson, Rim
and Lee, 2019), so that a percentile is within 1 % of a value that was really recorded, whatever is
put together. At most MOST_RANGES are kept; the smallest are put together first.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MOST_RANGES: Final = 512
_RATIO: Final = 1.02
_LOG: Final = math.log(_RATIO)
_LEAST: Final = 1e-12  # smaller ones count as 0

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[int, dict[int, int], dict[int, int]]).decode


class Sketch:
    """How values are spread: how many are 0, and how many in each range above and below it."""

    __slots__ = ("above", "below", "zeros")

    def __init__(
        self,
        zeros: int = 0,
        above: dict[int, int] | None = None,
        below: dict[int, int] | None = None,
    ) -> None:
        self.zeros = zeros
        self.above = {} if above is None else above
        self.below = {} if below is None else below

    @classmethod
    def of(cls, stored: bytes) -> Sketch:
        return cls(*_unpack(stored))

    def add(self, value: float) -> None:
        size = abs(value)
        if size < _LEAST:
            self.zeros += 1
            return
        ranges = self.above if value > 0 else self.below
        place = math.ceil(math.log(size) / _LOG)
        ranges[place] = ranges.get(place, 0) + 1

    def merge(self, other: Sketch) -> None:
        self.zeros += other.zeros
        for mine, theirs in ((self.above, other.above), (self.below, other.below)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) + count

    def stored(self) -> bytes:
        return _pack((self.zeros, _bounded(self.above), _bounded(self.below)))

    def percentile(self, share: float) -> float | None:
        """The value that so much of all (0 to 1) is not above; None of nothing."""
        spread = [
            (-_middle(place), self.below[place]) for place in sorted(self.below, reverse=True)
        ]
        spread.append((0.0, self.zeros))
        spread += [(_middle(place), self.above[place]) for place in sorted(self.above)]
        total = sum(count for _, count in spread)
        wanted, passed = share * (total - 1), 0
        for value, count in spread:
            passed += count
            if count and passed > wanted:
                return value
        return None


def _middle(place: int) -> float:
    """The value of a range that is nearest to all in it."""
    return 2 * math.exp(place * _LOG) / (_RATIO + 1)


def _bounded(ranges: dict[int, int]) -> dict[int, int]:
    if len(ranges) <= MOST_RANGES:
        return ranges
    places = sorted(ranges)
    low, kept = places[: len(places) - MOST_RANGES + 1], places[len(places) - MOST_RANGES + 1 :]
    return {low[-1]: sum(ranges[place] for place in low)} | {place: ranges[place] for place in kept}


class Bucket:
    """What is kept of some values."""

    __slots__ = ("count", "greatest", "last", "least", "sketch", "total")

    def __init__(self, *, spread: bool) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.greatest = -math.inf
        self.last = 0.0
        self.sketch = Sketch() if spread else None

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        self.last = value
        if self.sketch is not None:
            self.sketch.add(value)

    def merge(self, row: tuple[int, float, float, float, float, bytes | None]) -> None:
        """Put a row of COLUMNS in, which is not older than what is here."""
        count, total, least, greatest, last, stored = row
        self.count += count
        self.total += total
        self.least = min(self.least, least)
        self.greatest = max(self.greatest, greatest)
        self.last = last
        if self.sketch is not None and stored is not None:
            self.sketch.merge(Sketch.of(stored))

    @property
    def row(self) -> tuple[int, float, float, float, float, bytes | None]:
        """As it is stored, in the order of COLUMNS."""
        stored = None if self.sketch is None else self.sketch.stored()
        return (self.count, self.total, self.least, self.greatest, self.last, stored)

    def value(self, aggregate: str) -> float | None:
        """One of AGGREGATES; None for what is not known of such values."""
        if not self.count:
            return None
        if aggregate in _SHARES:
            return None if self.sketch is None else self.percentile(_SHARES[aggregate])
        return {
            "sum": self.total, "avg": self.total / self.count, "min": self.least,
            "max": self.greatest, "count": self.count, "last": self.last,
        }[aggregate]  # fmt: skip

    def percentile(self, share: float) -> float | None:
        """Within the least and the greatest, which are exact."""
        found = None if self.sketch is None else self.sketch.percentile(share)
        return None if found is None else min(max(found, self.least), self.greatest)


COLUMNS: Final = "count, total, least, greatest, last, sketch"
READ: Final = f"""
SELECT {COLUMNS} FROM sample
WHERE env = ? AND measure = ? AND step_s = ? AND at = ?"""  # noqa: S608 - constants
WRITE: Final = f"""
INSERT OR REPLACE INTO sample (env, measure, step_s, at, {COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""  # noqa: S608 - constants
_SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
AGGREGATES: Final = ("sum", "avg", "min", "max", "count", "last", *_SHARES)
