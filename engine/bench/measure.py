"""Driving a workload for a while and saying how it went."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from array import array
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import repeat
from typing import Any, Final, TypeVar

import msgspec

from ..views import BucketView
from .meter import Meter

RECORDS: Final = 20_000
VARIANTS: Final = 200
KIB: Final = 1024
MOST_LATENCIES: Final = 50_000
_SERIES: Final = (1, 2, 5)
_TEXT: Final = (
    "agent swarm memory queue task result plan error retry vote latency vector schema worker "
    "leader token budget index commit state event trace policy shard"
)
_WORDS: Final = _TEXT.split()
_KEYS: Final = [f"k{number:08d}" for number in range(RECORDS)]

_running: Final[list[list[float]]] = []  # until when, of what is being driven

T = TypeVar("T")

Call = Callable[[random.Random], Awaitable[object]]

DRY: Final = object()
"""What a call answers that finds nothing left to do: its caller ends, and that call is not
counted."""


class Limit(msgspec.Struct, frozen=True):
    """How long to measure: for `seconds`, or `calls` of them however long they take."""

    seconds: float
    calls: int | None = None


class Run(msgspec.Struct, frozen=True):
    """What one measurement found. Latencies are microseconds, in order; where there were very
    many `calls`, there are fewer of them."""

    operations: int
    elapsed_s: float
    latencies_us: Sequence[float]
    calls: int = 0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.elapsed_s if self.elapsed_s else 0.0


async def drive(
    call: Call,
    concurrency: int,
    limit: Limit,
    *,
    weight: int = 1,
    mean: bool = False,
    meter: Meter | None = None,
) -> Run:
    """Call from `concurrency` callers at once. A call stands for `weight` operations; its latency
    is the whole call's, or the `mean` of those. `meter` watches while it runs."""
    share = weight if mean else 1
    latencies = array("d")  # eight bytes a call, however long it runs
    turns = repeat(None) if limit.calls is None else repeat(None, limit.calls)
    with nullcontext() if meter is None else meter.watch(latencies, weight, share):
        started = time.perf_counter()
        until = [started + limit.seconds if limit.calls is None else float("inf")]
        _running.append(until)
        try:
            await asyncio.gather(
                *(_caller(call, seed, turns, until, latencies) for seed in range(concurrency))
            )
        finally:
            _running.remove(until)
        elapsed_s = time.perf_counter() - started
    calls = len(latencies)
    return Run(calls * weight, elapsed_s, thinned(latencies, share), calls)


def stop() -> None:
    """Let every caller end with the call it is in. A call that never waits is not to be cancelled,
    so that they would all have their turn first."""
    for until in _running:
        until[0] = 0.0


async def _caller(
    call: Call, seed: int, turns: Iterator[None], until: list[float], latencies: array[float]
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same work in every run
    now = time.perf_counter()
    for _ in turns:
        if now >= until[0] or await call(chance) is DRY:
            return
        after = time.perf_counter()
        latencies.append((after - now) * 1_000_000)
        now = after


def thinned(latencies: Sequence[float], share: int = 1) -> list[float]:
    """Every so manieth latency, divided by `share` and sorted: few stand for very many."""
    stride = 1 + len(latencies) // MOST_LATENCIES
    return sorted(latency / share for latency in latencies[::stride])


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def buckets(runs: Sequence[Run]) -> tuple[BucketView, ...]:
    """How many calls of all runs took how long, in a 1-2-5 series of microseconds from the
    fastest to the slowest. A run that was thinned counts for what it stood for."""
    highest = max((run.latencies_us[-1] for run in runs if run.latencies_us), default=0.0)
    bounds = _bounds(highest)
    counts = [0] * len(bounds)
    for run in runs:
        stands_for = run.calls / max(1, len(run.latencies_us))
        below = 0
        for place, bound in enumerate(bounds):
            upto = round(bisect_right(run.latencies_us, bound) * stands_for)
            counts[place] += upto - below
            below = upto
    first = next((place for place, count in enumerate(counts) if count), len(counts))
    pairs = zip(bounds[first:], counts[first:], strict=True)
    return tuple(BucketView(upto_us=bound, count=count) for bound, count in pairs)


def _bounds(highest: float) -> list[float]:
    """0.1, 0.2, 0.5, 1, 2, 5 … until `highest` is within."""
    bounds: list[float] = []
    power = -1
    while not bounds or bounds[-1] < highest:
        bounds += [float(f"{digit}e{power}") for digit in _SERIES]
        power += 1
    return [bound for bound in bounds if bound < highest] + [
        next((bound for bound in bounds if bound >= highest), bounds[0])
    ]


def values(size_bytes: int = KIB) -> list[dict[str, Any]]:
    """Records of about this size as JSON, always the same."""
    chance = random.Random(7)  # noqa: S311 - the same values in every run
    return [_value(chance, size_bytes) for _ in range(VARIANTS)]


def _value(chance: random.Random, size_bytes: int) -> dict[str, Any]:
    text_bytes = max(1, size_bytes - KIB + 800)  # the rest is in the other fields
    words = [chance.choice(_WORDS) for _ in range(max(110, text_bytes // 4))]
    return {
        "agent": f"agent-{chance.randrange(10_000):04d}",
        "at": chance.random() * 1e9,
        "tags": words[:6],
        "score": chance.random(),
        "text": " ".join(words)[:text_bytes],
        "detail": {"a": chance.randrange(10**6), "b": [chance.random() for _ in range(4)]},
    }


def key(chance: random.Random) -> str:
    """One of RECORDS keys, drawn evenly. To draw one takes a tenth of what a small call takes."""
    return _KEYS[int(chance.random() * RECORDS)]


def drawn(chance: random.Random, some: Sequence[T]) -> T:
    """One of these, drawn evenly."""
    return some[int(chance.random() * len(some))]
