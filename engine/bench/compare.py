"""`bench compare`: the same work on ours and on each peer, interleaved in one run."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from ..actions import BenchCompare
from ..engine import Engine
from ..views import ComparisonView
from . import arena, queues
from .arena import CALLERS, Pairs, open_arena
from .bars import AT_LEAST, Outcome, judged, left_out
from .measure import KIB, RECORDS, Limit, Run, drawn, drive, key, percentile, values
from .mixes import name_of
from .peers import NAMES, RedisPeer, absent, redis_server
from .served import serve
from .workloads import ENVIRONMENT, Bench, Shape, open_bench

CLAIMS: Final = 1000
SETTLE_S: Final = 3.0  # what was sent is copied out of the log before claims are timed

Progress = Callable[[float, str], Any]

_WORDS: Final = {
    "set 1 KB": "sealed and LZ4 above 1,024 bytes; the peer only checked, 100 callers, NORMAL",
    "set 4 KB": "sealed and LZ4 above 1,024 bytes; the peer only checked, 100 callers, NORMAL",
    "socket set": "1 KB JSON, 100 in flight from another process; redis everysec, unix socket",
    "socket get": "1 KB JSON decoded, 100 in flight from another process; redis, unix socket",
    "claim growth": "claim one and ack it, p50 in microseconds; the peer is 1,000 queued",
} | arena.WORDS | queues.WORDS  # fmt: skip


async def compare(job: BenchCompare, *, scratch: Path, progress: Progress) -> list[ComparisonView]:
    """Ratios of ours to each peer: median and range over the rounds. A peer that is not there is
    left out, and a row says why."""
    away = {peer: why for peer in job.peers if (why := absent(peer))}
    peers = [peer for peer in job.peers if peer not in away]
    pairs: Pairs = defaultdict(list)
    beside = [peer for peer in peers if peer in NAMES]
    only = [name for name in arena.WORDS if name.split()[0] in job.workloads]
    if beside and only:
        await _records(job, beside, only, scratch, pairs, progress)
    await _others(job, peers, scratch, pairs, progress)
    found = [compared(name, peer, ours) for (name, peer), ours in pairs.items()]
    if job.growth:
        progress(0.95, f"claiming with up to {job.growth:,} queued")
        found.extend(await _growth(scratch, job.growth))
    return found + [left_out("all", peer, why) for peer, why in away.items()]


def compared(name: str, peer: str, pairs: Sequence[tuple[float, float]]) -> ComparisonView:
    """A row, with the verdict of its bar where it has one."""
    unit = "us" if name in queues.TIMES else "/s"
    return judged(Outcome(name, peer, pairs, _WORDS[name], unit, AT_LEAST.get((name, peer))))


async def _records(
    job: BenchCompare,
    peers: Sequence[str],
    only: Sequence[str],
    scratch: Path,
    pairs: Pairs,
    progress: Progress,
) -> None:
    """The workloads on records."""
    progress(0.0, "filling every store")
    async with open_arena(scratch / "arena", peers) as opened:
        for number in range(job.rounds):
            progress(0.7 * number / job.rounds, f"round {number + 1} of {job.rounds}")
            await opened.round(number, pairs, job.seconds, only)


async def _others(
    job: BenchCompare, peers: Sequence[str], scratch: Path, pairs: Pairs, progress: Progress
) -> None:
    """What needs engines of its own: sealed records, the socket, the queue."""
    if "redis" in peers and "socket" in job.workloads:
        async with _open_socket(scratch / "socket") as socket:
            for number in range(job.rounds):
                progress(0.7, f"over the socket, round {number + 1} of {job.rounds}")
                await socket.round(pairs, job.seconds)
    if "unsealed" in peers:
        for number in range(job.rounds):
            progress(0.78, f"sealed and not, round {number + 1} of {job.rounds}")
            await _sealed(pairs, scratch / f"sealed{number}", job.seconds)
    if "streams" in peers:
        async with queues.open_queues(scratch) as both:
            for number in range(job.rounds):
                progress(0.85, f"queues, round {number + 1} of {job.rounds}")
                await both.round(pairs, job.seconds)


async def _sealed(pairs: Pairs, scratch: Path, seconds: float) -> None:
    """Ours with everything the vault does beside ours with the least it can do."""
    for size, name in ((KIB, "set 1 KB"), (4 * KIB, "set 4 KB")):
        sealed = await _sets(scratch / f"sealed{size}", Shape(size, compressed=True), seconds)
        bare = await _sets(scratch / f"bare{size}", Shape(size, sealed=False), seconds)
        pairs[name, "unsealed"].append((sealed.rate, bare.rate))


async def _sets(scratch: Path, shape: Shape, seconds: float) -> Run:
    """Sets by 100 callers, on an engine of their own."""
    async with open_bench(scratch, shape) as bench:
        warm = Limit(seconds / 2)  # the first inserts are not the work
        await drive(bench.records.set, CALLERS, warm)
        return await drive(bench.records.set, CALLERS, Limit(seconds))


class Socket:
    """Ours behind its socket, and Redis behind its own: neither is in this process."""

    def __init__(self, remote: Engine, redis: RedisPeer) -> None:
        self._memory = remote.memory(ENVIRONMENT)
        self._redis = redis
        self._values = values()

    async def fill(self) -> None:
        names = [name_of(number) for number in range(RECORDS)]
        await self._redis.fill(names)
        for start in range(0, RECORDS, 100):
            part = enumerate(names[start : start + 100])
            await asyncio.gather(
                *(self._memory.set(name, self._values[n], level="team") for n, name in part)
            )

    async def round(self, pairs: Pairs, seconds: float) -> None:
        for name, ours, theirs in (
            ("socket set", self._set, self._redis.set),
            ("socket get", self._get, self._redis.get),
        ):
            rates = [(await drive(call, CALLERS, Limit(seconds))).rate for call in (ours, theirs)]
            pairs[name, "redis"].append((rates[0], rates[1]))

    async def _set(self, chance: random.Random) -> None:
        value = drawn(chance, self._values)
        await self._memory.set(key(chance), value, level="team")

    async def _get(self, chance: random.Random) -> None:
        await self._memory.get(key(chance))


@asynccontextmanager
async def _open_socket(scratch: Path) -> AsyncIterator[Socket]:
    async with AsyncExitStack() as stack:
        remote = await stack.enter_async_context(serve(scratch / "served"))
        server = await stack.enter_async_context(redis_server(scratch / "redis"))
        client = await stack.enter_async_context(server.nearby())
        socket = Socket(remote, RedisPeer(client, values()))
        await socket.fill()
        yield socket


async def _growth(scratch: Path, most: int) -> list[ComparisonView]:
    """How the time of a claim grows with what is queued: p50 of single claims with their acks."""
    depths = [depth for depth in (1_000, 10_000, 100_000, 1_000_000) if depth <= most]
    found: list[ComparisonView] = []
    async with open_bench(scratch / "growth") as bench:
        queued, first = 0, 0.0
        for depth in depths:
            await _send(bench, depth - queued)
            await asyncio.sleep(SETTLE_S)
            cost_us = await _claim_cost(bench)
            queued = depth - CLAIMS
            first = first or cost_us
            found.append(_growth_view(depth, cost_us, first))
    return found


async def _send(bench: Bench, count: int) -> None:
    chance = random.Random(count)  # noqa: S311 - the same work in every run
    for start in range(0, count, 1000):
        await asyncio.gather(
            *(
                bench.queue.send("bench", {"n": n}, priority=chance.randint(1, 10))
                for n in range(min(1000, count - start))
            )
        )


async def _claim_cost(bench: Bench) -> float:
    costs = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        for message in await bench.queue.claim(1, lease_s=600):
            await bench.queue.ack(message)
        costs.append((time.perf_counter() - started) * 1_000_000)
    return percentile(costs, 0.5)


def _growth_view(depth: int, cost_us: float, first_us: float) -> ComparisonView:
    ratio = cost_us / first_us
    return ComparisonView(
        name="claim growth",
        peer=f"{depth:,} queued",
        ours=round(cost_us, 1),
        theirs=round(first_us, 1),
        ratio=round(ratio, 2),
        ratio_low=round(ratio, 2),
        ratio_high=round(ratio, 2),
        rounds=CLAIMS,
        workload=_WORDS["claim growth"],
        unit="us",
    )
