"""What is read of the records of one environment: one, many, their keys, a page of them.

Reads are answered from an exact write-through cache of encoded bytes, else by coalesced misses.
What is read is decided, and audited where that is wanted, here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from .. import codec
from ..acl import Access, Standing
from ..audit.reads import GET, MISSING, Looked, Reads
from ..clock import Clock
from ..errors import InvalidInput
from ..model import MAX_KEY_BYTES, Level, Principal, Right, check_key, check_name
from ..store.aside import LIGHT_ROWS, Aside
from ..store.database import Database, Reader
from ..views import RecordView
from .browse import LAST, Browse, query, sight
from .misses import Misses
from .operations import NEXT_EXPIRY_AFTER
from .outline import Outlines
from .records import Cache, Entry, Place, entry_of
from .results import Asked, Range, Results
from .staging import Keys, read_row, standing_of

KEY_BYTES: Final = 60  # a key in an answer beyond its characters
VIEW_BYTES: Final = 600  # a record without its value
MAX_BATCH_KEYS: Final = 10_000
MAX_KNOWN_NAMESPACES: Final = 10_000
KEY_CHUNK: Final = 1_000
FEWEST_KEYS: Final = 64  # read at once
_READ: Final = Right.READ  # naming the member of an enum takes 0.2 us
_PRIVATE: Final = Level.PRIVATE

_SELECT_PAGE: Final = """
SELECT key, level, owner, team, swarm, expires_at FROM memory
WHERE env = ? AND namespace = ? AND key > ? AND key >= ? AND key < ?
  AND (expires_at IS NULL OR expires_at > ?)
