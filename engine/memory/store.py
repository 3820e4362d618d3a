"""The keyed memory of one environment: five levels, versions, time to live.

Reads are answered from an exact write-through cache of encoded bytes, else by coalesced misses.
Writes are decided on the writer's thread inside the transaction, from the cached metadata of the
row or one look-up, so that access and version are never stale.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from .. import codec
from ..acl import Access, Standing
from ..audit.reads import GET, MISSING, Looked, Reads
from ..clock import Clock
from ..errors import Damaged, InvalidInput
from ..model import (
    MAX_KEY_BYTES,
    Level,
    Principal,
    Right,
    check_key,
    check_name,
    check_ttl,
    parse_level,
)
from ..store.aside import LIGHT_ROWS, Aside
from ..store.database import Database, Reader, Transaction
from ..views import RecordView
from .browse import LAST, Browse, query, sight
from .operations import NEXT_EXPIRY, SWEEP_ROWS, Delete, Incr, Relevel, Set, SetMany, Sweep
from .outline import Outlines
from .records import Cache, Entry, Place, Row, entry_of
from .staging import SELECT_KEYS, Keys, Put, Staging, may_know, read_row, standing_of

MAX_BATCH_KEYS: Final = 10_000
MAX_KNOWN_NAMESPACES: Final = 10_000
KEY_CHUNK: Final = 1_000

_SELECT_PAGE: Final = """
SELECT key, level, owner, team, swarm FROM memory
WHERE env = ? AND namespace = ? AND key > ? AND key >= ? AND key < ?
  AND (expires_at IS NULL OR expires_at > ?)
