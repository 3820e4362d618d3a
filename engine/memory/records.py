"""A record and the exact cache of records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ..model import Level

ENTRY_OVERHEAD_BYTES: Final = 400  # a cached entry beyond its body: struct, key, dictionary slot

_LEVELS: Final = {int(level): level for level in Level}  # calling an enum takes 0.4 us

Place = tuple[str, str]  # namespace, key
Row = Sequence[Any]

# What a row says, in the order in which it is sealed and opened.
COLUMNS: Final = """namespace, key, format, key_id, body, mac, level, owner, team, swarm, version,
       created_at, updated_at, expires_at"""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record. Times are microseconds; `expires_us` 0 means never. `relevelled`: it was written
    by what changed its level."""

    format: int
    body: bytes
    level: Level
    owner: str
    team: str | None
    swarm: str | None
    version: int
    created_us: int
    updated_us: int
    expires_us: int = 0
    relevelled: bool = False

    def __repr__(self) -> str:
        """Without the value: errors and logs show it."""
        return f"Entry({self.level.name.lower()}, {self.owner}, version {self.version})"


def entry_of(row: Sequence[Any]) -> Entry:
    """A record from its columns, in the order of Entry's fields. Raises ValueError for a level
    that is none."""
    format_, body, level, owner, team, swarm, version, created_us, updated_us, expires_us = row
    known = _LEVELS.get(level) or Level(level)
    return Entry(
        format_, body, known, owner, team, swarm, version, created_us, updated_us, expires_us or 0
    )


class Cache:
    """Encoded records, exact: what is in it is what is committed. Bounded in bytes, the oldest
    goes first. A load that overlaps a write of the same key fills nothing.

    While it is `complete`, what is not in it is not in the file either, and nobody has to look.
    Look the key up first and at `complete` after it: the loop clears the flag before it lets an
    entry go, so another thread never takes a forgotten record for a missing one.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.complete = False
        self._limit = limit_bytes
        self._size = 0
        self._entries: dict[Place, Entry] = {}
        self._moved: dict[Place, int] = {}
        self._loads: dict[int, int] = {}
        self._tickets = 0
        self._missed = 0
        self._generation = 0
        self._floor = 0  # loads that began before this generation fill nothing
        self._open_limit = limit_bytes
        self.get: Callable[[Place], Entry | None] = self._entries.get

    def close(self) -> None:
        """Forget everything and keep nothing, until `reopen`; and nothing of loads that began
        before: what they have read may be gone."""
        self._limit = 0
        self.complete = False
        self._generation += 1
        self._floor = self._generation
        self._entries.clear()
        self._size = 0

    def reopen(self) -> None:
        self._limit = self._open_limit

    @property
    def size_bytes(self) -> int:
        return self._size

    @property
    def loads(self) -> int:
        """How often a record was not here and had to be read from the file."""
        return self._missed

    def put(self, place: Place, entry: Entry) -> None:
        # Evicting begins with the oldest, so in a cache that is closed nothing stays.
        old = self._entries.pop(place, None)
        if old is not None:
            self._size -= len(old.body) + ENTRY_OVERHEAD_BYTES
        self._size += len(entry.body) + ENTRY_OVERHEAD_BYTES
        self._entries[place] = entry
        self._note(place)
        while self._size > self._limit:
            self.complete = False
            oldest = next(iter(self._entries))
            self._size -= len(self._entries.pop(oldest).body) + ENTRY_OVERHEAD_BYTES

    def drop(self, place: Place) -> None:
        old = self._entries.pop(place, None)
        if old is not None:
            self._size -= len(old.body) + ENTRY_OVERHEAD_BYTES
        self._note(place)

    def begin_load(self, records: int = 1) -> int:
        """Before so many records are read from the file. End with `end_load`."""
        self._tickets += 1
        self._missed += records
        self._loads[self._tickets] = self._generation
        return self._tickets

    def fill(self, place: Place, entry: Entry, ticket: int) -> None:
        """Keep what a load has read, if no write of that key was committed since it began."""
        began = self._loads[ticket]
        if began < self._floor or not self._limit or place in self._entries:
            return
        if self._moved.get(place, -1) <= began:
            self.put(place, entry)

    def end_load(self, ticket: int) -> None:
        del self._loads[ticket]
        if not self._loads:
            self._moved.clear()

    def _note(self, place: Place) -> None:
        self._generation += 1
        if self._loads:
            self._moved[place] = self._generation
