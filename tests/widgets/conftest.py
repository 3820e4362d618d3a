"""A real terminal for the apps under test: a pty, and an emulator that says what is seen."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

PATIENCE_S = 20.0


class Terminal:
    """A child on a pty of its own, its output counted and shown on an emulated screen."""

    def __init__(
        self, script: Path, arguments: list[str], size: tuple[int, int], **environment: str
    ) -> None:
        width, height = size
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._child = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_end_with_the_tests,  # noqa: PLW1509 - no threads here
            env={**_environment(), "TERM": "xterm-256color", **environment},
        )
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        """The screen as text; also in the middle of an update, when half a wide glyph is left."""
        rows = (self.screen.buffer[y] for y in range(self.screen.lines))
        columns = range(self.screen.columns)
        return ["".join(row[x].data for x in columns).rstrip() for row in rows]

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def until(self, seen: Callable[[list[str]], bool], what: str) -> int:
        """Read until the screen shows it; the bytes that took. Fails after PATIENCE_S."""
        end = time.monotonic() + PATIENCE_S
        start = len(self.received)
        while not seen(self.lines):
            if time.monotonic() > end:
                pytest.fail(f"not seen: {what}\n" + "\n".join(self.lines))
            self._read(end - time.monotonic())
        return len(self.received) - start

    def _read(self, patience_s: float) -> None:
        ready, _, _ = select.select([self._master], [], [], max(0.0, patience_s))
        if ready:
            try:
                chunk = os.read(self._master, 65_536)
            except OSError:
                pytest.fail("the app has ended\n" + "\n".join(self.lines))
            self.received += chunk
            self._stream.feed(chunk)

    def close(self) -> None:
        """End the child; the terminal goes with it."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        os.close(self._master)


def _end_with_the_tests() -> None:
    """In the child: a killed test run must not leave an app that spins on a dead terminal."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _environment() -> dict[str, str]:
    dropped = ("COLORTERM", "NO_COLOR", "TERM_PROGRAM")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith("TEXTUAL")
    }


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start a script of this folder in a terminal: `terminal("name.py", *arguments, size=…)`."""
    opened: list[Terminal] = []

    def start(
        script: str, *arguments: str, size: tuple[int, int] = (120, 30), **environment: str
    ) -> Terminal:
        opened.append(
            Terminal(Path(__file__).parent / script, list(arguments), size, **environment)
        )
        return opened[-1]

    yield start
    for one in opened:
        one.close()
