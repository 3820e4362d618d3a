"""What each swarm is held to now: its grant, or for a while what it had before it shrank.

Memory that was lent is taken back for another at once in the ledger, and not by a kill: the swarm
is asked first, then its agents are started anew one by one, the one that holds most first, and
only then its share falls to the grant whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

ASK_S: Final = 10.0  # to give back by itself; then, and again after as long, one agent is renewed
GRACE_S: Final = 60.0  # then its share is its grant


class Asked(msgspec.Struct, frozen=True):
    """A swarm has to give back so many bytes. `renew`: it was asked and has not."""

    swarm: str
    bytes: int
    renew: bool


class _Shrinking(msgspec.Struct):
    since_s: float
    next_s: float
    grant_bytes: int


class Shares:
    """The shares of all swarms, in bytes. `limits` is replaced whole, so that any thread may read
    it."""

    def __init__(self) -> None:
        self.limits: Mapping[str, int] = {}
        self._shrinking: dict[str, _Shrinking] = {}

    def follow(
        self, grants: Mapping[str, int], held: Mapping[str, int], now_s: float
    ) -> tuple[Asked, ...]:
        """Take over what is granted now; `held` is what swarms were found to hold last. Returns
        who has to be asked for memory now."""
        for gone in self._shrinking.keys() - grants.keys():
            del self._shrinking[gone]
        asked: list[Asked] = []
        limits: dict[str, int] = {}
        for swarm, grant in grants.items():
            limits[swarm] = self._limit(swarm, grant, held.get(swarm, 0), now_s)
            if limits[swarm] > grant:
                asked += self._ask(swarm, grant, held[swarm], now_s)
        if limits != self.limits:
            self.limits = limits
        return tuple(asked)

    def _limit(self, swarm: str, grant: int, held: int, now_s: float) -> int:
        before = self.limits.get(swarm, grant)
        shrinking = self._shrinking.get(swarm)
        over = shrinking is not None and now_s - shrinking.since_s >= GRACE_S
        if grant >= before or held <= grant or over:
            self._shrinking.pop(swarm, None)
            return grant
        return before

    def _ask(self, swarm: str, grant: int, held: int, now_s: float) -> Iterator[Asked]:
        shrinking = self._shrinking.get(swarm)
        if shrinking is None or shrinking.grant_bytes != grant:
            since_s = now_s if shrinking is None else shrinking.since_s
            self._shrinking[swarm] = _Shrinking(since_s, now_s + ASK_S, grant)
            yield Asked(swarm, held - grant, renew=False)
        elif now_s >= shrinking.next_s:
            shrinking.next_s = now_s + ASK_S
            yield Asked(swarm, held - grant, renew=True)
