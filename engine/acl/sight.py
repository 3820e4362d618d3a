"""What somebody may read, as a condition on a table: the store passes over the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..model import Level, Principal, Right
from .decisions import Decisions
from .grants import Standing

Where: TypeAlias = tuple[str, tuple[object, ...]]
"""A condition and its parameters."""


def by_standing(access: Decisions, principal: Principal) -> Where:
    """The levels open to anyone like it, to the owner, to a team and to a swarm, as `access`
    decides them for rows made up to ask. Explicit entries are not in it. It reads the columns
    level, owner, team and swarm."""

    def levels(owner: str = "", team: str | None = None, swarm: str | None = None) -> str:
        standings = (Standing(level, owner, team, swarm) for level in Level)
        found = [s.level for s in standings if access.allows(principal, Right.READ, s, "", "")]
        return ", ".join(str(int(level)) for level in found) or "NULL"

    parts: list[Where] = [(f"level IN ({levels()})", ())]
    parts.append((f"owner = ? AND level IN ({levels(owner=principal.id)})", (principal.id,)))
    parts += [(f"team = ? AND level IN ({levels(team=t)})", (t,)) for t in principal.teams]
    if principal.swarm is not None:
        known = levels(swarm=principal.swarm)
        parts.append((f"swarm = ? AND level IN ({known})", (principal.swarm,)))
    return joined(parts, " OR ")


def joined(parts: Sequence[Where], word: str = " AND ") -> Where:
    """One condition out of several."""
    where = word.join(f"({condition})" for condition, _ in parts)
    return f"({where})", tuple(value for _, values in parts for value in values)
