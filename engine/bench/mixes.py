"""What callers do to records, as mixes of operations: YCSB's core workloads and ours.

YCSB (Cooper and others, 2010) names six mixes, A to F. Keys are drawn from a zipfian
distribution of constant 0.99 that is scattered over the key space, in D from the latest records.
Records are 10 fields of 100 characters; an update writes a whole record. `reads` and `writes` are
the read-heavy and the write-heavy mix of agents: keys drawn evenly, records of 1 KB.
"""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Any, Final, Protocol

import msgspec

from .measure import VARIANTS, drawn, values

ZIPF: Final = 0.99
MOST_SCANNED: Final = 100
FIELDS: Final = 10
FIELD_CHARACTERS: Final = 100
_SCATTER: Final = 2_654_435_761  # prime to every size of a key space of ours, so it is one to one
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class Mix(msgspec.Struct, frozen=True):
    """Shares of operations, which add up to 1. `keys`: zipfian, latest or even. `ycsb`: records
    are those of YCSB."""

    help: str
    read: float = 0.0
    update: float = 0.0
    insert: float = 0.0
    scan: float = 0.0
    modify: float = 0.0
    keys: str = "zipfian"
    ycsb: bool = True


MIXES: Final = {
    "ycsb a": Mix("50 % read, 50 % update; session store", read=0.50, update=0.50),
    "ycsb b": Mix("95 % read, 5 % update; tags of pictures", read=0.95, update=0.05),
    "ycsb c": Mix("read only; cache of profiles", read=1.0),
    "ycsb d": Mix("95 % read of the latest, 5 % insert", read=0.95, insert=0.05, keys="latest"),
    "ycsb e": Mix("95 % scan of 1 to 100, 5 % insert; threads", scan=0.95, insert=0.05),
    "ycsb f": Mix("50 % read, 50 % read, modify and write", read=0.50, modify=0.50),
    "read-heavy": Mix("80 % read, 20 % write", read=0.80, update=0.20, keys="even", ycsb=False),
    "write-heavy": Mix("30 % read, 70 % write", read=0.30, update=0.70, keys="even", ycsb=False),
}


class Store(Protocol):
    """What a mix is done to. Keys are `name_of(number)`; values are picked by number."""

    async def read(self, key: str) -> object: ...

    async def write(self, key: str, value: dict[str, Any]) -> object: ...

    async def scan(self, key: str, count: int) -> object:
        """Up to `count` records from this key on, in the order of keys."""
        ...


def name_of(number: int) -> str:
    return f"k{number:08d}"


def ycsb_values() -> list[dict[str, Any]]:
    """Records of YCSB, always the same."""
    chance = random.Random(11)  # noqa: S311 - the same values in every run
    return [
        {
            f"field{place}": "".join(chance.choices(_LETTERS, k=FIELD_CHARACTERS))
            for place in range(FIELDS)
        }
        for _ in range(VARIANTS)
    ]


class Zipf:
    """Numbers below `size`, the first the most frequent: that of rank k with a weight of
    1 / k ** 0.99. Exact, by a table of the sums."""

    def __init__(self, size: int) -> None:
        self._ranks = range(size)
        self._sums = list(accumulate(rank**-ZIPF for rank in range(1, size + 1)))

    def draw(self, chance: random.Random) -> int:
        return chance.choices(self._ranks, cum_weights=self._sums)[0]


class Work:
    """One mix on one store, which has the first `records` already. What callers insert is numbered
    from `first` on, for all of them together."""

    def __init__(self, mix: Mix, store: Store, zipf: Zipf, records: int, first: int = 0) -> None:
        self._mix = mix
        self._store = store
        self._zipf = zipf
        self._loaded = records
        self.records = first or records
        self._values = ycsb_values() if mix.ycsb else values()
        self._verbs = (self._read, self._update, self._insert, self._scan, self._modify)
        shares = (mix.read, mix.update, mix.insert, mix.scan, mix.modify)
        self._shares = list(accumulate(shares))

    async def call(self, chance: random.Random) -> None:
        """One operation."""
        verb = chance.choices(self._verbs, cum_weights=self._shares)[0]
        await verb(chance)

    def _key(self, chance: random.Random) -> str:
        if self._mix.keys == "even":
            return name_of(int(chance.random() * self._loaded))
        drawn = self._zipf.draw(chance)
        if self._mix.keys == "latest":
            return name_of(self.records - 1 - drawn)
        return name_of(drawn * _SCATTER % self._loaded)

    def _value(self, chance: random.Random) -> dict[str, Any]:
        return drawn(chance, self._values)

    async def _read(self, chance: random.Random) -> None:
        await self._store.read(self._key(chance))

    async def _update(self, chance: random.Random) -> None:
        await self._store.write(self._key(chance), self._value(chance))

    async def _insert(self, chance: random.Random) -> None:
        number = self.records
        self.records += 1
        await self._store.write(name_of(number), self._value(chance))

    async def _scan(self, chance: random.Random) -> None:
        await self._store.scan(self._key(chance), chance.randint(1, MOST_SCANNED))

    async def _modify(self, chance: random.Random) -> None:
        key = self._key(chance)
        await self._store.read(key)
        await self._store.write(key, self._value(chance))
