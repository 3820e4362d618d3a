"""Ours and its peers, open at the same time with the same records, measured in turn.

Every store has RECORDS records of 1 KB before anything is measured and is kept from round to
round; for those of FRESH each has an empty one in each round, so that most sets are inserts. The
engine's records are public, which development does not seal: they carry a keyed check, as every
record does. In each round every workload is done by all, in another order each time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from ..memory.store import MemoryStore
from .baselines import RAW_BATCH, Raw
from .measure import RECORDS, Call, Limit, drive, values
from .mixes import MIXES, Work, Zipf, name_of
from .peers import AT_ONCE, UNORDERED, Peer, absent, open_peer
from .workloads import ENVIRONMENT, Bench, Shape, open_bench

CALLERS: Final = 100
BURSTS: Final = (10, 100, 1_000, 10_000)
SCANNED_FIRST: Final = 10_000_000  # inserts of a mix that scans, apart from those of the others
OURS: Final = "ours"
FRESH: Final = frozenset({"set", "set full", "set one"})
WARM: Final = Limit(0.05)  # the first sets make keys and open files
_FULL_PEERS: Final = ("raw", "redis")

Pairs = dict[tuple[str, str], list[tuple[float, float]]]

_CHECKED: Final = "1 KB JSON, public: a MAC, an access decision and an audit row each"
_IN_TURN: Final = "peers that block: one caller"
WORDS: Final = {
    "set": f"{_CHECKED}; 100 callers, NORMAL; raw: batches of 100 of the same rows; redis: "
    f"everysec, TCP; {_IN_TURN}",
    "set again": f"as set, on stores that have every key; {_IN_TURN}",
    "set full": f"{_CHECKED}; 100 callers, FULL; raw: batches of 100, FULL; redis: always",
    "set one": f"{_CHECKED}; one caller waits for each, NORMAL; raw: one commit a row",
    "get hit": "1 KB JSON decoded, from the cache, one caller; naive, redis: 100 callers",
    "get miss": "1 KB JSON decoded and its MAC checked, cache closed, 100 callers; raw: one",
} | {
    name: f"{mix.help}; {'1 KB, even' if not mix.ycsb else f'10 x 100 B, {mix.keys}'}, 100 callers,"
    f" NORMAL; raw: one commit a write; {_IN_TURN}"
    for name, mix in MIXES.items()
} | {
    f"burst {callers}": f"spikes of {callers:,} callers at once, each one set and one get, NORMAL; "
    f"{_IN_TURN}"
    for callers in BURSTS
}  # fmt: skip


class Ours:
    """Records of the engine, and the cache above them."""

    def __init__(self, bench: Bench) -> None:
        self.records = bench.records
        self._store: MemoryStore = bench.core.places[ENVIRONMENT].memory

    async def fill(self) -> None:
        await self.records.fill()

    async def misses(self, seconds: float) -> float:
        """Reads a second of records that are not in the cache, which is filled again after it."""
        self._store.cache.close()
        rate = (await drive(self.records.get, CALLERS, Limit(seconds))).rate
        self._store.cache.reopen()
        await self.warm()
        return rate

    async def warm(self) -> None:
        for start in range(0, RECORDS, 1000):
            names = range(start, start + 1000)
            await asyncio.gather(*(self.records.read(name_of(number)) for number in names))


class Turn(msgspec.Struct, frozen=True):
    """Somebody's way to do a workload: what is called, by how many, for how many operations."""

    call: Call
    callers: int = CALLERS
    weight: int = 1


