"""Key to screen in a real terminal while callers saturate the engine behind it.

    python tests/probes/key_latency.py [--callers 100] [--keys 100] [--idle]

Starts the console on a pty over a fresh data directory, lets another process keep `--callers`
writes of 1 KB in flight through its socket, types into the command bar and measures from the write
of a key to the read that made its letter stand on the emulated screen: while the engine works
there is always output, so that the first byte after a key may be another's. Prints one JSON
document. Bounded: it ends by itself, and so does everything it starts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from terminal import PATIENCE_S, Terminal, die_with_parent, plain_environment

LOAD: Final = """
import asyncio, random, sys, time
from swarmdeck.engine import connect
async def main():
    data, callers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    value = {"text": "agent swarm memory queue task result plan error " * 20, "score": 0.5}
    counts = [0] * callers
    async with connect(data) as engine:
        memory, end = engine.memory("development"), time.perf_counter() + seconds
        async def write(number):
            chance = random.Random(number)
            while time.perf_counter() < end:
                await memory.set(f"k{chance.randrange(20_000):08}", value, level="team")
                counts[number] += 1
        await asyncio.gather(*map(write, range(callers)))
    print(sum(counts) / seconds)
asyncio.run(main())
"""
WARM_S: Final = 3.0
KEY_GAP_S: Final = 0.05
_BAR_CELLS: Final = 40
_LETTERS: Final = "abcdefghijklmnoprstuvwxyz"


def swarmdeck(data: Path, *arguments: str) -> list[str]:
    """The command line of the `swarmdeck` beside this interpreter, over a data directory."""
    return [str(Path(sys.executable).with_name("swarmdeck")), "--data", str(data), *arguments]


class Callers:
    """Another process with calls in flight; after its end `rate` is what it reached a second."""

    def __init__(self, data: Path, callers: int, seconds: float) -> None:
        self.rate = 0.0
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOAD, str(data), str(callers), str(seconds)],
            stdout=subprocess.PIPE, text=True, env=plain_environment(),
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
        )  # fmt: skip

    def wait(self, terminal: Terminal) -> None:
        """Until the seconds are over, reading what the terminal is sent meanwhile: a console that
        nobody reads stands still. Raises TimeoutExpired, ValueError when the process failed."""
        end = time.monotonic() + self._seconds + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < end:
            terminal.rest(0.1)
        self.rate = float(self._process.communicate(timeout=1)[0])

    def end(self) -> None:
        """At once."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def saturated(terminal: Terminal, data: Path, callers: int, seconds: float) -> Iterator[Callers]:
    """The engine behind the terminal at full load, from when it is warm."""
    load = Callers(data, callers, seconds)
    try:
        terminal.rest(WARM_S)
        yield load
    finally:
        load.end()


def type_letters(terminal: Terminal, count: int) -> list[float]:
    """Milliseconds from key to screen, ascending: one letter after the other into the command
    bar."""
    found = []
    typed = ""
    terminal.type(":")
    terminal.rest(0.5)
    for number in range(count):
        if len(typed) == _BAR_CELLS:
            terminal.type("\x15")
            terminal.rest(0.2)
            typed = ""
        typed += _LETTERS[number % len(_LETTERS)]
        found.append(_type(terminal, typed) * 1000)
        terminal.rest(KEY_GAP_S)
    terminal.type("\x1b")
    return sorted(found)


def _type(terminal: Terminal, typed: str) -> float:
    since = terminal.now()
    terminal.type(typed[-1])
    # Only where the bar is: reading the whole screen would take as long as what is measured.
    foot = (-1, -2, -3)
    seen = terminal.until(lambda t: any(typed in t.line(y) for y in foot), typed, since)
    return seen.seconds


def share(ascending: list[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * part))]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--idle", action="store_true", help="without callers")
    options = parser.parse_args()
    rate = 0.0
    with tempfile.TemporaryDirectory(prefix="swarmdeck-probe-") as scratch:
        data = Path(scratch) / "data"
        with Terminal(swarmdeck(data)) as terminal:
            terminal.until_text("production")
            terminal.rest(1.5)
            if options.idle:
                times = type_letters(terminal, options.keys)
            else:
                seconds = options.keys * 0.1 + WARM_S + 5
                with saturated(terminal, data, options.callers, seconds) as load:
                    times = type_letters(terminal, options.keys)
                    load.wait(terminal)
                    rate = load.rate
    print(
        json.dumps(
            {
                "keys": len(times),
                "p50_ms": round(share(times, 0.5), 1),
                "p95_ms": round(share(times, 0.95), 1),
                "max_ms": round(times[-1], 1),
                "callers": 0 if options.idle else options.callers,
                "writes_a_second": round(rate),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
