"""How fast processes are started: so many at once, then evenly, each swarm by itself.

Starting a process costs more than anything else an engine does; a swarm that fails as fast as it
is started, or a large one that is made, must not take the host from those that work.
"""

from __future__ import annotations

from typing import Final

MINUTE_S: Final = 60.0
WAITS: Final = "waits for its turn"  # stands in the reason of an agent that is to start later


class SpawnRate:
    """The starts of one swarm: `per_minute` at once, then one each time a part of the minute has
    passed. Pure: the time is given, in seconds of a clock that never goes back."""

    __slots__ = ("_free_at_s", "_per_minute", "_step_s")

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._step_s = MINUTE_S / per_minute
        self._free_at_s = 0.0  # when all starts of a minute are free again

    def take(self, now_s: float) -> float:
        """Take one start; how many seconds from now it may happen."""
        free_at_s = max(self._free_at_s, now_s)
        self._free_at_s = free_at_s + self._step_s
        wait_s = free_at_s - now_s - (self._per_minute - 1) * self._step_s
        return wait_s if wait_s > self._step_s / 1000 else 0.0

    def give_back(self) -> None:
        """A start that was taken does not happen."""
        self._free_at_s -= self._step_s

    def change(self, per_minute: int, now_s: float) -> None:
        """Let so many start in a minute from now on. Those that were taken stay so."""
        taken = max(0.0, self._free_at_s - now_s) / self._step_s
        self._per_minute, self._step_s = per_minute, MINUTE_S / per_minute
        self._free_at_s = now_s + taken * self._step_s

    def is_idle(self, now_s: float) -> bool:
        """Whether it knows nothing that a new one does not."""
        return self._free_at_s <= now_s


class SpawnRates:
    """The rates of all swarms, by id."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._rates: dict[str, SpawnRate] = {}

    def change(self, per_minute: int, now_s: float) -> None:
        """Let so many of each swarm start in a minute from now on."""
        self.per_minute = per_minute
        for rate in self._rates.values():
            rate.change(per_minute, now_s)

    def take(self, swarm: str, now_s: float) -> float:
        """Take one start of a swarm; how many seconds from now it may happen."""
        rate = self._rates.get(swarm)
        if rate is None:
            self._rates = {n: r for n, r in self._rates.items() if not r.is_idle(now_s)}
            rate = self._rates[swarm] = SpawnRate(self.per_minute)
        return rate.take(now_s)

    def give_back(self, swarm: str) -> None:
        """A start that was taken does not happen."""
        if (rate := self._rates.get(swarm)) is not None:
            rate.give_back()
