"""Deciding and writing records inside a transaction, on the writer's thread."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from ..acl import Access
from ..errors import Conflict, Denied
from ..model import Level, Principal, Right
from ..store.database import Transaction
from .records import Cache, Entry, Place, entry_of

_SELECT_META: Final = """
SELECT format, x'', level, owner, team, swarm, version, created_at, updated_at, expires_at
FROM memory WHERE env = ? AND namespace = ? AND key = ?"""
SELECT_ENTRY: Final = """
SELECT format, body, level, owner, team, swarm, version, created_at, updated_at, expires_at
FROM memory WHERE env = ? AND namespace = ? AND key = ?"""
# The time always moves, even on a clock set back, so that the schema's own trigger never has to.
_UPSERT: Final = """
INSERT INTO memory (env, namespace, key, format, body, level, owner, team, swarm, version,
                    created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (env, namespace, key) DO UPDATE SET
    format = excluded.format, body = excluded.body, level = excluded.level,
    owner = excluded.owner, team = excluded.team, swarm = excluded.swarm,
    version = excluded.version, created_at = excluded.created_at,
    updated_at = max(excluded.updated_at, updated_at + 1), expires_at = excluded.expires_at"""
_DELETE: Final = "DELETE FROM memory WHERE env = ? AND namespace = ? AND key = ?"


class Memory(Protocol):
    """What staging needs of the store it writes for."""

    access: Access
    cache: Cache


class Put(msgspec.Struct, frozen=True, gc=False):
    """A verified write. `ttl_us` 0: for ever; `level` None: as it is, or private."""

    namespace: str
    key: str
    format: int
    body: bytes
    level: Level | None
    ttl_us: int
    if_version: int | None = None


class Staging:
    """Changes of one run of operations, decided and collected, then written at once.

    What earlier runs of the same transaction have staged is found in the transaction's overlay,
    which dies with the transaction if it is rolled back.
    """

    __slots__ = ("_access", "_cache", "_env", "_execute", "_now_us", "_overlay", "_tx", "changes")

    def __init__(self, memory: Memory, tx: Transaction) -> None:
        self._access = memory.access
        self._cache = memory.cache
        self._tx = tx
        self._env = tx.env
        self._now_us = tx.now_us
        self._execute = tx.execute
        self._overlay: dict[Place, Entry | None] = tx.overlay(memory)
        self.changes: dict[Place, Entry | None] = {}

    def find(self, place: Place, *, with_body: bool = False) -> Entry | None:
        """The record as this transaction sees it; one that has expired is not there."""
        return self._live(self._stored(place, with_body=with_body))

    def _stored(self, place: Place, *, with_body: bool = False) -> Entry | None:
        if place in self.changes:
            return self.changes[place]
        if place in self._overlay:
            return self._overlay[place]
        entry = self._cache.get(place)
        if entry is None and not self._cache.complete:
            statement = SELECT_ENTRY if with_body else _SELECT_META
            row = self._execute(statement, (self._env, *place)).fetchone()
            entry = entry_of(row) if row is not None else None
        return entry

    def _live(self, entry: Entry | None) -> Entry | None:
        return None if entry is not None and 0 < entry.expires_us <= self._now_us else entry

    def require(self, principal: Principal, put: Put) -> None:
        """Raise Denied unless `principal` could make this write itself."""
        old = self.find((put.namespace, put.key))
        self._decide(principal, old, put)

    def put(self, principal: Principal, put: Put) -> Entry:
        """Stage a write. Raises Denied or Conflict."""
        place = (put.namespace, put.key)
        stored = self._stored(place)
        old = self._live(stored)
        if put.if_version is not None and put.if_version != (old.version if old else 0):
            found = f"version {old.version}" if old else "no record"
            raise Conflict(
                f"{put.key}: {found}, not version {put.if_version}", hint="read it again"
            )
        self._decide(principal, old, put)
        # Versions go on from a record that has expired: no version is ever two values.
        version = stored.version + 1 if stored is not None else 1
        return self._stage(principal, old, put, version)

    def _stage(self, principal: Principal, old: Entry | None, put: Put, version: int) -> Entry:
        expires_us = self._now_us + put.ttl_us if put.ttl_us else 0
        if old is None:
            team = principal.teams[0] if principal.teams else None
            level, owner, swarm = put.level or Level.PRIVATE, principal.id, principal.swarm
            created_us = self._now_us
        else:
            level, owner, swarm = put.level or old.level, old.owner, old.swarm
            team, created_us = old.team, old.created_us
        entry = Entry(
            put.format, put.body, level, owner, team, swarm, version, created_us, self._now_us,
            expires_us, old is not None and level is not old.level,
        )  # fmt: skip
        self.changes[put.namespace, put.key] = entry
        return entry

    def _decide(self, principal: Principal, old: Entry | None, put: Put) -> None:
        access, namespace, key = self._access, put.namespace, put.key
        if old is None:
            allowed = access.may_create(principal, put.level or Level.PRIVATE, namespace, key)
        else:
            allowed = access.allows(principal, Right.WRITE, old, namespace, key)
            if allowed and put.level is not None and put.level is not old.level:
                moved = msgspec.structs.replace(old, level=put.level)
                allowed = access.allows(
                    principal, Right.GRANT, old, namespace, key
                ) and access.allows(principal, Right.WRITE, moved, namespace, key)
        if not allowed:
            raise Denied(
                f"{principal.id} may not write {key} at level "
                f"{(put.level or (old.level if old else Level.PRIVATE)).name.lower()}",
                hint="ask swarmdeck acl explain",
            )

    def delete(self, place: Place) -> None:
        self.changes[place] = None

    def flush(self) -> None:
        """Write what is staged."""
        env = self._env
        rows = []
        for (namespace, key), entry in self.changes.items():
            if entry is None:
                self._execute(_DELETE, (env, namespace, key))
            else:
                rows.append((env, namespace, key, entry.format, entry.body, entry.level._value_,
                             entry.owner, entry.team, entry.swarm, entry.version, entry.created_us,
                             entry.updated_us, entry.expires_us or None))  # fmt: skip
        if rows:
            self._tx.executemany(_UPSERT, rows)
        self._overlay.update(self.changes)
