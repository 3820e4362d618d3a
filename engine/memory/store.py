"""The keyed memory of one environment: five levels, versions, time to live.

Writes are decided on the writer's thread inside the transaction, from the cached metadata of the
row or one look-up, so that access and version are never stale. What is read is in `lookup.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from .. import codec
from ..acl import Standing
from ..errors import InvalidInput
from ..model import Level, Principal, Right, check_ttl, parse_level
from ..store.database import Reader, Transaction
from .browse import LAST
from .lookup import KEY_CHUNK, Lookup, check_count, check_prefix
from .operations import NEXT_EXPIRY, SWEEP_ROWS, Delete, Incr, Relevel, Set, SetMany, Sweep
from .records import Entry, Place, Row
from .staging import SELECT_KEYS, Put, Staging

_SELECT_PLACES: Final = """
SELECT namespace, key, level, owner, team, swarm FROM memory
WHERE env = ? AND (? IS NULL OR namespace = ?) AND key >= ? AND key < ?
  AND (namespace, key) > (?, ?)
ORDER BY namespace, key LIMIT ?"""


class Write(msgspec.Struct, frozen=True, array_like=True):
    """One write that goes with the ack of a message."""

    namespace: str
    key: str
    format: int
    body: bytes
    level: str | int | None = None
    ttl_s: float | None = None
    if_version: int | None = None

    def __repr__(self) -> str:
        """Without the value: errors and logs show it."""
        return f"Write({self.namespace}/{self.key}, {len(self.body)} bytes)"


class MemoryStore(Lookup):
    """The records of one environment. All methods belong to the engine's loop; those named like
    data-plane verbs answer with a value, a future or a coroutine."""

    _behind = False

    async def open(self) -> None:
        """Learn how many records there are, when the next one expires, and the keys of all."""
        self.records, self.next_expiry_us, keys = await self._database.read(_load_counts)
        self.ring.learn(keys)
        self.cache.complete = self.records == 0 and not self.ring.reason

    def sealed(self) -> None:
        """The keys are gone: nothing that was read with them stays."""
        self.cache.close()
        self._outlines.clear()
        self.results.clear()

    def unsealed(self) -> None:
        """The keys are back."""
        self.cache.reopen()

    async def reload(self) -> None:
        """Begin anew with what the file holds: somebody else has deleted records from it."""
        self.cache.close()
        self._outlines.clear()
        self.results.clear()
        if not self.ring.reason:
            self.cache.reopen()
        await self.open()

    # --- writing ----------------------------------------------------------------------------

    def set(
        self,
        principal: Principal,
        namespace: str,
        key: str,
        format_: int,
        body: bytes,
        level: str | int | None = None,
        ttl_s: float | None = None,
        if_version: int | None = None,
    ) -> asyncio.Future[int]:
        """Store a value whose body was made or checked by codec; its new version. Raises
        InvalidInput, Denied, Conflict."""
        self._check_place(namespace, key)
        put = Put(namespace, key, format_, body, _level(level),
                   _ttl_us(ttl_s), if_version)  # fmt: skip
        return self._database.submit(Set(self, principal, put))

    def mset(
        self,
        principal: Principal,
        namespace: str,
        items: Sequence[Sequence[Any]],
        level: str | int | None = None,
        ttl_s: float | None = None,
    ) -> asyncio.Future[list[int]]:
        """Store all (key, format, body) or none; their new versions."""
        check_count(items)
        wanted, lasts = _level(level), _ttl_us(ttl_s)
        puts = []
        for key, format_, body in items:
            self._check_place(namespace, key)
            puts.append(Put(namespace, key, format_, body, wanted, lasts))
        return self._database.submit(SetMany(self, principal, puts))

    def incr(self, principal: Principal, namespace: str, key: str, by: int) -> asyncio.Future[int]:
        """Add to a whole number, 0 where there is none; the sum."""
        self._check_place(namespace, key)
        if isinstance(by, bool) or not isinstance(by, int):
            raise InvalidInput(f"cannot add {by!r}", hint="incr takes a whole number")
        return self._database.submit(Incr(self, principal, (namespace, key), by))

    def delete(
        self, principal: Principal, namespace: str, key: str, if_version: int | None = None
    ) -> asyncio.Future[bool]:
        """Whether there was such a record, which is gone now. One that may not even be read
        counts as missing. Raises Denied, Conflict."""
        self._check_place(namespace, key)
        return self._database.submit(Delete(self, principal, (namespace, key), if_version))

    def set_level(
        self,
        principal: Principal,
        namespace: str,
        key: str,
        level: str | int,
        if_version: int | None = None,
    ) -> asyncio.Future[int]:
        """Change the level of a record and nothing else; its new version. Needs what writing it
        at another level needs: at the old one the rights to write and to grant, at the new one
        to write. Raises NotFound where it is missing or may not be read, Denied, Conflict."""
        self._check_place(namespace, key)
        wanted = parse_level(level)
        return self._database.submit(Relevel(self, principal, (namespace, key), wanted, if_version))

    async def clear(self, principal: Principal, namespace: str | None, prefix: str = "") -> int:
        """Delete every record that may be deleted; how many those were."""
        if namespace is not None:
            self._check_namespace(namespace)
        check_prefix(prefix)
        within = (namespace, namespace, prefix, prefix + LAST)
        gone, after = 0, ("", "")
        while True:
            query = partial(_read_places, within=within, after=after)
            rows = await self._database.read(query)
            gone += await self._delete_all(principal, rows)
            if len(rows) < KEY_CHUNK:
                return gone
            after = (rows[-1][0], rows[-1][1])

    async def _delete_all(self, principal: Principal, rows: Sequence[Row]) -> int:
        """Delete those of some records that may be deleted, as far as their columns say. Of the
        others nothing is asked, so that nobody fills the trail with refusals by one call."""
        allows = self.access.allows
        places: list[Place] = []
        for namespace, key, *standing in rows:
            found = Standing(Level(standing[0]), *standing[1:])
            if allows(principal, Right.DELETE, found, namespace, key):
                places.append((namespace, key))
        gone = 0
        for start in range(0, len(places), SWEEP_ROWS):
            part = places[start : start + SWEEP_ROWS]
            deleting = [
                self._database.submit(Delete(self, principal, place, None)) for place in part
            ]
            outcomes = await asyncio.gather(*deleting, return_exceptions=True)
            gone += sum(outcome is True for outcome in outcomes)
        return gone

    @property
    def is_behind(self) -> bool:
        """The last sweep ran out of time."""
        return self._behind

    async def sweep(self, within_s: float = math.inf) -> int:
        """Delete records that have expired, for `within_s` at most, a bounded batch at a time and
        the writes of others between; how many. After each batch it rests for as long as that took,
        so that what waited is not with the next one."""
        until_s = self._clock.monotonic_s() + within_s
        swept = 0
        self._behind = False
        while 0 < self.next_expiry_us <= self._clock.wall_us() and not self.ring.reason:
            if self._clock.monotonic_s() >= until_s:
                self._behind = True
                break
            began_s = self._clock.monotonic_s()
            swept += await self._database.submit(Sweep(self))
            await asyncio.sleep(self._clock.monotonic_s() - began_s)
        return swept

    # --- writes that go with others -----------------------------------------------------------

    def draft_set(
        self,
        principal: Principal,
        namespace: str,
        key: str,
        format_: int,
        body: bytes,
        level: str | int | None,
        ttl_s: float | None,
        if_version: int | None,
    ) -> Set:
        """What `set` submits, for somebody else's operation. Raises InvalidInput."""
        self._check_place(namespace, key)
        wanted, lasts = _level(level), _ttl_us(ttl_s)
        return Set(self, principal, Put(namespace, key, format_, body, wanted, lasts, if_version))

    def draft_delete(
        self, principal: Principal, namespace: str, key: str, if_version: int | None
    ) -> Delete:
        """What `delete` submits."""
        self._check_place(namespace, key)
        return Delete(self, principal, (namespace, key), if_version)

    def draft_incr(self, principal: Principal, namespace: str, key: str, by: int) -> Incr:
        """What `incr` submits."""
        self._check_place(namespace, key)
        return Incr(self, principal, (namespace, key), by)

    def batched(self, principal: Principal, count: int) -> None:
        """A batch of `principal` was stored, of so many operations. Nobody is told, but see
        `ToldStore`."""

    # --- writes that go with an ack -----------------------------------------------------------

    def check_writes(self, writes: Iterable[Sequence[Any]]) -> list[Put]:
        """Writes as they come with an ack, verified. Raises InvalidInput."""
        puts = []
        for item in writes:
            write = _write(item)
            self._check_place(write.namespace, write.key)
            body = codec.check(write.format, write.body)
            puts.append(Put(write.namespace, write.key, write.format, body, _level(write.level),
                             _ttl_us(write.ttl_s), write.if_version))  # fmt: skip
        return puts

    def stage(
        self, tx: Transaction, worker: Principal, sender: Principal | None, puts: Sequence[Put]
    ) -> dict[Place, Entry | None]:
        """Write inside somebody else's transaction, with the authority of the worker and of the
        sender. Either all are written or, with an error raised, none. Pass the answer to
        `committed` after the commit."""
        staging = Staging(self, tx)
        for put in puts:
            if sender is not None and not sender.is_operator:
                staging.require(sender, put)
            staging.put(worker, put)
        staging.flush()
        for put in puts:
            tx.audit(worker.id, "memory.set", f"{put.namespace}/{put.key}")
        return staging.changes

    def committed(self, changes: dict[Place, Entry | None]) -> None:
        """Take over what a committed transaction has written. On the loop, in commit order."""
        for place, entry in changes.items():
            self.remember(place, entry)

    def remember(self, place: Place, entry: Entry | None) -> None:
        if entry is None:
            self.cache.drop(place)
            self.records -= 1
            self._outlines.touch(place)
            self.results.changed(place, content_only=False)
            return
        if entry.version == 1:
            self.records += 1
        moved = entry.relevelled or entry.created_us == entry.updated_us  # may be new, or revived
        if moved:
            self._outlines.touch(place)
        self.results.changed(place, content_only=not (moved or entry.expires_us))
        self.cache.put(place, entry)
        if entry.expires_us and not 0 < self.next_expiry_us <= entry.expires_us:
            self.next_expiry_us = entry.expires_us


def _write(item: Sequence[Any]) -> Write:
    try:
        return msgspec.convert(item, Write)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"a write is not well formed: {error}") from error


def _level(level: str | int | None) -> Level | None:
    return None if level is None else parse_level(level)


def _ttl_us(ttl_s: float | None) -> int:
    return 0 if ttl_s is None else int((check_ttl(ttl_s) or 0) * 1_000_000)


def _read_places(
    reader: Reader, *, within: tuple[str | None, str | None, str, str], after: Place
) -> Sequence[Row]:
    bounds = (reader.env, *within, *after, KEY_CHUNK)
    return reader.execute(_SELECT_PLACES, bounds).fetchall()


def _load_counts(reader: Reader) -> tuple[int, int, Sequence[Row]]:
    rows = reader.execute("SELECT count(*) FROM memory WHERE env = ?", (reader.env,)).fetchone()
    expiry = reader.execute(NEXT_EXPIRY, (reader.env,)).fetchone()
    keys: Sequence[Row] = reader.execute(SELECT_KEYS, (reader.env,)).fetchall()
    return (rows[0] if rows else 0), (expiry[0] or 0 if expiry else 0), keys
