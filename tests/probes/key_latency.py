"""Key to screen in a real terminal while callers saturate the engine behind it.

    python tests/probes/key_latency.py [--callers 100] [--keys 100] [--idle]

Starts the console on a pty over a fresh data directory, lets another process keep `--callers`
writes in flight through its socket, types into the command bar and measures from the write of a
key to the moment its letter stands on the emulated screen. Prints one JSON document. Bounded: it
ends by itself, and so does everything it starts.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte

LOAD = """
import asyncio, sys
from swarmdeck.engine import connect
from swarmdeck.engine.bench.measure import drive, key, values
async def main():
    async with connect(sys.argv[1]) as engine:
        memory, kept = engine.memory("development"), values()
        async def write(chance):
            await memory.set(key(chance), kept[chance.randrange(len(kept))], level="team")
        run = await drive(write, int(sys.argv[2]), float(sys.argv[3]))
        print(run.rate)
asyncio.run(main())
"""
PATIENCE_S = 30.0
WIDTH, HEIGHT = 120, 30


class Console:
    """The console on a pty, and what its screen shows."""

    def __init__(self, data: Path) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        command = [str(Path(sys.executable).with_name("swarmdeck")), "--data", str(data)]
        self._child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.screen.display)

    def until(self, text: str) -> float:
        """Seconds until the screen shows a text."""
        started = time.perf_counter()
        while not self.shows(text):
            left = PATIENCE_S - (time.perf_counter() - started)
            if left <= 0:
                raise TimeoutError(f"{text!r} not seen:\n" + "\n".join(self.screen.display))
            if select.select([self._master], [], [], left)[0]:
                self._stream.feed(os.read(self._master, 65_536))
        return time.perf_counter() - started

    def rest(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._master], [], [], left)[0]:
                self._stream.feed(os.read(self._master, 65_536))

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(20)
        finally:
            self._child.kill()
            os.close(self._master)


def measure(console: Console, count: int) -> list[float]:
    """Milliseconds from key to screen, one letter after the other into the command bar."""
    found = []
    letters = "abcdefghijklmnoprstuvwxyz"
    typed = ""
    console.type(":")
    console.rest(0.5)
    for number in range(count):
        if len(typed) == 40:
            console.type("\x15")
            console.rest(0.2)
            typed = ""
        typed += letters[number % len(letters)]
        console.type(typed[-1])
        found.append(console.until(typed) * 1000)
        console.rest(0.05)
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--idle", action="store_true", help="without callers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarmdeck-probe-") as scratch:
        data = Path(scratch) / "data"
        console = Console(data)
        load = None
        try:
            console.until("production")
            console.rest(1.5)
            if not options.idle:
                seconds = options.keys * 0.2 + 10
                load = subprocess.Popen(
                    [sys.executable, "-c", LOAD, str(data), str(options.callers), str(seconds)],
                    stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                console.rest(3)
            times = measure(console, options.keys)
            rate = 0.0
            if load is not None:
                rate = float(load.communicate(timeout=120)[0])
        finally:
            if load is not None:
                load.kill()
            console.close()
    print(
        json.dumps(
            {
                "keys": len(times),
                "p50_ms": round(times[len(times) // 2], 1),
                "p95_ms": round(times[int(len(times) * 0.95)], 1),
                "max_ms": round(times[-1], 1),
                "callers": 0 if options.idle else options.callers,
                "writes_a_second": round(rate),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