ORDER BY key LIMIT ?"""


class Lookup:
    """The reading half of a memory store, and what both halves know of the file: how many `records`
    there are, expired ones too, when the next one expires (0: none does), and which could not be
    swept because they are damaged."""

    def __init__(
        self,
        database: Database,
        access: Access,
        clock: Clock,
        *,
        ring: Keys,
        cache_bytes: int,
        reads: Reads | None = None,
        results_bytes: int = 0,
        results_ttl_s: float = 60.0,
    ) -> None:
        self.access = access
        self._verdict = access.verdict
        self.ring = ring
        self.reads = reads or Reads(database, clock)
        self.records = 0
        self.next_expiry_us = 0
        self.unswept: set[Place] = set()
        self.cache = Cache(cache_bytes)
        self.results = Results(results_bytes, results_ttl_s)
        self._database = database
        self._clock = clock
        self._misses = Misses(database, self.cache, ring, access)
        self._aside = Aside(database)
        self._outlines = Outlines(access, self._aside)
        self._namespaces: set[str] = set()

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
        if entry.expires_us or entry.level is _PRIVATE:
            return self._shown(principal, entry, namespace, key)
        if self._verdict(principal, _READ, entry, namespace, key).allowed:
            return entry.format, entry.body, entry.version
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
        answer = self._get_cold(principal, namespace, key)
        shown: tuple[int, bytes, int] | None = None if answer is None else await answer
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
            entry = await self._misses.ask(place, principal)
        object_ = f"{namespace}/{key}"
        if entry is None or 0 < entry.expires_us <= self._clock.wall_us():
            return None, Looked(principal.id, GET, object_, detail=MISSING)
        if self.access.allows(principal, _READ, entry, namespace, key):
            return entry, Looked(principal.id, GET, object_)
        self.access.denied_calls += 1
        if cached is not None and not self.cache.complete:
            await self._misses.ask(place, principal)
        return None, Looked(principal.id, GET, object_, allowed=False)

    def _get_cold(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        self._check_place(namespace, key)
        if self.cache.complete:
            return None
        return self._misses.ask((namespace, key), principal, self._shown)

    def _shown(
        self, principal: Principal, entry: Entry, namespace: str, key: str
    ) -> tuple[int, bytes, int] | None:
        if entry.expires_us and entry.expires_us <= self._clock.wall_us():
            return None
        if not self.access.verdict(principal, _READ, entry, namespace, key).allowed:
            self.access.denied_calls += 1
            self.reads.denied(principal, namespace, key)
            return None
        if entry.level is _PRIVATE and entry.owner != principal.id:
            self.reads.opened(principal, namespace, key)
        return entry.format, entry.body, entry.version

    def has(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        """Whether there is a record that may be read."""
        answer = self.get(principal, namespace, key)
        return _is_there(answer) if _waits(answer) else answer is not None

    async def mget(
        self, principal: Principal, namespace: str, keys: Sequence[str]
    ) -> list[tuple[int, bytes, int] | None]:
        """What `get` answers, for many keys."""
        check_count(keys)
        if self.reads.strict:
            return await self._mget_kept(principal, namespace, keys)
        for key in keys:  # before anything is asked that nobody would wait for
            self._check_place(namespace, key)
        answers = [self.get(principal, namespace, key) for key in keys]
        cold = iter(await asyncio.gather(*(a for a in answers if _waits(a))))
        return [next(cold) if _waits(a) else a for a in answers]

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
        check_prefix(prefix)
        check_prefix(cursor or "")
        if not 1 <= limit <= MAX_BATCH_KEYS:
            raise InvalidInput(f"limit {limit} is out of range", hint=f"1 to {MAX_BATCH_KEYS}")
        await self.reads.look(principal, "memory.keys", f"{namespace}/{prefix}")
        name = ("keys", principal, namespace, prefix, limit, cursor)
        kept = self.results.get(name, self.access.epoch, self._clock.wall_us())
        if kept is not None:
            return list(kept[0]), kept[1]
        until_us = self.access.until_us(principal)
        asked = self._ask(namespace)
        try:
            found, following, ends_us = await self._read_keys(
                principal, namespace, prefix, limit, cursor or ""
            )
            self.results.keep(
                name, asked, (tuple(found), following), Range(prefix, cursor or "", following),
                now_us=self._clock.wall_us(), until_us=_first(until_us, ends_us),
                size_bytes=sum(len(key) + KEY_BYTES for key in found),
            )  # fmt: skip
        finally:
            self.results.leave(asked)
        return found, following

    def _ask(self, namespace: str | None) -> Asked:
        return self.results.ask(namespace, self.access.epoch)

    async def _read_keys(
        self, principal: Principal, namespace: str, prefix: str, limit: int, after: str
    ) -> tuple[list[str], str | None, int]:
        """Keys, where to go on, and when the first of them expires (0: none does)."""
        found: list[str] = []
        known: dict[tuple[Any, ...], Standing] = {}  # most records of a namespace stand alike
        ends_us = 0
        while True:
            # No more than are wanted, yet not few where many of them may not be read.
            rows = min(KEY_CHUNK, max(FEWEST_KEYS, limit - len(found)))
            page = await self._database.read(self._page_query(namespace, prefix, after, rows))
            for row in page:
                after = key = row[0]
                stands, expires_us = row[1:5], row[5]
                standing = known.get(stands)
                if standing is None:
                    standing = known[stands] = Standing(Level(stands[0]), *stands[1:])
                if self.access.allows(principal, _READ, standing, namespace, key):
                    found.append(key)
                    if expires_us:
                        ends_us = _first(ends_us, expires_us)
                    if len(found) == limit:
                        return found, after, ends_us
            if len(page) < rows:
                return found, None, ends_us

    def _page_query(
        self, namespace: str, prefix: str, after: str, rows: int
    ) -> Callable[[Reader], list[tuple[Any, ...]]]:
        now_us = self._clock.wall_us()

        def query(reader: Reader) -> list[tuple[Any, ...]]:
            bounds = (after, prefix, prefix + LAST, now_us, rows)
            return reader.execute(_SELECT_PAGE, (reader.env, namespace, *bounds)).fetchall()

        return query

    async def browse(self, principal: Principal, wanted: Browse) -> list[RecordView]:
        """Records that may be read, without their values. Raises InvalidInput for an unknown
        order, Unavailable when looking takes too long."""
        for text in (wanted.namespace or "", wanted.prefix, wanted.contains):
            check_prefix(text)
        place = f"{wanted.namespace or '*'}/{wanted.prefix}"
        await self.reads.look(principal, "memory.list", place, (wanted.contains,))
        name = ("list", principal, wanted)
        kept = self.results.get(name, self.access.epoch, self._clock.wall_us())
        if kept is not None:
            return list(kept)
        until_us = self.access.until_us(principal)
        asked = self._ask(wanted.namespace)
        try:
            now_us = self._clock.wall_us()
            found = await self._read_rows(principal, wanted, now_us)
            ends_us = await self._ends_us(wanted, found, now_us)
            self.results.keep(
                name, asked, tuple(found), Range(wanted.prefix, content=True),
                now_us=self._clock.wall_us(), until_us=_first(until_us, ends_us),
                size_bytes=sum(len(view.key) + VIEW_BYTES for view in found),
            )  # fmt: skip
        finally:
            self.results.leave(asked)
        return found

    async def _ends_us(self, wanted: Browse, found: Sequence[RecordView], now_us: int) -> int:
        """When a page changes because a record expires (0: never): one of its own, or, where others
        are passed over, any."""
        if wanted.offset == 0:
            ends_us = 0
            for view in found:
                ends_us = _first(ends_us, view.expires_at_us or 0)
            return ends_us

        def query(reader: Reader) -> int:
            row = reader.execute(NEXT_EXPIRY_AFTER, (reader.env, now_us)).fetchone()
            return (row[0] or 0) if row else 0

        return await self._database.read(query)

    async def _read_rows(
        self, principal: Principal, wanted: Browse, now_us: int
    ) -> list[RecordView]:
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
            entry = self.cache.get(place) or await self._misses.ask(place)
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


async def _is_there(answer: Awaitable[object]) -> bool:
    return await answer is not None


def _waits(answer: object) -> bool:
    """Whether what `get` gave has to be waited for."""
    return answer is not None and type(answer) is not tuple


def _first(*times_us: int) -> int:
    """The first of some times of which 0 is never."""
    return min(filter(None, times_us), default=0)


def check_prefix(text: str) -> None:
    """What nothing begins with or holds is not looked for, nor remembered as looked for."""
    if len(text) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"{len(text):,} characters are no part of a key", hint=f"at most {MAX_KEY_BYTES}"
        )


def check_count(items: Sequence[Any]) -> None:
    if len(items) > MAX_BATCH_KEYS:
        raise InvalidInput(f"{len(items)} keys in one call", hint=f"at most {MAX_BATCH_KEYS}")
