"""What callers of a memory store change, as operations of a group commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from .. import codec
from ..errors import Conflict, Damaged, Denied, NotFound, SwarmDeckError
from ..model import Level, Principal, Right, printable
from ..store.database import Operation, Transaction
from .records import COLUMNS, Entry, Place, Row
from .staging import Memory, Put, Staging, read_row

SWEEP_ROWS: Final = 50  # at once: others wait for no more than these

LARGE_BYTES: Final = 1 << 16  # a body of which is read alone

_NAMES: Final = ("namespace", "key", "owner", "team", "swarm")
_BLOBS: Final = ("body", "mac")
_SOUND: Final = f"""
    typeof(namespace) = 'text' AND typeof(key) = 'text' AND typeof(owner) = 'text'
    AND typeof(team) IN ('text', 'null') AND typeof(swarm) IN ('text', 'null')
    AND typeof(format) = 'integer' AND typeof(key_id) IN ('integer', 'null')
    AND typeof(level) = 'integer' AND typeof(version) = 'integer'
    AND typeof(created_at) = 'integer' AND typeof(updated_at) = 'integer'
    AND typeof(expires_at) = 'integer' AND typeof(mac) IN ('blob', 'null')
    AND typeof(body) = 'blob' AND length(body) <= {LARGE_BYTES}"""
_FIELDS: Final = [name.strip() for name in COLUMNS.split(",")]
_PLACES: Final = {name: 1 + _FIELDS.index(name) for name in (*_NAMES, *_BLOBS)}


def _packed(name: str) -> str:
    if name in ("namespace", "key"):
        return f"hex({name})"
    if name in _PLACES:
        return f"CASE WHEN sound AND {name} IS NOT NULL THEN hex({name}) END"
    return f"CASE WHEN sound THEN {name} END"


# All rows in one step: between two of them the interpreter would go to whoever else wants it.
# Texts and bytes are hex, so that whatever a row holds can be said in JSON.
_EXPIRED: Final = f"""
SELECT json_group_array(json_array(sound, {", ".join(map(_packed, _FIELDS))}))
FROM (
    SELECT {COLUMNS}, {_SOUND} AS sound FROM memory
    WHERE env = ? AND expires_at IS NOT NULL AND expires_at <= ?
    ORDER BY expires_at LIMIT ?
)"""  # noqa: S608 - constants
_from_json: Final = msgspec.json.Decoder(list[list[Any]]).decode
NEXT_EXPIRY: Final = """
SELECT min(expires_at) FROM memory WHERE env = ? AND expires_at IS NOT NULL"""
NEXT_EXPIRY_AFTER: Final = """
SELECT min(expires_at) FROM memory WHERE env = ? AND expires_at > ?"""


class Store(Memory, Protocol):
    """What an operation needs of its store once it is committed. `unswept`: damaged records that
    were due."""

    next_expiry_us: int
    unswept: set[Place]

    def remember(self, place: Place, entry: Entry | None) -> None: ...


class Trail(Protocol):
    """Where operations write down what they did: a transaction, or who puts it there later."""

    def audit(
        self, actor: str, action: str, object_: str, *, allowed: bool = True, detail: str = ""
    ) -> None: ...


class MemoryOperation(Operation):
    """What the operations below share: decide one after the other, write together."""

    __slots__ = ("principal", "store")
    topic = "memory"

    store: Store
    principal: Principal

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        staging = Staging(operations[0].store, tx)
        outcomes: list[Any] = []
        for operation in operations:
            try:
                outcomes.append(operation.decide(tx, staging))
            except SwarmDeckError as error:
                outcomes.append(operation.refused(tx, error))
        staging.flush()
        return outcomes

    def decide(self, tx: Trail, staging: Staging) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def refused(self, tx: Trail, error: SwarmDeckError) -> SwarmDeckError:
        if isinstance(error, Denied):
            tx.audit(self.principal.id, "memory.denied", self.place_text, allowed=False)
        return error

    @property
    def place_text(self) -> str:
        raise NotImplementedError


class Set(MemoryOperation):
    __slots__ = ("write",)
    grows = True

    def __init__(self, store: Store, principal: Principal, write: Put) -> None:
        self.store = store
        self.principal = principal
        self.write = write

    def decide(self, tx: Trail, staging: Staging) -> Entry:
        entry = staging.put(self.principal, self.write)
        tx.audit(self.principal.id, "memory.set", f"{self.write.namespace}/{self.write.key}")
        return entry

    def committed(self, outcome: Entry) -> int:
        self.store.remember((self.write.namespace, self.write.key), outcome)
        return outcome.version

    @classmethod
    def settle(cls, operations: Sequence[Self], outcomes: Sequence[Any]) -> None:
        remember = operations[0].store.remember
        for operation, outcome in zip(operations, outcomes, strict=True):
            future = operation.future
            if type(outcome) is Entry:
                write = operation.write
                remember((write.namespace, write.key), outcome)
                if not future.done():
                    future.set_result(outcome.version)
            elif not future.done():
                future.set_exception(outcome)

    @property
    def place_text(self) -> str:
        return f"{self.write.namespace}/{self.write.key}"


class SetMany(MemoryOperation):
    """All or none: decided in a staging of its own, merged once every write is allowed."""

    __slots__ = ("writes",)
    grows = True

    def __init__(self, store: Store, principal: Principal, writes: list[Put]) -> None:
        self.store = store
        self.principal = principal
        self.writes = writes

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        alone = super().apply
        return [outcome for operation in operations for outcome in alone(tx, [operation])]

    def decide(self, tx: Trail, staging: Staging) -> list[tuple[Place, Entry]]:
        try:
            staged = [
                ((put.namespace, put.key), staging.put(self.principal, put)) for put in self.writes
            ]
        except SwarmDeckError:
            staging.changes.clear()
            raise
        for namespace, key in staging.changes:
            tx.audit(self.principal.id, "memory.set", f"{namespace}/{key}")
        return staged

    def committed(self, outcome: list[tuple[Place, Entry]]) -> list[int]:
        for place, entry in outcome:
            self.store.remember(place, entry)
        return [entry.version for _, entry in outcome]

    @property
    def place_text(self) -> str:
        return f"{self.writes[0].namespace}/{self.writes[0].key}" if self.writes else ""


class Incr(MemoryOperation):
    __slots__ = ("by", "place")
    grows = True

    def __init__(self, store: Store, principal: Principal, place: Place, by: int) -> None:
        self.store = store
        self.principal = principal
        self.place = place
        self.by = by

    def decide(self, tx: Trail, staging: Staging) -> tuple[Entry, int]:
        namespace, key = self.place
        old = staging.known(self.principal, self.place)
        if old is not None and not self.store.access.allows(
            self.principal, Right.READ, old, namespace, key
        ):
            raise Denied(f"{self.principal.id} may not read {key}", hint="incr answers the sum")
        total = _number(old, key) + self.by
        put = Put(namespace, key, codec.JSON, codec.encode_json(total), None, 0)
        entry = staging.put(self.principal, put)
        if old is not None and old.expires_us:
            entry = msgspec.structs.replace(entry, expires_us=old.expires_us)
            staging.changes[self.place] = entry
        tx.audit(self.principal.id, "memory.incr", self.place_text, detail=str(self.by))
        return entry, total

    def committed(self, outcome: tuple[Entry, int]) -> int:
        self.store.remember(self.place, outcome[0])
        return outcome[1]

    @property
    def place_text(self) -> str:
        return "/".join(self.place)


class Relevel(MemoryOperation):
    """Change the level and nothing else: the value and its time to live stay."""

    __slots__ = ("if_version", "level", "place")

    def __init__(
        self,
        store: Store,
        principal: Principal,
        place: Place,
        level: Level,
        if_version: int | None,
    ) -> None:
        self.store = store
        self.principal = principal
        self.place = place
        self.level = level
        self.if_version = if_version

    def decide(self, tx: Trail, staging: Staging) -> Entry:
        namespace, key = self.place
        old = staging.known(self.principal, self.place)
        allows = self.store.access.allows
        if old is None or not allows(self.principal, Right.READ, old, namespace, key):
            if old is not None:
                self.refused(tx, Denied(""))
            raise NotFound(f"no key {printable(key)} that may be read")
        put = Put(namespace, key, old.format, old.body, self.level, 0, self.if_version)
        entry = staging.put(self.principal, put)
        if old.expires_us:
            entry = msgspec.structs.replace(entry, expires_us=old.expires_us)
            staging.changes[self.place] = entry
        detail = f"{old.level.name.lower()} -> {self.level.name.lower()}"
        tx.audit(self.principal.id, "memory.level", self.place_text, detail=detail)
        return entry

    def committed(self, outcome: Entry) -> int:
        self.store.remember(self.place, outcome)
        return outcome.version

    @property
    def place_text(self) -> str:
        return "/".join(self.place)


class Delete(MemoryOperation):
    __slots__ = ("if_version", "place")

    def __init__(
        self, store: Store, principal: Principal, place: Place, if_version: int | None
    ) -> None:
        self.store = store
        self.principal = principal
        self.place = place
        self.if_version = if_version

    def decide(self, tx: Trail, staging: Staging) -> bool:
        namespace, key = self.place
        access = self.store.access
        try:
            old = staging.find(self.place)
        except Damaged:
            return self._delete_damaged(tx, staging)
        if old is None:
            return False
        if not access.allows(self.principal, Right.DELETE, old, namespace, key):
            if not access.allows(self.principal, Right.READ, old, namespace, key):
                self.refused(tx, Denied(""))
                return False
            raise Denied(f"{self.principal.id} may not delete {key}", hint="only its owner may")
        if self.if_version not in (None, old.version):
            raise Conflict(f"{key}: version {old.version}, not {self.if_version}")
        staging.delete(self.place)
        tx.audit(self.principal.id, "memory.delete", self.place_text)
        return True

    def _delete_damaged(self, tx: Trail, staging: Staging) -> bool:
        """Whose it was is no longer sure: only the operator may clear it away."""
        if self.principal.is_operator:
            staging.delete(self.place)
            tx.audit(self.principal.id, "memory.delete", self.place_text, detail="damaged")
            return True
        if staging.may_know(self.principal, self.place):
            raise Damaged(
                f"{self.place_text} does not match its seal", hint="the operator may delete it"
            )
        self.refused(tx, Denied(""))
        return False

    def committed(self, outcome: bool) -> bool:
        if outcome:
            self.store.remember(self.place, None)
        return outcome

    @property
    def place_text(self) -> str:
        return "/".join(self.place)


class Sweep(Operation):
    """Deletes one bounded batch of expired records."""

    __slots__ = ("store",)
    topic = "memory"

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        return [cls._sweep(tx, operation.store) for operation in operations]

    @staticmethod
    def _sweep(tx: Transaction, store: Store) -> tuple[list[Place], int]:
        staging = Staging(store, tx)
        limit = SWEEP_ROWS + len(store.unswept)
        found, gone = _expired(tx, store, limit)
        for place in gone:
            staging.delete(place)
        staging.flush()
        if gone:
            tx.audit("system", "memory.expire", f"{len(gone)} records")
        # What is due and was not swept is damaged, and does not come up again.
        after_us = tx.now_us if found < limit else 0
        row = tx.execute(NEXT_EXPIRY_AFTER, (tx.env, after_us)).fetchone()
        return gone, (row[0] or 0) if row else 0

    def committed(self, outcome: tuple[list[Place], int]) -> int:
        gone, next_us = outcome
        for place in gone:
            self.store.remember(place, None)
        self.store.next_expiry_us = next_us
        return len(gone)


def _expired(tx: Transaction, store: Store, limit: int) -> tuple[int, list[Place]]:
    """How many records are due, and those that have really expired. One that does not match its
    seal says nothing about when it ends: it stays for the operator to look at."""
    answer = tx.execute(_EXPIRED, (tx.env, tx.now_us, limit)).fetchone()
    rows = _from_json(answer[0]) if answer else []
    gone: list[Place] = []
    for packed in rows:
        place = "", f"{packed[1]}/{packed[2]}"
        try:
            place = _text(packed[1]), _text(packed[2])
            if _is_over(store, _row(tx, place, packed), tx.now_us):
                gone.append(place)
        except (Damaged, ValueError):  # names that are none, too
            store.unswept.add(place)
    return len(rows), gone


def _row(tx: Transaction, place: Place, packed: list[Any]) -> Row:
    """A row of `_EXPIRED`; one that it could not hold is read alone. Raises Damaged, ValueError."""
    if not packed[0]:
        row = read_row(tx, place)
        if row is None:
            raise ValueError("a row under names that are no text")
        return row
    for name, number in _PLACES.items():
        if packed[number] is not None:
            told = packed[number]
            packed[number] = bytes.fromhex(told) if name in _BLOBS else _text(told)
    return packed[1:]


def _text(packed: str) -> str:
    return bytes.fromhex(packed).decode()


def _is_over(store: Store, row: Row, now_us: int) -> bool:
    return 0 < store.ring.open(row).expires_us <= now_us


def _number(entry: Entry | None, key: str) -> int:
    value = 0 if entry is None else codec.decode(entry.format, entry.body)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Conflict(f"{key} does not hold a whole number", hint="incr needs one")
    return value
