"""Deciding and writing records inside a transaction, on the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec

from ..acl import Access, Standing
from ..errors import Conflict, Damaged, Denied
from ..model import Level, Principal, Right
from ..store import driver
from ..store.database import Transaction
from .records import COLUMNS, Cache, Entry, Place, Row

SELECT_ENTRY: Final = f"""
SELECT {COLUMNS}
FROM memory WHERE env = ? AND namespace = ? AND key = ?"""  # noqa: S608 - a constant
SELECT_KEYS: Final = """
SELECT id, class, state, wrapped, uses, created_at FROM data_key WHERE env = ? ORDER BY id"""
# The time moves with every write and is decided before it, because seals bind it.
_UPSERT: Final = """
INSERT INTO memory (env, namespace, key, format, key_id, body, mac, level, owner, team, swarm,
                    version, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (env, namespace, key) DO UPDATE SET
    format = excluded.format, key_id = excluded.key_id, body = excluded.body, mac = excluded.mac,
    level = excluded.level, owner = excluded.owner, team = excluded.team, swarm = excluded.swarm,
    version = excluded.version, created_at = excluded.created_at,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at"""
_LEVELS: Final = frozenset(Level)
_WRITE: Final = Right.WRITE  # naming the member of an enum takes 0.2 us
_PRIVATE: Final = Level.PRIVATE
_DELETE: Final = "DELETE FROM memory WHERE env = ? AND namespace = ? AND key = ?"
# One statement lets go of the interpreter once; a busy loop takes milliseconds to give it back.
_DELETE_MANY: Final = """
DELETE FROM memory WHERE rowid IN (
    SELECT memory.rowid FROM json_each(?) AS gone CROSS JOIN memory
    WHERE memory.env = ? AND memory.namespace = gone.value ->> 0
      AND memory.key = gone.value ->> 1)"""
_to_json = msgspec.json.Encoder().encode


class Keys(Protocol):
    """What seals and opens the records of an environment, on any thread. `reason` says why it is
    sealed, empty while it is not; `require` raises Sealed then."""

    reason: str

    def learn(self, rows: Iterable[Row]) -> None: ...
    def require(self) -> None: ...
    def open(self, row: Row) -> Entry: ...
    def protect_all(
        self, tx: Transaction, changes: Mapping[Place, Entry | None]
    ) -> list[tuple[object, ...]]: ...


class Memory(Protocol):
    """What staging needs of the store it writes for."""

    access: Access
    cache: Cache
    ring: Keys


class Put(msgspec.Struct, frozen=True, gc=False):
    """A verified write. `ttl_us` 0: for ever; `level` None: as it is, or private."""

    namespace: str
    key: str
    format: int
    body: bytes
    level: Level | None
    ttl_us: int
    if_version: int | None = None

    def __repr__(self) -> str:
        """Without the value: errors and logs show it."""
        return f"Put({self.namespace}/{self.key}, {len(self.body)} bytes)"


class Staging:
    """Changes of one run of operations, decided and collected, then written at once.

    What earlier runs of the same transaction have staged is found in the transaction's overlay,
    which dies with the transaction if it is rolled back.
    """

    __slots__ = (
        "_access", "_cache", "_env", "_execute", "_now_us", "_open", "_overlay", "_ring",
        "_tx", "changes",
    )  # fmt: skip

    def __init__(self, memory: Memory, tx: Transaction) -> None:
        self._access = memory.access
        self._cache = memory.cache
        self._tx = tx
        self._env = tx.env
        self._now_us = tx.now_us
        self._execute = tx.execute
        self._ring = memory.ring
        self._open = memory.ring.open
        self._overlay: dict[Place, Entry | None] = tx.overlay(memory)
        self.changes: dict[Place, Entry | None] = {}

    def find(self, place: Place) -> Entry | None:
        """The record as this transaction sees it; one that has expired is not there. Raises
        Damaged where it does not match its seal."""
        return self._live(self._stored(place))

    def known(self, principal: Principal, place: Place) -> Entry | None:
        """What `find` gives; to somebody who may not read it, a damaged record is missing."""
        try:
            return self.find(place)
        except Damaged:
            if self.may_know(principal, place):
                raise
        return None

    def _stored(self, place: Place) -> Entry | None:
        if place in self.changes:
            return self.changes[place]
        if place in self._overlay:
            return self._overlay[place]
        entry = self._cache.get(place)
        if entry is None and not self._cache.complete:
            row = self._row(place)
            entry = self._open(row) if row is not None else None
        return entry

    def _row(self, place: Place) -> Row | None:
        return read_row(self._tx, place)

    def may_know(self, principal: Principal, place: Place) -> bool:
        """Whether somebody may read a damaged record, as far as its columns say."""
        try:
            row = self._row(place)
        except Damaged:
            row = None
        standing = standing_of(row) if row is not None else None
        return may_know(self._access, principal, standing, place)

    def _live(self, entry: Entry | None) -> Entry | None:
        return None if entry is not None and 0 < entry.expires_us <= self._now_us else entry

    def require(self, principal: Principal, put: Put) -> None:
        """Raise Denied unless `principal` could make this write itself."""
        old = self._live(self._verified(principal, (put.namespace, put.key), put))
        self._decide(principal, old, put)

    def _verified(self, principal: Principal, place: Place, put: Put) -> Entry | None:
        """What is stored there. One that is damaged is not overwritten: whose it was, and at
        which level, is no longer known. Raises Damaged, or Denied to those who may not know."""
        try:
            return self._stored(place)
        except Damaged:
            if self.may_know(principal, place):
                raise
        raise _denied(principal, put, put.level)

    def put(self, principal: Principal, put: Put) -> Entry:
        """Stage a write. Raises Denied, Conflict or Damaged."""
        place = (put.namespace, put.key)
        stored = self._verified(principal, place, put)
        old = self._live(stored)
        self._decide(principal, old, put)  # first: only who may write hears of versions
        if put.if_version is not None and put.if_version != (old.version if old else 0):
            found = f"version {old.version}" if old else "no record"
            raise Conflict(
                f"{put.key}: {found}, not version {put.if_version}", hint="read it again"
            )
        # Versions go on from a record that has expired: no version is ever two values.
        version, now_us = 1, self._now_us
        if stored is not None:
            # Times move on as well, also when the clock was set back.
            version, now_us = stored.version + 1, max(now_us, stored.updated_us + 1)
        return self._stage(principal, old, put, version, now_us)

    def _stage(
        self, principal: Principal, old: Entry | None, put: Put, version: int, now_us: int
    ) -> Entry:
        expires_us = self._now_us + put.ttl_us if put.ttl_us else 0
        if old is None:
            team = principal.teams[0] if principal.teams else None
            level, owner, swarm = put.level or _PRIVATE, principal.id, principal.swarm
            created_us = now_us
        else:
            level, owner, swarm = put.level or old.level, old.owner, old.swarm
            team, created_us = old.team, old.created_us
        entry = Entry(
            put.format, put.body, level, owner, team, swarm, version, created_us, now_us,
            expires_us, old is not None and level is not old.level,
        )  # fmt: skip
        self.changes[put.namespace, put.key] = entry
        return entry

    def _decide(self, principal: Principal, old: Entry | None, put: Put) -> None:
        access, namespace, key = self._access, put.namespace, put.key
        if old is None:
            allowed = access.may_create(principal, put.level or _PRIVATE, namespace, key)
        else:
            allowed = access.allows(principal, _WRITE, old, namespace, key)
            if allowed and put.level is not None and put.level is not old.level:
                moved = msgspec.structs.replace(old, level=put.level)
                allowed = access.allows(
                    principal, Right.GRANT, old, namespace, key
                ) and access.allows(principal, _WRITE, moved, namespace, key)
        if not allowed:
            shown = put.level
            if old is not None and access.allows(principal, Right.READ, old, namespace, key):
                shown = shown or old.level
            raise _denied(principal, put, shown)

    def delete(self, place: Place) -> None:
        self.changes[place] = None

    def flush(self) -> None:
        """Write what is staged. Raises Sealed."""
        env, changes = self._env, self.changes
        gone = [place for place, entry in changes.items() if entry is None]
        if len(gone) == 1:
            self._execute(_DELETE, (env, *gone[0]))
        elif gone:
            self._execute(_DELETE_MANY, (_to_json(gone).decode(), env))
        rows = self._ring.protect_all(self._tx, changes) if changes else None
        if rows and len(rows) == 1:
            self._execute(_UPSERT, rows[0])
        elif rows:
            self._tx.insert_many(_UPSERT, rows)
        self._overlay.update(changes)


class Reading(Protocol):
    """A transaction, or a reader."""

    @property
    def env(self) -> str: ...
    @property
    def execute(self) -> Callable[..., driver.Cursor]: ...


def read_row(source: Reading, place: Place) -> Row | None:
    """The row of a record. Raises Damaged where it is another's, or its names are no text."""
    try:
        row = source.execute(SELECT_ENTRY, (source.env, *place)).fetchone()
    except UnicodeDecodeError as error:
        raise _astray(source, place) from error
    except driver.OperationalError as error:
        if "decode" not in str(error):  # the same, where the driver could quote the text
            raise
        raise _astray(source, place) from error
    if row is not None and (row[0], row[1]) != place:
        raise _astray(source, place)  # a damaged index led to somebody else's record
    return row


def _astray(source: Reading, place: Place) -> Damaged:
    return Damaged(
        f"{source.env}: {place[0]}/{place[1]} is damaged",
        hint="restore it from a backup, or delete it",
    )


def standing_of(row: Row) -> Standing | None:
    """Whose record a row says it is, without a look at its seal; None where it says nothing."""
    level, owner, team, swarm = row[6:10]
    texts = isinstance(owner, str) and all(isinstance(t, str | None) for t in (team, swarm))
    if not texts or level not in _LEVELS:
        return None
    return Standing(Level(level), owner, team, swarm)


def may_know(access: Access, principal: Principal, standing: Standing | None, place: Place) -> bool:
    """Whether somebody may be told that there is a record which is damaged."""
    if standing is None:
        return principal.is_operator
    return access.allows(principal, Right.READ, standing, *place)


def _denied(principal: Principal, put: Put, level: Level | None) -> Denied:
    """`level` as far as it is known to who is denied: None for that of a record it may not read."""
    at = "" if level is None else f" at level {level.name.lower()}"
    return Denied(f"{principal.id} may not write {put.key}{at}", hint="ask swarmdeck acl explain")
