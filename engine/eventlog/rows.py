"""One event as it is stored and as it is shown."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .. import codec
from ..errors import NotFound
from ..model import Environment, Level, printable
from ..store.database import Reader, Transaction
from ..vault import Ring, columns, letters
from ..vault.letters import Letter
from ..views import EventView

READY, WAITING, PROCESSING, COMPLETED, FAILED, EXPIRED = range(6)

STATUSES: Final = ("pending", "pending", "processing", "completed", "failed", "expired")
"""What each state is called."""

MAX_ID: Final = (1 << 63) - 1

COLUMNS: Final = """id, type, owner, level, team, swarm, target, priority, parent, chain, tags,
       state, attempt, retries, max_retries, holder, due_at, lease_until, taken_at, duration_us,
       ttl_us, expires_at, error, created_at, updated_at"""
_SELECT: Final = f"SELECT {COLUMNS}, payload FROM event WHERE id = ? AND env = ?"  # noqa: S608


class Event(msgspec.Struct, frozen=True):
    """A row of the table, without its payload. Times are microseconds since the epoch."""

    ident: int
    type: str
    owner: str
    level: Level
    team: str | None
    swarm: str | None
    target: str
    priority: int
    parent: int | None
    chain: int
    tags: str
    state: int
    attempt: int
    retries: int
    max_retries: int
    holder: str | None
    due_us: int | None
    lease_until_us: int | None
    taken_us: int | None
    duration_us: int | None
    ttl_us: int
    expires_us: int
    error: str
    created_us: int
    updated_us: int

    @property
    def letter(self) -> Letter:
        return letter(self.ident, self.type, self)


class Standing(msgspec.Struct, frozen=True):
    """Whom an event is from and for."""

    owner: str
    level: Level
    team: str | None
    swarm: str | None
    target: str

    @property
    def lane(self) -> str:
        """Who takes it: its target, else those its level is for; empty: anyone."""
        if self.target:
            return self.target
        audience = {
            Level.PRIVATE: self.owner,
            Level.TEAM: self.team or self.owner,
            Level.SWARM: self.swarm or self.owner,
            Level.PUBLIC: "",
            Level.SYSTEM: "system",
        }
        return audience[self.level]


def letter(ident: int, type_: str, stands: Event | Standing) -> Letter:
    """What a payload is bound to: it opens in no other event, and in none that was moved to
    another level."""
    place = f"{stands.target}|{stands.level:d}|{stands.team or ''}|{stands.swarm or ''}"
    return columns.EVENT_PAYLOAD.letter(ident, type_, stands.owner, place)


def event(row: tuple[Any, ...]) -> Event:
    """A row of COLUMNS."""
    ident, type_, owner, level, *rest = row
    return Event(ident, type_, owner, Level(level), *rest)


def find(place: Reader | Transaction, ident: int) -> tuple[Event, bytes] | None:
    """An event and its payload as it is stored."""
    row = place.execute(_SELECT, (ident, place.env)).fetchone()
    return None if row is None else (event(row[:-1]), row[-1])


def number(ident: str, prefix: str) -> int:
    """The number in an event's id. Raises NotFound for what cannot be one here."""
    head, _, digits = ident.rpartition("_")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= 19 and digits[0] != "0"
    value = int(digits) if plain and head == f"{prefix}_event" else 0
    if not 0 < value <= MAX_ID:
        raise NotFound(f"no event {printable(ident)}", hint=f"ids look like {prefix}_event_1")
    return value


def shown(environment: Environment, ident: int) -> str:
    """The id as people see it."""
    return f"{environment.prefix}_event_{ident}"


def payload(ring: Ring, found: Event, stored: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """What an event says. Raises Sealed, Damaged."""
    return codec.decode_json(letters.unprotect(ring, found.letter, stored))


def view(environment: Environment, found: Event, said: Any = None) -> EventView:  # noqa: ANN401
    """An event as it is shown, with its payload or without."""
    return EventView(
        id=shown(environment, found.ident),
        environment=environment.value,
        type=found.type,
        source=found.owner,
        target=found.target or None,
        priority=found.priority,
        status=STATUSES[found.state],
        level=found.level.name.lower(),
        team=found.team,
        swarm=found.swarm,
        parent=None if found.parent is None else shown(environment, found.parent),
        chain=shown(environment, found.chain),
        tags=tuple(filter(None, found.tags.split(","))),
        attempt=found.attempt,
        retries=found.retries,
        max_retries=found.max_retries,
        holder=found.holder,
        created_at_us=found.created_us,
        updated_at_us=found.updated_us,
        expires_at_us=found.expires_us,
        due_at_us=found.due_us,
        lease_until_us=found.lease_until_us,
        duration_s=None if found.duration_us is None else found.duration_us / 1_000_000,
        error=found.error,
        payload=said,
    )
