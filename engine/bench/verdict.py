"""Better, same or worse than a baseline, by the repeats of both.

What is compared is never a rate but its ratio to the fixed piece of work done right before it, so
that a busy machine is not taken for slow code. Two sets of repeats differ when both hold:

- the exact two-sided rank test of Mann and Whitney finds less than one chance in twenty that two
  sets of the same kind lie so far apart. It asks nothing of how repeats are spread, and one
  repeat that was disturbed moves it little. It needs four repeats on each side to find anything;
- the medians are more than TOLERANCE apart. Repeats of one process share their memory layout and
  files, so they lie closer together than two processes that run the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import median
from typing import Final

import msgspec

from ..views import BenchView

CHANCE: Final = 0.05
TOLERANCE: Final = 0.05


def beside(view: BenchView, then: BenchView, baseline: str) -> BenchView:
    """The view compared with an earlier one of the same workload. Where another machine measured
    that one, the baseline's name says so; where either has no repeats, nothing is compared."""
    now, before = _ratios(view), _ratios(then)
    if not now or not before:
        return view
    ratio, verdict = judge(now, before)
    name = baseline if view.machine == then.machine else f"{baseline} (another machine)"
    return msgspec.structs.replace(view, baseline=name, ratio=round(ratio, 4), verdict=verdict)


def judge(now: Sequence[float], before: Sequence[float]) -> tuple[float, str]:
    """How many times `before` it is now, by medians, and the word for it."""
    ratio = median(now) / median(before)
    if abs(ratio - 1) <= TOLERANCE or chance(now, before) > CHANCE:
        return ratio, "same"
    return ratio, "better" if ratio > 1 else "worse"


def chance(first: Sequence[float], second: Sequence[float]) -> float:
    """How likely two samples of one kind lie at least so far apart as these (exact, two-sided;
    a tie counts half to each side and the result is rounded up)."""
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second)
    fewer = int(min(wins, len(first) * len(second) - wins) + 0.5)
    counts = _arrangements(len(first), len(second))
    return min(1.0, 2 * sum(counts[: fewer + 1]) / sum(counts))


@lru_cache(maxsize=16)
def _arrangements(first: int, second: int) -> tuple[int, ...]:
    """In how many orders of two samples the first wins 0, 1, 2 … of all pairs: the coefficients of
    the Gaussian binomial, as a product of (1 - q^(second+i)) / (1 - q^i)."""
    size = first * second + 1
    counts = [1] + [0] * (size - 1)
    for number in range(1, first + 1):
        for place in range(size - 1, second + number - 1, -1):
            counts[place] -= counts[place - second - number]
        for place in range(number, size):
            counts[place] += counts[place - number]
    return tuple(counts)


def _ratios(view: BenchView) -> list[float]:
    if len(view.repeats) != len(view.references):
        return []
    pairs = zip(view.repeats, view.references, strict=True)
    return [rate / reference for rate, reference in pairs if reference and rate]
