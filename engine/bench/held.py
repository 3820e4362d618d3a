"""`bench bars`: everything the engine is held to, measured in one run, each with its verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from ..actions import BenchBars
from ..actions.bench import Held
from ..views import ComparisonView
from .arena import WORDS, Pairs, open_arena
from .bars import AT_LEAST, HELD, Outcome, judged, left_out
from .measure import RECORDS, Limit, drive
from .mixes import Mix, Work, Zipf
from .peers import absent
from .sizes import SMALL, by_size, expiring
from .workloads import Shape, open_bench

CALLERS: Final = 100
LEAST_A_SECOND: Final = 10_000
_HALVES: Final = Mix("50 % get, 50 % set", read=0.5, update=0.5, keys="even", ycsb=False)
_MIXED: Final = (
    "1 KB JSON, public, NORMAL, 100 callers, half of the calls set and half get; the peer is what "
    "documents of origin promise"
)

Progress = Callable[[float, str], Any]
Step = Callable[[BenchBars, Path, Progress], Awaitable[list[ComparisonView]]]


async def measure_bars(
    job: BenchBars, *, scratch: Path, progress: Progress
) -> list[ComparisonView]:
    """A row for each bar; one whose peer is not there says why."""
    found: list[ComparisonView] = []
    steps: dict[Held, Step] = {
        "peers": _beside_peers, "mixed": _mixed, "sizes": _sizes, "sweep": _sweep,
        "swarmdb": _swarmdb, "tasks": _tasks,
    }  # fmt: skip
    chosen = [name for name in steps if name in (job.names or steps)]
    for place, name in enumerate(chosen):

        def told(part: float, text: str, place: int = place) -> None:
            progress((place + part) / len(chosen), text)

        found += await steps[name](job, scratch / name, told)
    return found


async def _beside_peers(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    """The workloads that have a bar beside a peer."""
    peers = list(dict.fromkeys(peer for _, peer in AT_LEAST))
    away = {peer: why for peer in peers if (why := absent(peer))}
    pairs: Pairs = defaultdict(list)
    progress(0.0, "filling every store")
    async with open_arena(scratch, [peer for peer in peers if peer not in away]) as arena:
        for number in range(job.rounds):
            progress(number / job.rounds, f"round {number + 1} of {job.rounds}")
            await arena.round(number, pairs, job.seconds, HELD)
    return [
        left_out(name, peer, away[peer], bar)
        if peer in away
        else judged(Outcome(name, peer, pairs[name, peer], WORDS[name], bar=bar))
        for (name, peer), bar in AT_LEAST.items()
    ]


async def _mixed(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    """Memory operations a second, an absolute figure of this machine."""
    progress(0.0, "half sets, half gets")
    async with open_bench(scratch, Shape(sealed=False)) as bench:
        await bench.records.fill()
        work = Work(_HALVES, bench.records, Zipf(RECORDS), RECORDS)
        await drive(work.call, CALLERS, Limit(job.seconds))
        runs = [await drive(work.call, CALLERS, Limit(job.seconds)) for _ in range(job.rounds)]
    pairs = [(run.rate, float(LEAST_A_SECOND)) for run in runs]
    return [judged(Outcome("mixed 50/50", "10,000/s", pairs, _MIXED, bar=1.0))]


async def _sizes(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    def told(part: float) -> None:
        progress(part, f"a store of {job.records:,} records beside one of {SMALL:,}")

    found = await by_size(scratch, job.records, job.rounds, job.seconds, told)
    return [judged(outcome) for outcome in found]


async def _sweep(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    def told(part: float) -> None:
        progress(part, f"{job.expired:,} records expire")

    found = await expiring(scratch, job.expired, job.rounds, told)
    return [judged(outcome) for outcome in found]


async def _swarmdb(job: BenchBars, scratch: Path, progress: Progress) -> list[ComparisonView]:
    from .stores import inserting, killing  # noqa: PLC0415 - only for this bar

    progress(0.0, "single inserts of SwarmDB")
    found = inserting(scratch / "inserts", job.rounds, job.seconds)
    progress(0.5, "processes that are killed")
    found.append(await killing(scratch / "kills", job.rounds))
    return [judged(outcome) for outcome in found]


async def _tasks(job: BenchBars, _: Path, progress: Progress) -> list[ComparisonView]:
    from .graphs import completing  # noqa: PLC0415 - only for this bar

    progress(0.0, "tasks that wait for others")
    return [judged(outcome) for outcome in completing(job.rounds)]
