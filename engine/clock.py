"""Time and chance, injected so that tests and simulations can own both."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import random

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
# Linux counts the time asleep only on this one: waking up is not a jump of the wall clock.
_RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What the engine asks of the world."""

    def wall_us(self) -> int:
        """Microseconds since the epoch. May jump; use it for what is stored and shown."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back. Use it for waits and ages within one process."""
        ...

    def running_us(self) -> int:
        """Microseconds since the host began, those of its sleep included. Never goes back, and
        setting the wall clock does not move it."""
        ...

    def boot(self) -> str:
        """Which start of the host this is: `running_us` of two starts cannot be compared."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A random number for jitter."""
        ...

    def token(self, length: int) -> str:
        """Random characters of ID_ALPHABET for ids and secrets."""
        ...


class SystemClock:
    """The real one. Tokens come from the operating system's generator."""

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def running_us(self) -> int:
        return time.clock_gettime_ns(_RUNNING) // 1000

    def boot(self) -> str:
        try:
            return _BOOT.read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def uniform(self, low: float, high: float) -> float:
        import random  # noqa: PLC0415 - a command that is over in a moment waits for nothing

        return random.uniform(low, high)  # noqa: S311 - jitter, not a secret

    def token(self, length: int) -> str:
        # 32 characters: five bits of each byte choose one, all of them as likely.
        return "".join(ID_ALPHABET[byte & 31] for byte in os.urandom(length))


class FakeClock:
    """A clock that moves only when told, with seeded chance. For tests."""

    def __init__(self, start_us: int = 1_700_000_000_000_000, seed: int = 0) -> None:
        self.now_us = start_us
        self.booted = "fake"
        self._jumped_us = 0
        import random  # noqa: PLC0415 - as above

        self._random: random.Random = random.Random(seed)  # noqa: S311 - reproducible on purpose

    def advance(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._jumped_us += int(seconds * 1_000_000)
        self.now_us += int(seconds * 1_000_000)

    def wall_us(self) -> int:
        return self.now_us

    def running_us(self) -> int:
        return self.now_us - self._jumped_us

    def boot(self) -> str:
        return self.booted

    def monotonic_s(self) -> float:
        return self.running_us() / 1_000_000

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self, length: int) -> str:
        return "".join(self._random.choice(ID_ALPHABET) for _ in range(length))