class Arena:
    """All sides, the peers by name."""

    def __init__(self, scratch: Path, ours: Ours, peers: dict[str, Peer]) -> None:
        self._scratch = scratch
        self._ours = ours
        self._peers = peers
        self._works: dict[tuple[str, str], Work] = {}

    @cached_property
    def _zipf(self) -> Zipf:
        return Zipf(RECORDS)

    async def round(self, number: int, pairs: Pairs, seconds: float, only: Sequence[str]) -> None:
        """Every workload of `only` once, by everybody, beginning with another one each time."""
        for name in only:
            rates = {}
            sides = [OURS, *self._sides(name)]
            for place in range(len(sides)):
                side = sides[(place + number) % len(sides)]
                rates[side] = await self._rate(name, side, seconds)
            for side in sides[1:]:
                pairs[name, side].append((rates[OURS], rates[side]))

    def _sides(self, name: str) -> list[str]:
        if name == "set full":
            return [peer for peer in self._peers if peer in _FULL_PEERS]
        scans = name in MIXES and MIXES[name].scan
        return [peer for peer in self._peers if not scans or peer not in UNORDERED]

    async def _rate(self, name: str, side: str, seconds: float) -> float:
        if name == "get miss" and side == OURS:
            return await self._ours.misses(seconds)
        if name.startswith("burst"):
            callers = int(name.split()[1])
            return await burst(self._both(side), callers, seconds)
        if name not in FRESH:
            return await _driven(self._turn(name, side), Limit(seconds))
        full = name == "set full"
        with TemporaryDirectory(dir=self._scratch) as place:
            async with _open_fresh(side, Path(place), full=full) as store:
                turn = _setting(store, self._callers(side), singly=name == "set one")
                await _driven(turn, WARM)
                return await _driven(turn, Limit(seconds))

    def _turn(self, name: str, side: str) -> Turn:
        """How `side` does a workload."""
        if name in MIXES:
            return Turn(self._work(name, side).call, self._callers(side))
        store = self._store(side)
        if name in {"get hit", "get miss"}:
            return Turn(store.get, 1 if side == OURS else self._callers(side))
        return _setting(store, self._callers(side))

    def _store(self, side: str) -> Peer:
        return self._ours.records if side == OURS else self._peers[side]

    @staticmethod
    def _callers(side: str) -> int:
        return CALLERS if side == OURS or side in AT_ONCE else 1

    def _both(self, side: str) -> Call:
        """One set and one get."""
        store = self._store(side)

        async def both(chance: random.Random) -> None:
            await store.set(chance)
            await store.get(chance)

        return both

    def _work(self, name: str, side: str) -> Work:
        found = self._works.get((name, side))
        if found is None:
            mix = MIXES[name]
            first = SCANNED_FIRST if mix.scan else 0
            found = Work(mix, self._store(side), self._zipf, RECORDS, first)
            self._works[name, side] = found
        return found


def _setting(store: Peer, callers: int, *, singly: bool = False) -> Turn:
    """Sets by so many callers; `singly`: one waits for each. Rows by hand go in batches else."""
    if isinstance(store, Raw) and not singly:
        return Turn(store.set_batch, 1, RAW_BATCH)
    return Turn(store.set, 1 if singly else callers)


async def _driven(turn: Turn, limit: Limit) -> float:
    return (await drive(turn.call, turn.callers, limit, weight=turn.weight)).rate


@asynccontextmanager
async def _open_fresh(side: str, scratch: Path, *, full: bool) -> AsyncIterator[Peer]:
    """An empty store that waits for the disk where it is `full`."""
    durability = "full" if full else "normal"
    if side != OURS:
        async with open_peer(side, scratch, values(), [], durability=durability) as peer:
            yield peer
        return
    told = {f"durability.{ENVIRONMENT}": durability}
    async with open_bench(scratch, Shape(sealed=False), told=told) as bench:
        yield bench.records


async def burst(call: Call, callers: int, seconds: float) -> float:
    """Operations a second in spikes: so many callers at once, one call of two operations each, and
    when the last is answered the next spike. Callers that come after the end go away."""
    chance = random.Random(5)  # noqa: S311 - the same work in every run
    started = time.perf_counter()
    deadline, done = started + seconds, 0

    async def once() -> None:
        nonlocal done
        if not done or time.perf_counter() < deadline:
            await call(chance)
            done += 2

    while time.perf_counter() < deadline:
        await asyncio.gather(*(once() for _ in range(callers)))
    return done / (time.perf_counter() - started)


@asynccontextmanager
async def open_arena(scratch: Path, peers: Sequence[str]) -> AsyncIterator[Arena]:
    """The engine and those of the peers that are there."""
    names, records = [name_of(number) for number in range(RECORDS)], values()
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(scratch / "ours", Shape(sealed=False)))
        ours = Ours(bench)
        await ours.fill()
        opened: dict[str, Peer] = {}
        for peer in peers:
            if not absent(peer):
                opening = open_peer(peer, scratch / peer, records, names)
                opened[peer] = await stack.enter_async_context(opening)
        yield Arena(scratch, ours, opened)
