"""One series as it is stored and as it is shown."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..model import Environment, Level
from ..views import MeasureView

COLUMNS: Final = """id, name, kind, unit, labels, level, owner, team, swarm, keep_s, last,
       created_at, updated_at"""
SPREAD: Final = frozenset({"histogram", "timer"})
"""Kinds whose values are kept as distributions."""

STEPS_S: Final = (1, 60, 3_600)
"""How long the steps of time are in which samples are kept, from fresh to old."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class Series(msgspec.Struct, frozen=True):
    """A row of the table `measure`. Times are microseconds since the epoch."""

    ident: int
    name: str
    kind: str
    unit: str
    labels: str
    level: Level
    owner: str
    team: str | None
    swarm: str | None
    keep_s: int
    last: float
    created_us: int
    updated_us: int

    @property
    def has(self) -> dict[str, str]:
        """Its labels."""
        return _decode(self.labels)


def series(row: tuple[Any, ...]) -> Series:
    """A row of COLUMNS."""
    ident, name, kind, unit, labels, level, *rest = row
    return Series(ident, name, kind, unit, labels, Level(level), *rest)


def labels_text(labels: dict[str, str]) -> str:
    """Labels as they are stored: the same ones are the same text."""
    return _encode(labels).decode()


def shown(environment: Environment, ident: int) -> str:
    """The id as people see it."""
    return f"{environment.prefix}_measure_{ident}"


def view(environment: Environment, found: Series) -> MeasureView:
    """A series as it is shown."""
    return MeasureView(
        id=shown(environment, found.ident),
        environment=environment.value,
        name=found.name,
        kind=found.kind,
        unit=found.unit,
        labels=found.has,
        last=found.last,
        updated_at_us=found.updated_us,
        source=found.owner,
        level=found.level.name.lower(),
        team=found.team,
        swarm=found.swarm,
        keep_days=found.keep_s / 86_400,
        created_at_us=found.created_us,
    )
