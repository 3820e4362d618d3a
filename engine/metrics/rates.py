"""Totals that only grow, as rates."""

from __future__ import annotations

from collections.abc import Hashable


class Rates:
    """What each total has grown by since it was last given, a second of `elapsed_s`."""

    def __init__(self) -> None:
        self._before: dict[Hashable, float] = {}
        self._now: dict[Hashable, float] = {}
        self._elapsed_s: float | None = None

    def begin(self, elapsed_s: float | None) -> None:
        """Another round, so long after the one before; None for the first. A total that was not
        given in a round begins anew."""
        self._before, self._now = self._now, {}
        self._elapsed_s = elapsed_s

    def grown(self, key: Hashable, total: float) -> float | None:
        """By how much a total has grown; None when it is new, or counts from the beginning."""
        self._now[key] = total
        before = self._before.get(key)
        return None if before is None or total < before else total - before

    def of(self, key: Hashable, total: float) -> float | None:
        """How much a total has grown a second."""
        grown = self.grown(key, total)
        return grown / self._elapsed_s if grown is not None and self._elapsed_s else None
