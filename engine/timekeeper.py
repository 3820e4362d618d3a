"""The engine's time: the wall clock, as long as it can be believed.

What is stored with an end (records, messages, grants, tokens) would go all at once, or come back,
if somebody set the host's clock by a year. So the wall clock is compared with the time the host has
been running, which nobody can set. A step of more than `max_jump_s` is held off: time goes on from
before the step until somebody accepts the wall clock, or it comes back by itself. A smaller step
back makes time go at half its speed until the wall has caught up; time never runs backwards, but
when a jump back is accepted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from .clock import Clock
from .store.volatile import is_volatile

LOOK_EVERY_US: Final = 1_000_000  # between looks the wall clock can be wrong by no more
SETTLED_US: Final = 3_600_000_000  # small steps add up to one only within this time
RECORD_BYTES: Final = 4096
_MINUTE_US: Final = 60_000_000


class Jump(msgspec.Struct, frozen=True):
    """The wall clock is `us` away from the engine's time: ahead of it, or behind where negative.
    `at_us` is when that was noticed, by the engine's time."""

    us: int
    at_us: int

    @property
    def direction(self) -> str:
        return "forward" if self.us > 0 else "backward"

    def words(self) -> str:
        return (
            f"the host's clock jumped {_span(abs(self.us))} {self.direction}; "
            "expiry goes by the time before"
        )


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine knew of time when it last wrote it down."""

    wall_us: int
    running_us: int
    boot: str
    held: bool = False


class GuardedClock:
    """A clock whose `wall_us` cannot be moved by more than `max_jump_s`. May be read from any
    thread; everything else belongs to the engine's loop."""

    def __init__(self, clock: Clock, max_jump_s: float) -> None:
        self.monotonic_s = clock.monotonic_s
        self.running_us = clock.running_us
        self.boot = clock.boot
        self.uniform = clock.uniform
        self.token = clock.token
        self._wall = clock.wall_us
        self._max_us = int(max_jump_s * 1_000_000)
        self._jump: Jump | None = None
        self._lock = Lock()
        self._begin(self._wall())

    def _begin(self, time_us: int) -> None:
        """Time is this now; where it should be later follows from how long the host has run."""
        running = self.running_us()
        self._anchor = self._looked = time_us, running
        self._last = time_us
        self._until = 0  # the wall is believed up to here without another look

    # --- what everybody asks ----------------------------------------------------------------

    def wall_us(self) -> int:
        """Microseconds since the epoch, by a clock that nobody can set far. Never goes back
        unless a jump back was accepted."""
        now = self._wall()
        if self._last <= now < self._until:
            self._last = now
            return now
        return self._look(now)

    @property
    def jump(self) -> Jump | None:
        """How the wall clock has jumped, while that is held off."""
        self.wall_us()
        return self._jump

    def _look(self, now: int) -> int:
        with self._lock:
            running = self.running_us()
            anchor_us, anchor_running = self._anchor
            expected = anchor_us + running - anchor_running
            believed = abs(now - expected) <= self._max_us
            looked_us, looked_running = self._looked
            slow_us = looked_us + (running - looked_running) // 2  # never slower than that
            time_us = max(now if believed else expected, slow_us, self._last)
            self._note(now, expected, running, believed=believed)
            self._until = now + LOOK_EVERY_US if believed and time_us == now else 0
            self._looked = time_us, running
            self._last = time_us
            return time_us

    def _note(self, now: int, expected: int, running: int, *, believed: bool) -> None:
        if not believed:
            if self._jump is None or abs(self._jump.us - (now - expected)) > self._max_us:
                self._jump = Jump(now - expected, expected)
        elif self._jump is not None or running - self._anchor[1] > SETTLED_US:
            self._jump = None
            self._anchor = now, running

    # --- over restarts ----------------------------------------------------------------------

    def resume(self, kept: Kept | None, stored_us: int) -> None:
        """Go on after what the last engine wrote down and the latest time in the files. A wall
        clock far behind either is held off; one far ahead only where that shows: the host has not
        been restarted since, or it was held off then already. A host may be off for a year."""
        running, wall = self.running_us(), self._wall()
        start, known = stored_us, False
        if kept is not None:
            known = kept.held
            then_us = kept.wall_us
            if kept.boot == self.boot() and kept.boot and running >= kept.running_us:
                known = True
                then_us += running - kept.running_us
            start = max(start, then_us)
        with self._lock:
            self._jump = None
            self._begin(start if known or start > wall else wall)
        self.wall_us()

    def kept(self) -> Kept:
        """What to write down for the next engine."""
        return Kept(
            wall_us=self.wall_us(),
            running_us=self.running_us(),
            boot=self.boot(),
            held=self._jump is not None,
        )

    def accept(self) -> Jump | None:
        """Believe the wall clock again, wherever it is; the jump that was held off."""
        with self._lock:
            jump, self._jump = self._jump, None
            if jump is not None:
                self._begin(self._wall())
        return jump


class Record:
    """The engine's time on the disk, so that a clock set while no engine ran is noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Kept | None:
        """None where there is nothing, or nothing to be understood."""
        with suppress(OSError, msgspec.MsgspecError), self._path.open("rb") as file:
            return msgspec.json.decode(file.read(RECORD_BYTES), type=Kept)
        return None

    def write(self, kept: Kept) -> None:
        """Replaced as a whole. Without room on the disk the one before stays: it is a hint."""
        if is_volatile(self._path):
            return
        fresh = self._path.with_suffix(".new")
        with suppress(OSError):
            fresh.write_bytes(msgspec.json.encode(kept))
            fresh.replace(self._path)


def _span(us: int) -> str:
    minutes = us // _MINUTE_US
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1440} d"
