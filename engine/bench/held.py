"""`bench bars`: everything the engine is held to, measured in one run, each with its verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..actions import BenchBars
from ..views import ComparisonView
from .arena import WORDS, Pairs, open_arena
from .bars import AT_LEAST, HELD, Outcome, judged, left_out
from .measure import RECORDS, Limit, drive
from .mixes import Mix, Work, Zipf
from .peers import absent
from .sizes import by_size, expiring
from .workloads import Shape, open_bench

CALLERS: Final = 100
LEAST_A_SECOND: Final = 10_000
_HALVES: Final = Mix("50 % get, 50 % set", read=0.5, update=0.5, keys="even", ycsb=False)
_MIXED: Final = (
    "1 KB JSON, public, NORMAL, 100 callers, half of the calls set and half get; the peer is what "
    "documents of origin promise"
)

Progress = Callable[[float, str], Any]


async def measure_bars(
    job: BenchBars, *, scratch: Path, progress: Progress
) -> list[ComparisonView]:
    """A row for each bar; one whose peer is not there says why."""
    found = await _beside_peers(job, scratch / "arena", progress)
    progress(0.3, "half sets, half gets")
    outcomes = [await _mixed(job, scratch / "mixed")]

    def filled(part: float) -> None:
        progress(0.35 + 0.25 * part, f"{job.records:,} records")

    outcomes += await by_size(scratch / "sizes", job.records, job.rounds, job.seconds, filled)

    def expired(part: float) -> None:
        progress(0.6 + 0.2 * part, f"{job.expired:,} records expire")

    outcomes.append(await expiring(scratch / "expiring", job.expired, job.rounds, expired))
    return found + [judged(outcome) for outcome in outcomes]


async def _beside_peers(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    """The workloads that have a bar beside a peer."""
    peers = list(dict.fromkeys(peer for _, peer in AT_LEAST))
    away = {peer: why for peer in peers if (why := absent(peer))}
    pairs: Pairs = defaultdict(list)
    progress(0.0, "filling every store")
    async with open_arena(scratch, [peer for peer in peers if peer not in away]) as arena:
        for number in range(job.rounds):
            progress(0.3 * number / job.rounds, f"round {number + 1} of {job.rounds}")
            await arena.round(number, pairs, job.seconds, HELD)
    return [
        left_out(name, peer, away[peer], bar)
        if peer in away
        else judged(Outcome(name, peer, pairs[name, peer], WORDS[name], bar=bar))
        for (name, peer), bar in AT_LEAST.items()
    ]


async def _mixed(job: BenchBars, scratch: Path) -> Outcome:
    """Memory operations a second, an absolute figure of this machine."""
    async with open_bench(scratch, Shape(sealed=False)) as bench:
        await bench.records.fill()
        work = Work(_HALVES, bench.records, Zipf(RECORDS), RECORDS)
        await drive(work.call, CALLERS, Limit(job.seconds))
        runs = [await drive(work.call, CALLERS, Limit(job.seconds)) for _ in range(job.rounds)]
    pairs = [(run.rate, float(LEAST_A_SECOND)) for run in runs]
    return Outcome("mixed 50/50", "10,000/s", pairs, _MIXED, bar=1.0)
