"""Where an artifact comes from, and what was made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..store.database import Reader
from . import rows
from .rows import Artifact, Seen

MOST: Final = 1_000  # steps that are shown

Step = tuple[int, int, Seen | None]
"""How far away, which, and what is known of it; None where it may not be known."""


def lineage(reader: Reader, of: Artifact, sees: Callable[[Artifact], bool]) -> list[Step]:
    """The line it descends from, farthest first, itself, and all that descends from it in the
    order of a tree. What may not be read is passed over as if it were gone, and so is all that is
    known through it alone. A parent is older than what was made from it, so the walk ends."""

    def look(number: int) -> Seen | None:
        seen = rows.glance(reader, number)
        return seen if seen is not None and sees(seen[0]) else None

    before: list[Step] = []
    parent, depth = of.parent, -1
    while parent is not None and len(before) < MOST:
        seen = look(parent)
        before.append((depth, parent, seen))
        parent, depth = (None if seen is None else seen[0].parent), depth - 1
    found: list[Step] = [*reversed(before), (0, of.ident, look(of.ident))]
    return found + _descendants(reader, of.ident, look, MOST)


def _descendants(
    reader: Reader, ident: int, look: Callable[[int], Seen | None], most: int
) -> list[Step]:
    found: list[Step] = []
    waiting = [(1, child) for child in _children(reader, ident, most)]
    while waiting and len(found) < most:
        depth, number = waiting.pop()
        seen = look(number)
        if seen is not None:
            found.append((depth, number, seen))
            waiting += [(depth + 1, child) for child in _children(reader, number, most)]
    return found


def _children(reader: Reader, ident: int, most: int) -> list[int]:
    """What was made from it, the oldest last: it is taken from the end."""
    found = reader.execute(rows.SELECT_MADE_FROM, (reader.env, ident, most))
    return [row[0] for row in found.fetchall()][::-1]