ORDER BY key LIMIT ?"""
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


class MemoryStore:
    """The records of one environment. All methods belong to the engine's loop; those named like
    data-plane verbs answer with a value, a future or a coroutine."""

    def __init__(
        self,
        database: Database,
        access: Access,
        clock: Clock,
        *,
        ring: Keys,
        cache_bytes: int,
        reads: Reads | None = None,
    ) -> None:
        self.access = access
        self.ring = ring
        self.reads = reads or Reads(database, clock)
        self.records = 0
        self._database = database
        self._clock = clock
        self.cache = Cache(cache_bytes)
        self._aside = Aside(database)
        self._outlines = Outlines(access, self._aside)
        self._namespaces: set[str] = set()
        self.next_expiry_us = 0
        self.unswept: set[Place] = set()
        self._behind = False

    async def open(self) -> None:
        """Learn how many records there are, when the next one expires, and the keys of all."""
        self.records, self.next_expiry_us, keys = await self._database.read(_load_counts)
        self.ring.learn(keys)
        self.cache.complete = self.records == 0 and not self.ring.reason

    def sealed(self) -> None:
        """The keys are gone: nothing that was read with them stays."""
        self.cache.close()
        self._outlines.clear()

    def unsealed(self) -> None:
        """The keys are back."""
        self.cache.reopen()

    async def reload(self) -> None:
        """Begin anew with what the file holds: somebody else has deleted records from it."""
        self.cache.close()
        self._outlines.clear()
        if not self.ring.reason:
            self.cache.reopen()
        await self.open()

    # --- reading ----------------------------------------------------------------------------

    def get(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        """None, or format, body and version of a record that may be read. Where all reads are
        audited, after its row is committed: Unavailable when it cannot be."""
        reads = self.reads
        if reads.left <= 1:
            return self._get_noted(principal, namespace, key)
        reads.left -= 1
        entry = self.cache.get((namespace, key))
        if entry is None:
            return self._get_cold(principal, namespace, key)
        return self._shown(principal, entry, namespace, key)

    def _get_noted(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        """A read that leaves a row."""
        if self.reads.strict:
            return self._get_kept(principal, namespace, key)
        self.reads.due()
        entry = self.cache.get((namespace, key))
        if entry is None:
            return self._get_cold_noted(principal, namespace, key)
        shown = self._shown(principal, entry, namespace, key)
        if shown is not None:
            self.reads.found(principal, namespace, key)
        return shown

    async def _get_cold_noted(
        self, principal: Principal, namespace: str, key: str
    ) -> tuple[int, bytes, int] | None:
        shown = await self._get_cold(principal, namespace, key)
        if shown is not None:
            self.reads.found(principal, namespace, key)
        return shown

    async def _get_kept(
        self, principal: Principal, namespace: str, key: str
    ) -> tuple[int, bytes, int] | None:
        entry, row = await self._look(principal, namespace, key)
        await self.reads.keep([row])
        return None if entry is None else (entry.format, entry.body, entry.version)

    async def _look(
        self, principal: Principal, namespace: str, key: str
    ) -> tuple[Entry | None, Looked]:
        """A record, if it may be read, and the row this read has to leave. Whether it is there or
        refused takes the same time: what is refused is looked for in the file as well."""
        self._check_place(namespace, key)
        place = (namespace, key)
        cached = self.cache.get(place)
        entry = cached
        if entry is None and not self.cache.complete:
            entry = await self._load(place, principal)
        object_ = f"{namespace}/{key}"
        if entry is None or 0 < entry.expires_us <= self._clock.wall_us():
            return None, Looked(principal.id, GET, object_, detail=MISSING)
        if self.access.allows(principal, Right.READ, entry, namespace, key):
            return entry, Looked(principal.id, GET, object_)
        self.access.denied_calls += 1
        if cached is not None and not self.cache.complete:
            await self._load(place, principal)
        return None, Looked(principal.id, GET, object_, allowed=False)

    async def _get_cold(
        self, principal: Principal, namespace: str, key: str
    ) -> tuple[int, bytes, int] | None:
        self._check_place(namespace, key)
        if self.cache.complete:
            return None
        entry = await self._load((namespace, key), principal)
        return None if entry is None else self._shown(principal, entry, namespace, key)

    def _shown(
        self, principal: Principal, entry: Entry, namespace: str, key: str
    ) -> tuple[int, bytes, int] | None:
        if entry.expires_us and entry.expires_us <= self._clock.wall_us():
            return None
        if not self.access.allows(principal, Right.READ, entry, namespace, key):
            self.access.denied_calls += 1
            self.reads.denied(principal, namespace, key)
            return None
        if entry.level is Level.PRIVATE and entry.owner != principal.id:
            self.reads.opened(principal, namespace, key)
        return entry.format, entry.body, entry.version

    def has(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        """Whether there is a record that may be read."""
        answer = self.get(principal, namespace, key)
        return _is_there(answer) if asyncio.iscoroutine(answer) else answer is not None

    async def mget(
        self, principal: Principal, namespace: str, keys: Sequence[str]
    ) -> list[tuple[int, bytes, int] | None]:
        """What `get` answers, for many keys."""
        _check_count(keys)
        if self.reads.strict:
            return await self._mget_kept(principal, namespace, keys)
        answers = [self.get(principal, namespace, key) for key in keys]
        cold = iter(await asyncio.gather(*(a for a in answers if asyncio.iscoroutine(a))))
        return [next(cold) if asyncio.iscoroutine(a) else a for a in answers]

    async def _mget_kept(
        self, principal: Principal, namespace: str, keys: Sequence[str]
    ) -> list[tuple[int, bytes, int] | None]:
        found = await asyncio.gather(*(self._look(principal, namespace, key) for key in keys))
        if found:
            await self.reads.keep([row for _, row in found])
        return [
            None if entry is None else (entry.format, entry.body, entry.version)
            for entry, _ in found
        ]

    async def keys(
        self, principal: Principal, namespace: str, prefix: str, limit: int, cursor: str | None
    ) -> tuple[list[str], str | None]:
        """Keys that may be read, in byte order, and where to go on (None at the end). Raises
        Sealed."""
        self.ring.require()
        self._check_namespace(namespace)
        _check_prefix(prefix)
        _check_prefix(cursor or "")
        if not 1 <= limit <= MAX_BATCH_KEYS:
            raise InvalidInput(f"limit {limit} is out of range", hint=f"1 to {MAX_BATCH_KEYS}")
        await self.reads.look(principal, "memory.keys", f"{namespace}/{prefix}")
        found: list[str] = []
        after = cursor or ""
        while True:
            page = await self._database.read(self._page_query(namespace, prefix, after))
            for key, *standing in page:
                after = key
                if self.access.allows(
                    principal,
                    Right.READ,
                    Standing(Level(standing[0]), *standing[1:]),
                    namespace,
                    key,
                ):
                    found.append(key)
                    if len(found) == limit:
                        return found, after
            if len(page) < KEY_CHUNK:
                return found, None

    def _page_query(
        self, namespace: str, prefix: str, after: str
    ) -> Callable[[Reader], list[tuple[Any, ...]]]:
        now_us = self._clock.wall_us()

        def query(reader: Reader) -> list[tuple[Any, ...]]:
            bounds = (after, prefix, prefix + LAST, now_us, KEY_CHUNK)
            return reader.execute(_SELECT_PAGE, (reader.env, namespace, *bounds)).fetchall()

        return query

    async def browse(self, principal: Principal, wanted: Browse) -> list[RecordView]:
        """Records that may be read, without their values. Raises InvalidInput for an unknown
        order, Unavailable when looking takes too long."""
        for text in (wanted.namespace or "", wanted.prefix, wanted.contains):
            _check_prefix(text)
        place = f"{wanted.namespace or '*'}/{wanted.prefix}"
        await self.reads.look(principal, "memory.list", place, (wanted.contains,))
        now_us = self._clock.wall_us()
        if wanted.order == "key" and not wanted.contains and self.records > LIGHT_ROWS:
            rows = await self._outlines.page(principal, wanted, now_us)
        else:
            looking = query(wanted, sight(self.access, principal), now_us)
            rows = await self._aside.read(looking, rows=self.records)
        return [
            self._view(entry_of((row[2], b"", *row[4:])), row[0], row[1], row[3]) for row in rows
        ]

    async def show(self, principal: Principal, namespace: str, key: str) -> RecordView | None:
        """A record with its value, or None where it is missing or may not be read. Looking again
        at what has not changed leaves one row a minute."""
        entry, row = await self._look(principal, namespace, key)
        if not row.allowed or (entry is None and self.reads.strict):
            waiting = self.reads.note(principal, GET, row.object, row.allowed, row.detail)
            if waiting is not None:
                await waiting
        if entry is None:
            return None
        await self.reads.look(principal, GET, row.object, (str(entry.version),))
        view = self._view(entry, namespace, key, len(entry.body))
        return msgspec.structs.replace(view, value=codec.decode(entry.format, entry.body))

    async def peek(self, namespace: str, key: str) -> Entry | None:
        """A record for explaining a decision: not for showing its value. While the vault is
        sealed it is what the columns say, without the value. Raises Damaged."""
        check_name(namespace, "namespace")
        check_key(key)
        place = (namespace, key)
        if self.ring.reason:
            row = await self._database.read(lambda reader: read_row(reader, place))
            entry = entry_of((row[2], b"", *row[6:])) if row and standing_of(row) else None
        else:
            entry = self.cache.get(place) or await self._load(place)
        gone = entry is not None and 0 < entry.expires_us <= self._clock.wall_us()
        return None if gone else entry

    def _view(self, entry: Entry, namespace: str, key: str, size: int) -> RecordView:
        return RecordView(
            key=key,
            namespace=namespace,
            environment=self._database.env,
            level=entry.level.name.lower(),
            owner=entry.owner,
            team=entry.team,
            version=entry.version,
            size_bytes=size,
            updated_at_us=entry.updated_us,
            expires_at_us=entry.expires_us or None,
        )

    async def _load(self, place: Place, principal: Principal | None = None) -> Entry | None:
        """Read a record, verify it, and remember it unless it has been written meanwhile. Raises
        Sealed, and Damaged; to a principal that may not read it, a damaged record is missing."""
        self.ring.require()
        open_ = self.ring.open

        def query(reader: Reader) -> tuple[Row | None, Entry | Damaged | None]:
            row: Row | None = None
            try:
                row = read_row(reader, place)
                return row, (open_(row) if row is not None else None)
            except Damaged as error:
                return row, error

        ticket = self.cache.begin_load()
        try:
            row, entry = await self._database.read(query)
            if isinstance(entry, Damaged):
                standing = standing_of(row) if row is not None else None
                if principal and not may_know(self.access, principal, standing, place):
                    return None
                raise entry
            if entry is not None:
                self.cache.fill(place, entry, ticket)
        finally:
            self.cache.end_load(ticket)
        return entry

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
        _check_count(items)
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
        _check_prefix(prefix)
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
        the writes of others between; how many."""
        until_s = self._clock.monotonic_s() + within_s
        swept = 0
        self._behind = False
        while 0 < self.next_expiry_us <= self._clock.wall_us() and not self.ring.reason:
            if self._clock.monotonic_s() >= until_s:
                self._behind = True
                break
            swept += await self._database.submit(Sweep(self))
        return swept

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
            return
        if entry.version == 1:
            self.records += 1
        if entry.relevelled or entry.created_us == entry.updated_us:  # it may be new, or revived
            self._outlines.touch(place)
        self.cache.put(place, entry)
        if entry.expires_us and not 0 < self.next_expiry_us <= entry.expires_us:
            self.next_expiry_us = entry.expires_us

    # --- checks -----------------------------------------------------------------------------

    def _check_place(self, namespace: str, key: str) -> None:
        if self.ring.reason:
            self.ring.require()
        if namespace not in self._namespaces:
            self._check_namespace(namespace)
        check_key(key)

    def _check_namespace(self, namespace: str) -> None:
        check_name(namespace, "namespace")
        if len(self._namespaces) < MAX_KNOWN_NAMESPACES:
            self._namespaces.add(namespace)


async def _is_there(answer: Coroutine[Any, Any, object]) -> bool:
    return await answer is not None


def _write(item: Sequence[Any]) -> Write:
    try:
        return msgspec.convert(item, Write)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"a write is not well formed: {error}") from error


def _level(level: str | int | None) -> Level | None:
    return None if level is None else parse_level(level)


def _ttl_us(ttl_s: float | None) -> int:
    return 0 if ttl_s is None else int((check_ttl(ttl_s) or 0) * 1_000_000)


def _check_prefix(text: str) -> None:
    """What nothing begins with or holds is not looked for, nor remembered as looked for."""
    if len(text) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"{len(text):,} characters are no part of a key", hint=f"at most {MAX_KEY_BYTES}"
        )


def _check_count(items: Sequence[Any]) -> None:
    if len(items) > MAX_BATCH_KEYS:
        raise InvalidInput(f"{len(items)} keys in one call", hint=f"at most {MAX_BATCH_KEYS}")


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
