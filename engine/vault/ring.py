"""The keys of one environment, and records sealed and opened with them.

    vault.json: key of the environment --wraps--> table data_key: one active key a class

Levels private and team have a class of their own, the others share `rest`. What is sealed: private
and team records everywhere, every record where isolation is strict. Other rows carry a keyed
check, made with a key that follows from that of `rest`.

Keys are made and counted inside somebody's transaction, which may still be rolled back. So after
such a transaction the table is read again before the next row is protected: a row never leaves
with a key that is not in the file, and no use goes uncounted.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from ..errors import Corrupt, Damaged, Sealed, Unavailable
from ..memory.records import Entry, Place, Row, entry_of
from ..memory.staging import SELECT_KEYS
from ..model import Environment, Level
from ..store.database import Transaction
from ..views import DataKeyView, KeyringView
from . import derive, record
from .sources import UNSEAL

__all__ = ["BUDGET", "KINDS", "RESERVE", "SELECT_KEYS", "DataKey", "Ring"]

KINDS: Final = ("private", "team", "rest")
STATES: Final = ("active", "retiring", "destroyed")
BUDGET: Final = 1 << 31  # records one key may seal; half of what random nonces allow
RESERVE: Final = 4096  # uses written ahead at once

_INSERT_KEY: Final = """
INSERT INTO data_key (env, id, class, state, wrapped, uses, created_at)
VALUES (?, ?, ?, 'active', ?, 0, ?)"""
_RETIRE: Final = """
UPDATE data_key SET state = 'retiring' WHERE env = ? AND class = ? AND state = 'active'"""
_RESERVE: Final = "UPDATE data_key SET uses = max(uses, ?) WHERE env = ? AND id = ?"
_ANYTHING: Final = """
SELECT EXISTS (SELECT 1 FROM memory WHERE env = ?1)
    OR EXISTS (SELECT 1 FROM message WHERE env = ?1)"""
_MAX_SCOPES: Final = 10_000
_BROKEN: Final = (struct.error, ValueError, TypeError, AttributeError, OverflowError, Damaged)

Protected = tuple[object, ...]


class Keeper(Protocol):
    """What a ring asks of its vault. From any thread."""

    def environment_key(self, environment: str, *, make: bool) -> bytes | None: ...
    def renew_environment_key(self, environment: str) -> None: ...
    def is_protected(self, environment: str) -> bool: ...


class DataKey:
    """A key of one class. `drawn` counts what it has sealed, `reserved` what the file says."""

    __slots__ = (
        "created_us", "drawn", "id", "kind", "opened", "reserved", "seals", "state", "wrapped",
    )  # fmt: skip

    def __init__(self, row: Row, *, strict: bool) -> None:
        """Raises ValueError for a row that no release wrote."""
        numbers = all(type(row[at]) is int and row[at] >= 0 for at in (0, 4, 5))
        if not numbers or row[1] not in KINDS or row[2] not in STATES:
            raise ValueError("a key that cannot be")
        self.id, self.kind, self.state, self.wrapped, self.reserved, self.created_us = row
        self.drawn: int = self.reserved
        self.seals = strict or self.kind != "rest"
        self.opened: tuple[record.Cipher, record.Cipher] | None = None


class Active(NamedTuple):
    """What writes records of a level: a batch that has it ends with it, whatever is forgotten."""

    key: DataKey
    id: int
    seals: bool
    sealing: record.Cipher
    checking: record.Cipher


class Ring:
    """The keys of one environment. `reason` says why it is sealed, and is empty while it is not.
    Methods that take a transaction run on the writer's thread, the others on any."""

    def __init__(
        self, environment: Environment, keeper: Keeper, *, strict: bool, compress_above: int | None
    ) -> None:
        self.environment = environment.value
        self.strict = strict
        self.reason = ""
        self._keeper = keeper
        self._above = float("inf") if compress_above is None else compress_above
        self._lock = threading.RLock()
        self._keys: dict[int, DataKey] = {}
        self._ciphers: dict[Any, tuple[record.Cipher, record.Cipher]] = {}
        self._by_level: tuple[Active, ...] = ()  # of the active keys; empty: not loaded
        self._writing: tuple[DataKey, ...] = ()
        self._unsure: Transaction | None = None
        self._shredding: Transaction | None = None
        self._scopes: dict[tuple[str, str, str | None, str | None], bytes] = {}
        self._broken: tuple[type[Exception], ...] = _BROKEN

    @property
    def state(self) -> str:
        return "sealed" if self.reason else "open"

    def known(self) -> list[DataKey]:
        """What is known of every key, the oldest first."""
        with self._lock:
            return list(self._keys.values())

    def require(self) -> None:
        """Raise Sealed unless records can be read and written."""
        if self.reason:
            raise Sealed(f"{self.environment} is sealed: {self.reason}", hint=UNSEAL)

    def forget(self) -> None:
        """Let go of every key. A batch that has them ends with them. Takes no lock: whoever calls
        may hold the vault's, and others hold this ring's while they wait for that."""
        self._by_level = self._writing = ()
        self._ciphers = {}
        for key in tuple(self._keys.values()):
            key.opened = None

    def learn(self, rows: Iterable[Row]) -> None:
        """Take over the rows of `SELECT_KEYS`, of a file that was opened. Raises Damaged."""
        with self._lock:
            self.forget()
            self._keys = {row[0]: self._known(row) for row in rows}
            self._unsure = None

    def beside(self, rows: Iterable[Row]) -> Ring:
        """A ring that opens the records of another file of this environment, such as a backup,
        by the rows its own `SELECT_KEYS` gives. It seals nothing."""
        other = Ring(Environment(self.environment), self._keeper, strict=self.strict,
                     compress_above=None)  # fmt: skip
        other.reason = self.reason
        other.learn(rows)
        return other

    def _known(self, row: Row) -> DataKey:
        try:
            return DataKey(row, strict=self.strict)
        except ValueError as error:
            raise Damaged(
                f"the keys of {self.environment} are damaged in its database",
                hint="restore it from a backup",
            ) from error

    def view(self, rotate_after_us: int, rotating: float | None = None) -> KeyringView:
        keys = tuple(
            DataKeyView(
                id=key.id,
                kind=key.kind,
                state=key.state,
                created_at_us=key.created_us,
                uses=key.reserved,
                rotate_at_us=key.created_us + rotate_after_us if key.state == "active" else None,
            )
            for key in self.known()
        )
        return KeyringView(
            environment=self.environment,
            state=self.state,
            reason=self.reason,
            keys=keys,
            rotating=rotating,
        )

    # --- opening ----------------------------------------------------------------------------

    def open(self, row: Row) -> Entry:
        """The record in a row of `COLUMNS`, verified. Raises Sealed, Damaged."""
        (namespace, key, format_, key_id, body, mac, level, owner, team, swarm, version,
         created_us, updated_us, expires_us) = row  # fmt: skip
        if self.reason:
            self.require()
        try:
            found = self._ciphers.get(key_id) or self._load(row)
            if found is not None:
                names = self._scopes.get((namespace, owner, team, swarm)) or self._scope(
                    namespace, owner, team, swarm
                )
                name = key.encode()
                bound = record.bind(
                    1, level, format_, key_id, version, created_us, updated_us, expires_us or 0,
                    len(name),
                ) + name + names  # fmt: skip
                if format_ & record.SEALED:
                    body = record.unseal(found[0], body, bound)
                else:
                    record.verify(found[1], body, mac, bound)
                if format_ & record.LZ4:
                    body = record.decompress(body)
            return entry_of((format_ & record.PLAIN_BITS, body, level, owner, team, swarm, version,
                             created_us, updated_us, expires_us))  # fmt: skip
        except self._broken as error:
            raise Damaged(
                f"{self.environment}: {namespace}/{key} does not match its seal",
                hint="restore it from a backup, or delete it",
            ) from error

    def _load(self, row: Row) -> tuple[record.Cipher, record.Cipher] | None:
        """The ciphers of a row's key; None for a row of before there were keys."""
        format_, key_id, mac = row[2], row[3], row[5]
        with self._lock:
            self.require()
            if key_id is None:
                if mac is not None or not 0 <= format_ <= record.PLAIN_BITS:
                    raise ValueError("a row without a check")
                self.require_bare()
                return None
            key = self._keys.get(key_id)
            if key is None:
                raise ValueError("a row of an unknown key")
            return self._opened(key)

    def _opened(self, key: DataKey) -> tuple[record.Cipher, record.Cipher]:
        """A key ready for use. Raises Damaged, Sealed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        opened = key.opened
        if opened is None:
            wrapping = self._keeper.environment_key(self.environment, make=False)
            if wrapping is None or not isinstance(key.wrapped, bytes):
                raise Damaged(f"key {key.id} of {self.environment} was destroyed")
            plain = derive.unwrap(wrapping, key.wrapped, self._label(key.id, key.kind))
            checking = derive.expand(plain, "swarmdeck record check")
            opened = key.opened = AESGCM(plain), AESGCM(checking)
            self._broken = (*_BROKEN, InvalidTag)
        self._ciphers[key.id] = opened
        if self.reason:  # it was sealed meanwhile
            self.forget()
            self.require()
        return opened

    def _label(self, ident: int, kind: str) -> str:
        return f"swarmdeck data key|{self.environment}|{ident}|{kind}"

    def _scope(self, namespace: str, owner: str, team: str | None, swarm: str | None) -> bytes:
        if len(self._scopes) >= _MAX_SCOPES:
            self._scopes = {}
        made = record.scope(self.environment, namespace, owner, team, swarm)
        self._scopes[namespace, owner, team, swarm] = made
        return made

    # --- for what is not a record -------------------------------------------------------------

    def require_bare(self) -> None:
        """Raise ValueError or Damaged unless what has no check may be believed: it is of before
        there were keys, not all has been protected since, and the keys that are there are those
        of this vault. Whoever puts another vault.json in the place of ours turns no check off."""
        if self._keeper.is_protected(self.environment):
            raise ValueError("something without a check")
        with self._lock:
            for key in self._keys.values():
                if key.wrapped is not None:
                    self._opened(key)
                    return

    def is_shredded(self, key_id: int | None) -> bool:
        """Whether a key was destroyed, and with it what it protected."""
        with self._lock:
            key = None if key_id is None else self._keys.get(key_id)
            return key is not None and key.state == "destroyed"

    @property
    def compress_above(self) -> float:
        """Bytes above which a text is compressed."""
        return self._above

    @property
    def broken(self) -> tuple[type[Exception], ...]:
        """What opening something damaged can raise."""
        return self._broken

    def opening(self, key_id: int) -> tuple[record.Cipher, record.Cipher]:
        """What opens and what checks with a key. Raises Sealed, ValueError, Damaged."""
        found = self._ciphers.get(key_id)
        if found is not None:
            return found
        with self._lock:
            self.require()
            key = self._keys.get(key_id)
            if key is None:
                raise ValueError("a text of an unknown key")
            return self._opened(key)

    def writing(self, tx: Transaction, count: int) -> Active:
        """The active key of the class `rest`, with so many uses written ahead; count what you
        use. On the writer's thread. Raises Sealed."""
        return self._ready(tx, count)[0]

    def naming(self, purpose: str) -> bytes:
        """A key that names things so that a name tells nothing without it. It seals nothing, and
        lasts until all keys of the environment are destroyed. Any thread, and not before `prepare`
        was called in some transaction. Raises Sealed, Damaged."""
        self.require()
        key = self._keeper.environment_key(self.environment, make=False)
        if key is None:
            raise Damaged(
                f"keys/vault.json has no key of {self.environment}",
                hint="restore keys/vault.json from a backup",
            )
        return derive.expand(key, purpose)

    def scope(self, first: str, kind: str, sender: str, target: str) -> bytes:
        """Names as they are bound, kept for the next time."""
        return self._scopes.get((first, kind, sender, target)) or self._scope(
            first, kind, sender, target
        )

    # --- protecting, on the writer's thread ---------------------------------------------------

    def protect(
        self, tx: Transaction, namespace: str, key: str, entry: Entry
    ) -> tuple[int, int, bytes, bytes | None]:
        """Format, key id, body and check of a record as it is stored. Raises Sealed."""
        row = self.protect_all(tx, {(namespace, key): entry})[0]
        return row[3], row[4], row[5], row[6]  # type: ignore[return-value]

    def protect_all(
        self, tx: Transaction, changes: Mapping[Place, Entry | None]
    ) -> list[Protected]:
        """Environment and `COLUMNS` of all records, ready to be stored. Raises Sealed."""
        by_level = self._ready(tx, len(changes))
        nonces = os.urandom(derive.NONCE_BYTES * len(changes))
        environment, scopes, above = self.environment, self._scopes, self._above
        rows: list[Protected] = []
        bind, at = record.bind, 0
        for (namespace, key), entry in changes.items():
            if entry is None:
                continue
            body, format_, level = entry.body, entry.format, entry.level._value_
            owner, team, swarm, version = entry.owner, entry.team, entry.swarm, entry.version
            created_us, updated_us, expires_us = (
                entry.created_us,
                entry.updated_us,
                entry.expires_us,
            )
            if len(body) > above and (packed := record.compress(body)) is not None:
                body, format_ = packed, format_ | record.LZ4
            used, key_id, seals, sealing, checking = by_level[level]
            used.drawn += 1
            nonce = nonces[at : at + derive.NONCE_BYTES]
            at += derive.NONCE_BYTES
            names = scopes.get((namespace, owner, team, swarm)) or self._scope(
                namespace, owner, team, swarm
            )
            if seals:
                format_ |= record.SEALED
            name = key.encode()
            bound = bind(
                1, level, format_, key_id, version, created_us, updated_us, expires_us, len(name)
            ) + name + names  # fmt: skip
            check = None
            if seals:
                body = record.seal(sealing, nonce, body, bound)
            else:
                check = record.mac(checking, nonce, body, bound)
            rows.append((environment, namespace, key, format_, key_id, body, check, level, owner,
                         team, swarm, version, created_us, updated_us,
                         expires_us or None))  # fmt: skip
        return rows

    def prepare(self, tx: Transaction) -> None:
        """Have the active keys at hand; made where there are none. Raises Sealed, Damaged."""
        self._ready(tx, 0)

    def changed(self, tx: Transaction) -> None:
        """Somebody else has written about keys in this transaction. Look now, and again in the
        next."""
        self._unsure = tx
        self._read_again(tx)

    def shredded(self, tx: Transaction) -> None:
        """Keys were destroyed in this transaction."""
        self._shredding = tx
        self.changed(tx)

    def begin_anew(self, tx: Transaction) -> None:
        """Where all keys are destroyed, let the key that wrapped them go as well. Not in the
        transaction that destroyed them, which could be rolled back."""
        with self._lock:
            rows = tx.execute(SELECT_KEYS, (self.environment,)).fetchall()
            if rows and not self.reason and all(row[3] is None for row in rows):
                self._keeper.renew_environment_key(self.environment)

    def _ready(self, tx: Transaction, count: int) -> tuple[Active, ...]:
        """The active key of each level, with so many uses written ahead."""
        self.require()
        if self._unsure is not None:
            self._read_again(tx)
        by_level = self._by_level or self._begin(tx)
        for key in self._writing:
            if key.reserved - key.drawn < count:
                by_level = self._reserve(tx, key, count)
        return by_level

    def _begin(self, tx: Transaction) -> tuple[Active, ...]:
        """Load the active keys; make those that are not there. Raises Sealed, Damaged."""
        with self._lock:
            self.require()
            if tx is self._shredding:
                raise Unavailable(
                    f"keys of {self.environment} are being destroyed", hint="try again"
                )
            self._shredding = None
            self.begin_anew(tx)
            rows = tx.execute(SELECT_KEYS, (self.environment,)).fetchall()
            held = any(row[3] is not None for row in rows)
            if self._keeper.environment_key(self.environment, make=not held) is None:
                raise Damaged(
                    f"keys/vault.json has no key of {self.environment}",
                    hint="restore keys/vault.json from a backup",
                )
            if not rows and self._keeper.is_protected(self.environment):
                self._require_empty(tx)
            self._merge(rows)
            active = {key.kind: key for key in self._keys.values() if key.state == "active"}
            for kind in KINDS:
                if kind not in active:
                    active[kind] = self._make(tx, kind)
            return self._use(active)

    def _require_empty(self, tx: Transaction) -> None:
        """There are no keys: then nothing can be there that they protect. Raises Corrupt."""
        from .columns import COLUMNS  # noqa: PLC0415 - asked for before the first key alone

        others = (
            f" OR EXISTS (SELECT 1 FROM {table} WHERE env = ?1 AND {name} IS NOT NULL)"  # noqa: S608 - ours
            for table, name, *_ in COLUMNS
        )
        found = tx.execute(_ANYTHING + "".join(others), (self.environment,)).fetchone()
        if found == (1,):
            raise Corrupt(
                f"the keys of {self.environment} are missing from its database",
                hint="restore it from a backup",
            )

    def _use(self, active: dict[str, DataKey]) -> tuple[Active, ...]:
        self._writing = tuple(active[kind] for kind in KINDS)
        private, team, rest = (
            Active(key, key.id, key.seals, *self._opened(key)) for key in self._writing
        )
        of = {Level.PRIVATE: private, Level.TEAM: team}
        self._by_level = (rest, *(of.get(level, rest) for level in Level))  # by number, from 1
        return self._by_level

    def _make(self, tx: Transaction, kind: str) -> DataKey:
        wrapping = self._keeper.environment_key(self.environment, make=False)
        assert wrapping is not None
        ident = max(self._keys, default=0) + 1
        plain = os.urandom(derive.KEY_BYTES)
        wrapped = derive.wrap(wrapping, plain, self._label(ident, kind))
        tx.execute(_INSERT_KEY, (self.environment, ident, kind, wrapped, tx.now_us))
        row = (ident, kind, "active", wrapped, 0, tx.now_us)
        made = self._keys[ident] = self._known(row)
        self._unsure = tx
        return made

    def _merge(self, rows: Iterable[Row]) -> None:
        """Take over what the file says, and keep what is known beside it."""
        known, self._keys = self._keys, {}
        for row in rows:
            fresh = self._known(row)
            key = known.get(fresh.id)
            if key is None or key.wrapped != fresh.wrapped:
                key = fresh
                self._ciphers.pop(key.id, None)
            key.state, key.reserved = fresh.state, fresh.reserved
            self._keys[key.id] = key
        for gone in known.keys() - self._keys.keys():
            self._ciphers.pop(gone, None)

    def _read_again(self, tx: Transaction) -> None:
        """Look what has become of what an earlier change wrote about keys."""
        with self._lock:
            self._merge(tx.execute(SELECT_KEYS, (self.environment,)).fetchall())
            held = all(self._keys.get(key.id) is key for key in self._writing)
            if not held or any(key.state != "active" for key in self._writing):
                self._writing = self._by_level = ()
            if tx is not self._unsure:
                self._unsure = None

    def _reserve(self, tx: Transaction, key: DataKey, count: int) -> tuple[Active, ...]:
        """Write uses ahead; a key that has none left is replaced."""
        ahead = key.drawn + max(count, RESERVE)
        if ahead > BUDGET:
            self.replace(tx, [key.kind])
            return self._ready(tx, count)
        tx.execute(_RESERVE, (ahead, self.environment, key.id))
        key.reserved = ahead
        self._unsure = tx
        return self._by_level

    def replace(self, tx: Transaction, kinds: Iterable[str] = KINDS) -> None:
        """New active keys; those of before only open, until nothing is left that they sealed."""
        self._ready(tx, 0)
        with self._lock:
            for kind in kinds:
                tx.execute(_RETIRE, (self.environment, kind))
            self.changed(tx)
            self._begin(tx)
