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

from ..engine import Engine
from ..views import ComparisonView
from . import baselines, queues
from .measure import KIB, RECORDS, Limit, Run, drive, key, median, percentile, values
from .served import serve
from .workloads import ENVIRONMENT, Bench, Shape, open_bench

CALLERS: Final = 100
CLAIMS: Final = 1000
SETTLE_S: Final = 3.0  # what was sent is copied out of the log before claims are timed

Progress = Callable[[float, str], Any]
Ratios = dict[tuple[str, str], list[tuple[float, float]]]

_WORDS: Final = {
    "set": "1 KB JSON, sealed, 100 callers, NORMAL, decision and audit row, in process",
    "set 1 KB": "sealed and LZ4 above 1,024 bytes; the peer only checked, 100 callers, NORMAL",
    "set 4 KB": "sealed and LZ4 above 1,024 bytes; the peer only checked, 100 callers, NORMAL",
    "socket set": "1 KB JSON, 100 in flight from another process; redis everysec, unix socket",
    "socket get": "1 KB JSON decoded, 100 in flight from another process; redis, unix socket",
    "claim growth": "claim one and ack it, p50 in microseconds; the peer is 1,000 queued",
} | queues.WORDS


async def compare(
    peers: Sequence[str],
    *,
    scratch: Path,
    rounds: int,
    seconds: float,
    growth: int,
    progress: Progress,
) -> list[ComparisonView]:
    """Ratios of ours to each peer: median and range over the rounds."""
    pairs: Ratios = defaultdict(list)
    async with _open_arena(scratch, peers) as arena:
        for number in range(rounds):
            progress(number / (rounds + 1), f"round {number + 1} of {rounds}")
            await arena.round(pairs, scratch / f"round{number}", seconds)
    if "streams" in peers:
        async with queues.open_queues(scratch) as both:
            for number in range(rounds):
                progress(rounds / (rounds + 1), f"queues, round {number + 1} of {rounds}")
                await both.round(pairs, seconds)
    found = [_view(name, peer, ours) for (name, peer), ours in pairs.items()]
    if growth:
        progress(rounds / (rounds + 1), f"claiming with up to {growth:,} queued")
        found.extend(await _growth(scratch, growth))
    return found


class Arena:
    """Ours in this process, ours behind a socket, and the peers."""

    def __init__(
        self, peers: Sequence[str], remote: Engine | None, redis: baselines.RedisPeer | None
    ) -> None:
        self._peers = peers
        self._redis = redis
        self._values = values()
        self._memory = None if remote is None else remote.memory(ENVIRONMENT)

    async def fill(self) -> None:
        names = [f"k{number:08d}" for number in range(RECORDS)]
        if self._redis is not None:
            await self._redis.fill(names)
        if self._memory is None:
            return
        for start in range(0, RECORDS, 100):
            part = enumerate(names[start : start + 100])
            await asyncio.gather(
                *(self._memory.set(name, self._values[n], level="team") for n, name in part)
            )

    async def round(self, pairs: Ratios, scratch: Path, seconds: float) -> None:
        await self._in_process(pairs, scratch, seconds)
        if "unsealed" in self._peers:
            await self._sealed(pairs, scratch, seconds)
        if self._redis is not None and self._memory is not None:
            ours = await drive(self._set, CALLERS, Limit(seconds))
            theirs = await drive(self._redis.set, CALLERS, Limit(seconds))
            pairs["socket set", "redis"].append((ours.rate, theirs.rate))
            ours = await drive(self._get, CALLERS, Limit(seconds))
            theirs = await drive(self._redis.get, CALLERS, Limit(seconds))
            pairs["socket get", "redis"].append((ours.rate, theirs.rate))

    async def _in_process(self, pairs: Ratios, scratch: Path, seconds: float) -> None:
        ours = await _sets(scratch, Shape(), seconds)
        for peer in ("raw", "tuned"):
            if peer in self._peers:
                file = scratch / f"{peer}.db"
                theirs = baselines.raw_sets(file, self._values, seconds, tuned=peer == "tuned")
                pairs["set", peer].append((ours.rate, theirs.rate))
        if "naive" in self._peers:
            async with baselines.open_naive(scratch / "naive.db", self._values) as naive:
                theirs = await drive(naive.set, CALLERS, Limit(seconds))
            pairs["set", "naive"].append((ours.rate, theirs.rate))

    async def _sealed(self, pairs: Ratios, scratch: Path, seconds: float) -> None:
        """Ours with everything the vault does beside ours with the least it can do."""
        for size, name in ((KIB, "set 1 KB"), (4 * KIB, "set 4 KB")):
            sealed = await _sets(scratch / f"sealed{size}", Shape(size, compressed=True), seconds)
            bare = await _sets(scratch / f"bare{size}", Shape(size, sealed=False), seconds)
            pairs[name, "unsealed"].append((sealed.rate, bare.rate))

    async def _set(self, chance: random.Random) -> None:
        assert self._memory is not None
        value = self._values[chance.randrange(len(self._values))]
        await self._memory.set(key(chance), value, level="team")

    async def _get(self, chance: random.Random) -> None:
        assert self._memory is not None
        await self._memory.get(key(chance))


async def _sets(scratch: Path, shape: Shape, seconds: float) -> Run:
    """Sets by 100 callers, on an engine of their own."""
    async with open_bench(scratch, shape) as bench:
        warm = Limit(seconds / 2)  # the first inserts are not the work
        await drive(bench.records.set, CALLERS, warm)
        return await drive(bench.records.set, CALLERS, Limit(seconds))


@asynccontextmanager
async def _open_arena(scratch: Path, peers: Sequence[str]) -> AsyncIterator[Arena]:
    async with AsyncExitStack() as stack:
        remote = redis = None
        if "redis" in peers:
            remote = await stack.enter_async_context(serve(scratch / "served"))
            redis = await stack.enter_async_context(
                baselines.open_redis(scratch / "redis", values())
            )
        arena = Arena(peers, remote, redis)
        await arena.fill()
        yield arena


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
    )


def _view(name: str, peer: str, pairs: list[tuple[float, float]]) -> ComparisonView:
    ratios = [ours / theirs for ours, theirs in pairs]
    return ComparisonView(
        name=name,
        peer=peer,
        ours=round(median([ours for ours, _ in pairs])),
        theirs=round(median([theirs for _, theirs in pairs])),
        ratio=round(median(ratios), 2),
        ratio_low=round(min(ratios), 2),
        ratio_high=round(max(ratios), 2),
        rounds=len(pairs),
        workload=_WORDS[name],
    )
