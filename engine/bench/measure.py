"""Driving a workload for a while and saying how it went."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from ..views import BenchView

RECORDS: Final = 20_000
VARIANTS: Final = 200
_TEXT: Final = (
    "agent swarm memory queue task result plan error retry vote latency vector schema worker "
    "leader token budget index commit state event trace policy shard"
)
_WORDS: Final = _TEXT.split()

Call = Callable[[random.Random], Awaitable[object]]


class Run(msgspec.Struct, frozen=True):
    """What one measurement found. Latencies are microseconds."""

    operations: int
    elapsed_s: float
    latencies_us: list[float]

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.elapsed_s if self.elapsed_s else 0.0

    def view(self, name: str, workload: str, concurrency: int, at_us: int) -> BenchView:
        return BenchView(
            name=name,
            workload=workload,
            ops_s=round(self.rate, 1),
            p50_us=round(percentile(self.latencies_us, 0.50), 1),
            p99_us=round(percentile(self.latencies_us, 0.99), 1),
            concurrency=concurrency,
            operations=self.operations,
            at_us=at_us,
        )


async def drive(call: Call, concurrency: int, seconds: float, *, weight: int = 1) -> Run:
    """Call from `concurrency` callers at once for `seconds`; `weight` operations a call."""
    latencies: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds

    async def caller(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - the same work in every run
        now = time.perf_counter()
        while now < deadline:
            await call(chance)
            after = time.perf_counter()
            latencies.append((after - now) * 1_000_000)
            now = after

    await asyncio.gather(*(caller(seed) for seed in range(concurrency)))
    return Run(len(latencies) * weight, time.perf_counter() - started, latencies)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def values() -> list[dict[str, Any]]:
    """Records of about 1 KB as JSON, always the same."""
    chance = random.Random(7)  # noqa: S311 - the same values in every run
    return [_value(chance) for _ in range(VARIANTS)]


def _value(chance: random.Random) -> dict[str, Any]:
    words = [chance.choice(_WORDS) for _ in range(110)]
    return {
        "agent": f"agent-{chance.randrange(10_000):04d}",
        "at": chance.random() * 1e9,
        "tags": words[:6],
        "score": chance.random(),
        "text": " ".join(words)[:800],
        "detail": {"a": chance.randrange(10**6), "b": [chance.random() for _ in range(4)]},
    }


def key(chance: random.Random) -> str:
    return f"k{chance.randrange(RECORDS):08d}"
