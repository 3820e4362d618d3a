"""Whether size tells: few records beside many, the memory they take, and records that expire.

Two engines are open at the same time, one with SMALL records, one with many, and are measured in
turn. Sets and misses draw from all records; hits from the SMALL first, which the cache holds.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from ..handles import Memory
from ..memory.store import MemoryStore
from ..model import MIB
from .bars import Outcome
from .measure import Limit, drawn, drive, values
from .mixes import name_of
from .workloads import ENVIRONMENT, Shape, open_bench

SMALL: Final = 10_000
CALLERS: Final = 100
FILL: Final = 500
SLOWER: Final = 0.5  # the least part of the small one's rate
HELD_MS: Final = 20.0
FILL_S: Final = 0.0001  # time given to storing a record before all of them expire
AHEAD_S: Final = 2.0
ALONE_S: Final = 0.0005  # what sweeping a record takes here: as long is waited without a sweep
SWEPT_S: Final = 600.0

_SET: Final = "1 KB JSON, public, 100 callers, NORMAL, keys drawn from all"
_HIT: Final = "1 KB JSON decoded, one caller, keys drawn from the first 10,000, which are cached"
_MISS: Final = "1 KB JSON decoded, 100 callers, keys drawn from all, cache closed"
_RESIDENT: Final = (
    "MB that the process grew by while the large store was filled, read and written; the peer is "
    "what is configured: cache of records, page caches of writer and reader"
)
_SWEEP: Final = (
    "longest wait of a caller in ms: one sets and one gets without a pause while {count:,} records "
    "that expire at the same moment are deleted; the peer is the bar"
)
_ALONE: Final = "the same; the peer: the longest wait in as long a time before, without a sweep"

Pairs = dict[str, list[tuple[float, float]]]


class Sized:
    """Records of one engine, and how many there are."""

    def __init__(self, memory: Memory, store: MemoryStore) -> None:
        self._memory = memory
        self._store = store
        self._values = values()
        self._size = 0

    async def fill(self, size: int, step: Callable[[float], Any]) -> None:
        for start in range(self._size, size, FILL):
            part = range(start, min(size, start + FILL))
            await self._memory.mset(
                {name_of(n): self._values[n % len(self._values)] for n in part}, level="public"
            )
            step(start / size)
        self._size = size

    async def rates(self, seconds: float) -> dict[str, float]:
        """Operations a second by workload."""
        limit = Limit(seconds)
        found = {"set": (await drive(self._set, CALLERS, limit)).rate}
        await self._warm()
        found["get hit"] = (await drive(self._hit, 1, limit)).rate
        self._store.cache.close()
        found["get miss"] = (await drive(self._miss, CALLERS, limit)).rate
        self._store.cache.reopen()
        return found

    async def _warm(self) -> None:
        for start in range(0, SMALL, FILL):
            names = range(start, start + FILL)
            await asyncio.gather(*(self._memory.get(name_of(number)) for number in names))

    @staticmethod
    def _key(chance: random.Random, size: int) -> str:
        return name_of(int(chance.random() * size))

    async def _set(self, chance: random.Random) -> None:
        value = drawn(chance, self._values)
        await self._memory.set(self._key(chance, self._size), value, level="public")

    async def _hit(self, chance: random.Random) -> None:
        await self._memory.get(self._key(chance, SMALL))

    async def _miss(self, chance: random.Random) -> None:
        await self._memory.get(self._key(chance, self._size))


@asynccontextmanager
async def _open_sized(scratch: Path) -> AsyncIterator[tuple[Sized, int]]:
    """Records of an engine, and how many bytes it is configured to keep."""
    async with open_bench(scratch, Shape(sealed=False)) as bench:
        place = bench.core.places[ENVIRONMENT]
        settings = bench.core.settings
        configured = settings.cache.records_bytes + 2 * settings.store.cache_bytes
        yield Sized(bench.core.engine.memory(bench.agent), place.memory), configured


async def by_size(
    scratch: Path, records: int, rounds: int, seconds: float, step: Callable[[float], Any]
) -> list[Outcome]:
    """Rates of a store of `records` beside those of a small one, and the memory that they take."""
    pairs: Pairs = defaultdict(list)
    async with AsyncExitStack() as stack:
        small, _ = await stack.enter_async_context(_open_sized(scratch / "small"))
        await small.fill(SMALL, step)
        await small.rates(seconds)
        before = _resident()
        large, configured = await stack.enter_async_context(_open_sized(scratch / "large"))
        await large.fill(records, step)
        for number in range(rounds):
            sides = (small, large) if number % 2 else (large, small)
            rates = {side: await side.rates(seconds) for side in sides}
            for name, rate in rates[large].items():
                pairs[name].append((rate, rates[small][name]))
        grown = (_resident() - before) / MIB, configured / MIB
    words = {"set": _SET, "get hit": _HIT, "get miss": _MISS}
    found = [
        Outcome(f"{name}, {records:,}", f"{SMALL:,} records", pairs[name], words[name], bar=SLOWER)
        for name in words
    ]
    return [*found, Outcome("resident", "configured", [grown], _RESIDENT, "MB", 1.0, True)]


def _resident() -> int:
    gc.collect()
    found: int = psutil.Process().memory_info().rss
    return found


async def expiring(
    scratch: Path, count: int, rounds: int, step: Callable[[float], Any]
) -> list[Outcome]:
    """The longest a caller waits while `count` records that have expired are deleted, beside what
    it may be and what it is without them."""
    found: list[tuple[float, float]] = []
    async with open_bench(scratch, Shape(sealed=False)) as bench:
        memory = bench.core.engine.memory(bench.agent)
        store = bench.core.places[ENVIRONMENT].memory
        loop = asyncio.get_running_loop()
        for number in range(rounds):
            step(number / rounds)
            await memory.set("beside", values()[0], level="public")
            others, alone_until_s = store.records, loop.time() + ALONE_S * count
            alone = await _longest_wait(memory, partial(_is_before, loop, alone_until_s))
            await _store_expiring(memory, count)
            found.append((await _longest_wait(memory, partial(_has_more, store, others)), alone))
    held = [(worst, HELD_MS) for worst, _ in found]
    return [
        Outcome("sweep", "20 ms", held, _SWEEP.format(count=count), "ms", 1.0, at_most=True),
        Outcome("sweep", "no sweep", found, _ALONE, "ms"),
    ]


def _is_before(loop: asyncio.AbstractEventLoop, time_s: float) -> bool:
    return loop.time() < time_s


def _has_more(store: MemoryStore, others: int) -> bool:
    return store.records > others


async def _store_expiring(memory: Memory, count: int) -> None:
    """Records that all expire at the same moment, soon after the last of them is stored."""
    loop, some = asyncio.get_running_loop(), values()
    ends_s = loop.time() + AHEAD_S + count * FILL_S
    for start in range(0, count, FILL):
        part = {f"x{n:08d}": some[n % len(some)] for n in range(start, min(count, start + FILL))}
        await memory.mset(part, level="public", ttl_s=max(0.01, ends_s - loop.time()))
    await asyncio.sleep(max(0.0, ends_s - loop.time()))


async def _longest_wait(memory: Memory, goes_on: Callable[[], bool]) -> float:
    """Milliseconds, of two callers that call without a pause."""
    waits: list[float] = []

    async def calling(call: Callable[[], Any]) -> None:
        while goes_on():
            began = time.perf_counter()
            await call()
            waits.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0)

    value = values()[0]
    async with asyncio.timeout(SWEPT_S):
        await asyncio.gather(
            calling(lambda: memory.set("beside", value, level="public")),
            calling(lambda: memory.get("beside")),
        )
    return max(waits, default=0.0)
