"""Who is here now: connections and heartbeats, in memory only.

They describe the moment. Staleness is shown, and never changes what an agent may do.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..clock import Clock

STOP: Final = "stop"  # the word that tells a connected agent to end
ORPHANED: Final = "orphaned"  # begins the last words of an agent that ends for want of an engine
MEMORY: Final = "memory"  # with a number behind it: give back so many bytes
RENEW: Final = "renew"  # the word that asks a connected agent to fetch a new token


class Presence:
    """Connections and heartbeats of the agents of one environment. An agent is stale when it
    was heard of before and then not for `stale_after_s`."""

    def __init__(self, clock: Clock, stale_after_s: float) -> None:
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._beats: dict[str, float] = {}
        self._connections: Counter[str] = Counter()

    def connected(self, agent: str) -> None:
        """A connection of this agent opened."""
        self._connections[agent] += 1

    def disconnected(self, agent: str) -> None:
        """A connection of this agent closed."""
        self._connections[agent] -= 1
        if self._connections[agent] <= 0:
            del self._connections[agent]

    def is_connected(self, agent: str) -> bool:
        return agent in self._connections

    def heard(self, agent: str) -> None:
        """A heartbeat."""
        self._beats[agent] = self._clock.monotonic_s()

    def forget(self, agent: str) -> None:
        """Its process is another one, or gone: no heartbeat is owed before the next first."""
        self._beats.pop(agent, None)

    def age_s(self, agent: str) -> float | None:
        """Seconds since an agent was last heard of, None before its first heartbeat."""
        beat = self._beats.get(agent)
        return None if beat is None else max(0.0, self._clock.monotonic_s() - beat)

    def seen_us(self, agent: str) -> int | None:
        """When an agent was last heard, in microseconds since the epoch; None as `age_s`."""
        age_s = self.age_s(agent)
        return None if age_s is None else self._clock.wall_us() - int(age_s * 1_000_000)

    def is_stale(self, agent: str) -> bool:
        return (self.age_s(agent) or 0.0) > self._stale_after_s
