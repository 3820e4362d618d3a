"""Conflicts as they are stored and as they are shown."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .. import codec
from ..model import Level
from ..numbered import Numbered
from ..store.database import Reader, Transaction
from ..vault import Ring, columns, letters
from ..vault.letters import Letter
from ..views import ConflictView

SEVERITIES: Final = ("low", "medium", "high", "critical")

COLUMNS: Final = """id, title, type, severity, one, other, strategy, auto, state, attempts,
       threshold, times, holder, owner, level, team, swarm, reason, escalated_at, resolved_at,
       created_at, updated_at"""
_SELECT: Final = f"SELECT {COLUMNS}, body, resolution FROM conflict WHERE id = ? AND env = ?"  # noqa: S608


class Found(msgspec.Struct, frozen=True):
    """A row of the table, without its texts. Times are microseconds since the epoch."""

    ident: int
    title: str
    type: str
    severity: int
    one: str
    other: str
    strategy: str
    auto: int
    state: str
    attempts: int
    threshold: int
    times: int
    holder: str | None
    owner: str
    level: Level
    team: str | None
    swarm: str | None
    reason: str
    escalated_us: int | None
    resolved_us: int | None
    created_us: int
    updated_us: int

    @property
    def letter(self) -> Letter:
        """What its body is bound to."""
        between = f"{self.one}|{self.other}"
        return columns.CONFLICT_BODY.letter(self.ident, self.owner, self._stands, between)

    @property
    def resolution_letter(self) -> Letter:
        return columns.CONFLICT_RESOLUTION.letter(self.ident, self.owner, self._stands)

    @property
    def _stands(self) -> str:
        return f"{self.level:d}|{self.team or ''}|{self.swarm or ''}"


def conflict(row: tuple[Any, ...]) -> Found:
    """A row of COLUMNS."""
    fields = list(row)
    fields[14] = Level(row[14])
    return Found(*fields)


def find(place: Reader | Transaction, ident: int) -> tuple[Found, bytes, bytes | None] | None:
    """A conflict, its body and its resolution as they are stored."""
    row = place.execute(_SELECT, (ident, place.env)).fetchone()
    return None if row is None else (conflict(row[:-2]), row[-2], row[-1])


def full(ids: Numbered, ring: Ring, row: tuple[Found, bytes, bytes | None]) -> ConflictView:
    """A conflict with what is known of it and how it was resolved, unless their keys were
    destroyed. Raises Sealed, Damaged."""
    found, *stored = row
    said = []
    for letter, text in zip((found.letter, found.resolution_letter), stored, strict=True):
        opened = None if text is None else letters.opened(ring, letter, text)
        said.append(None if opened is None else codec.decode_json(opened))
    return view(ids, found, *said)


def view(
    ids: Numbered,
    found: Found,
    body: Any = None,  # noqa: ANN401 - any JSON value
    resolution: Any = None,  # noqa: ANN401 - any JSON value
) -> ConflictView:
    """A conflict as it is shown."""
    return ConflictView(
        id=ids.shown(found.ident),
        environment=ids.environment.value,
        title=found.title,
        type=found.type,
        severity=SEVERITIES[found.severity - 1],
        one=found.one,
        other=found.other,
        strategy=found.strategy,
        auto=bool(found.auto),
        state=found.state,
        attempts=found.attempts,
        threshold=found.threshold,
        times=found.times,
        holder=found.holder,
        reporter=found.owner,
        level=found.level.name.lower(),
        team=found.team,
        swarm=found.swarm,
        created_at_us=found.created_us,
        updated_at_us=found.updated_us,
        escalated_at_us=found.escalated_us,
        resolved_at_us=found.resolved_us,
        reason=found.reason,
        body=body,
        resolution=resolution,
    )
