"""What gives way when the host runs out of memory, and when it comes back: a pure state machine.

The least important environment first, inside it the newest swarm first; production never. A swarm
is told before it is stopped, one at a time, each followed by a wait for its memory to be free. It
comes back, the most important first, when the host has had room for what it held and twice the
limit on top for a while; for longer each time it had to give way again.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from ...model import Environment, format_size

PRESSED_S: Final = 2.0  # below the limit for so long, before anything is done
TOLD_S: Final = 3.0  # to give memory back by itself
SETTLE_S: Final = 3.0  # until what a swarm held is free
ROOMY_S: Final = 60.0
ROOMY_MOST_S: Final = 960.0
ROOMY_TIMES: Final = 2  # the limit, so that coming back is not pressure again
STALLED_PERCENT: Final = 10.0
NEVER: Final = frozenset({Environment.PRODUCTION})


class Candidate(msgspec.Struct, frozen=True):
    """A swarm whose agents run, and what they hold."""

    swarm: str
    environment: str
    held_bytes: int


class Deed(enum.StrEnum):
    TELL = "tell"
    STOP = "stop"
    START = "start"


class Step(msgspec.Struct, frozen=True):
    """What to do now with a swarm; `bytes` is what the host is short of, or what the swarm held."""

    deed: Deed
    swarm: str
    bytes: int
    text: str


class _Rested(msgspec.Struct):
    """A swarm that gave way: what it held, where it stands in the order, how long there must be
    room before it comes back."""

    held_bytes: int
    priority: int
    text: str


class Pressure:
    """Decides once a second. `share` is the part of the host's memory that must be available; 0
    lets nothing give way."""

    def __init__(self, share: float, priorities: Mapping[str, int]) -> None:
        self.share = share
        self._priorities = priorities
        self._pressed_since_s: float | None = None
        self._roomy_since_s: float | None = None
        self._quiet_until_s = 0.0
        self._told: str | None = None
        self._rested: dict[str, _Rested] = {}
        self._waits: dict[str, float] = {}  # how long room must last, of what gave way before

    @property
    def rested(self) -> Mapping[str, str]:
        """Swarms that gave way and are not back, with the reason."""
        return {swarm: each.text for swarm, each in self._rested.items()}

    def is_short(self, total_bytes: int, available_bytes: int) -> bool:
        """Whether the host has less available than it must."""
        return available_bytes < total_bytes * self.share

    def forget(self, known: Collection[str]) -> None:
        """All swarms but these have ended."""
        for swarm in self._waits.keys() - set(known):
            self._rested.pop(swarm, None)
            del self._waits[swarm]

    def step(
        self,
        now_s: float,
        total_bytes: int,
        available_bytes: int,
        candidates: Sequence[Candidate],
        *,
        stalled: float | None = None,
    ) -> Step | None:
        """What to do now, if anything. `candidates` in the order in which they came; `stalled` is
        the percent of time in which work waits for memory."""
        if self.is_short(total_bytes, available_bytes):
            self._roomy_since_s = None
            return self._relieve(now_s, total_bytes, available_bytes, candidates)
        self._pressed_since_s = self._told = None
        if self._rested and now_s >= self._quiet_until_s:
            return self._bring_back(now_s, total_bytes, available_bytes, stalled or 0.0)
        return None

    def _relieve(
        self, now_s: float, total_bytes: int, available_bytes: int, candidates: Sequence[Candidate]
    ) -> Step | None:
        if self._pressed_since_s is None:
            self._pressed_since_s = now_s
        if now_s - self._pressed_since_s < PRESSED_S or now_s < self._quiet_until_s:
            return None
        first = self._first(candidates)
        if first is None:
            return None
        short = int(total_bytes * self.share) - available_bytes
        text = (
            f"the host has {format_size(available_bytes)} of {format_size(total_bytes)} available"
        )
        if self._told != first.swarm:
            self._told, self._quiet_until_s = first.swarm, now_s + TOLD_S
            return Step(Deed.TELL, first.swarm, short, text)
        self._told, self._quiet_until_s = None, now_s + SETTLE_S
        self._rested[first.swarm] = _Rested(
            first.held_bytes, self._priorities.get(first.environment, 0), text
        )
        wait_s = self._waits.get(first.swarm, ROOMY_S / 2)
        self._waits[first.swarm] = min(2 * wait_s, ROOMY_MOST_S)
        return Step(Deed.STOP, first.swarm, short, text)

    def _first(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The newest of the least important environment; none that never gives way."""
        free = [
            each
            for each in reversed(candidates)
            if each.environment not in NEVER and each.swarm not in self._rested
        ]
        return max(free, key=lambda each: self._priorities.get(each.environment, 0), default=None)

    def _bring_back(
        self, now_s: float, total_bytes: int, available_bytes: int, stalled: float
    ) -> Step | None:
        # The most important first, and among equals the one that gave way last.
        swarm = min(reversed(self._rested), key=lambda name: self._rested[name].priority)
        wanted = self._rested[swarm].held_bytes + ROOMY_TIMES * total_bytes * self.share
        if available_bytes < wanted or stalled >= STALLED_PERCENT:
            self._roomy_since_s = None
            return None
        if self._roomy_since_s is None:
            self._roomy_since_s = now_s
        if now_s - self._roomy_since_s < self._waits[swarm]:
            return None
        held = self._rested.pop(swarm).held_bytes
        self._roomy_since_s, self._quiet_until_s = None, now_s + SETTLE_S
        return Step(Deed.START, swarm, held, "the host has room again")
