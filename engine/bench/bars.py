"""What the engine is held to beside its peers, and whether a ratio reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ..views import ComparisonView
from .measure import median

AT_LEAST: Final = {
    ("set", "raw"): 0.6,
    ("set", "redis"): 2.5,
    ("set", "naive"): 5.0,
    ("set", "diskcache"): 4.0,
    ("set full", "raw"): 0.5,
    ("set full", "redis"): 3.0,
    ("set one", "raw"): 0.4,
    ("get hit", "raw"): 2.0,
    ("get hit", "redis"): 12.0,
    ("get miss", "raw"): 0.5,
    ("get miss", "redis"): 4.0,
}

HELD: Final = tuple(dict.fromkeys(name for name, _ in AT_LEAST))
"""The workloads that have a bar."""

MET: Final = "met"
MISSED: Final = "missed"
LEFT_OUT: Final = "left out"


class Outcome(msgspec.Struct, frozen=True):
    """What is compared, and the rounds of it: ours and theirs of each."""

    name: str
    peer: str
    pairs: Sequence[tuple[float, float]]
    workload: str
    unit: str = "/s"
    bar: float | None = None
    at_most: bool = False


def judged(outcome: Outcome) -> ComparisonView:
    """Medians of the rounds, the spread of their ratios, and the verdict over the median."""
    ratios = [ours / theirs if theirs else 0.0 for ours, theirs in outcome.pairs]
    middle = median(ratios)
    return ComparisonView(
        name=outcome.name,
        peer=outcome.peer,
        ours=_rounded(median([ours for ours, _ in outcome.pairs])),
        theirs=_rounded(median([theirs for _, theirs in outcome.pairs])),
        ratio=round(middle, 3),
        ratio_low=round(min(ratios), 3),
        ratio_high=round(max(ratios), 3),
        rounds=len(outcome.pairs),
        workload=outcome.workload,
        unit=outcome.unit,
        bar=outcome.bar,
        at_most=outcome.at_most,
        verdict=_verdict(middle, outcome.bar, at_most=outcome.at_most),
    )


def left_out(name: str, peer: str, why: str, bar: float | None = None) -> ComparisonView:
    """A row for what could not be measured."""
    return ComparisonView(
        name=name, peer=peer, ours=0, theirs=0, ratio=0, ratio_low=0, ratio_high=0, rounds=0,
        workload=why, bar=bar, verdict=LEFT_OUT,
    )  # fmt: skip


def _verdict(ratio: float, bar: float | None, *, at_most: bool) -> str:
    if bar is None:
        return ""
    return MET if (ratio <= bar if at_most else ratio >= bar) else MISSED


def _rounded(value: float) -> float:
    return round(value) if value >= 1000 else round(value, 3)
