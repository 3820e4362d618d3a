"""A program on a terminal of its own, measured from outside as the person in front of it meets it.

`Terminal` starts a command on a pty, counts what it sends, types, resizes, and says how long that
took and what it cost the child. Everything is bounded, and no child outlives its probe.

Wall times are taken when bytes are read, before the emulator looks at them. CPU is the child's own
clock: user and system time of all its threads, in nanoseconds. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pyte

PATIENCE_S: Final = 30.0
KEY_S: Final = 2.0
"""How long a key may take before it counts as lost."""

_CHUNK: Final = 65_536
_END_S: Final = 20.0
_PROCESS_CLOCK: Final = 2
# What a modern terminal says when Textual asks: synchronised output yes, resize in band no.
_ANSWERS: Final = {
    b"\x1b[?2026$p": b"\x1b[?2026;2$y",
    b"\x1b[?2048$p": b"\x1b[?2048;0$y",
    b"\x1b[c": b"\x1b[?62;22c",
    b"\x1b[6n": b"\x1b[1;1R",
}
_LEFT_OUT: Final = (
    "COLORTERM", "NO_COLOR", "TERM_PROGRAM", "TMUX", "STY", "LINES", "COLUMNS",
    "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip
_LIBC: Final = ctypes.CDLL(None)


class Size(NamedTuple):
    """Columns and lines."""

    width: int
    height: int


USUAL: Final = Size(120, 30)


class Moment(NamedTuple):
    """Where a measurement begins: the time, bytes received and CPU used until then."""

    at_s: float
    bytes: int
    cpu_ms: float


class Spell(NamedTuple):
    """What a child did in a stretch of time."""

    seconds: float
    bytes: int
    cpu_ms: float

    @property
    def cpu_percent(self) -> float:
        """Share of one core."""
        return self.cpu_ms / self.seconds / 10

    @property
    def bytes_s(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds


class Ended(Exception):
    """The child has ended before what was waited for."""


class Terminal:
    """A command on a pty. A context manager: at its end the child is gone.

    An `answering` terminal replies to queries as a modern one does; otherwise it is silent, as
    `script` or an old multiplexer is. `environment` is added to the probe's own, from which all
    that describes the probe's own terminal is taken away.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: Size = USUAL,
        term: str = "xterm-256color",
        environment: Mapping[str, str] | None = None,
        answering: bool = False,
    ) -> None:
        self.received = 0
        self.last_byte_s = time.perf_counter()
        self._answering = answering
        self._unseen: list[bytes] = []
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self._set_size(size)
        self.start = Moment(time.perf_counter(), 0, 0.0)
        self._child = subprocess.Popen(
            list(command), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=_own_the_terminal,  # noqa: PLW1509 - no threads here
            env=plain_environment() | {"TERM": term} | dict(environment or {}),
        )  # fmt: skip
        os.close(slave)
        self.pid = self._child.pid

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it costs

    @property
    def cpu_ms(self) -> float:
        """User and system time of the child until now."""
        return time.clock_gettime(~self.pid << 3 | _PROCESS_CLOCK) * 1000

    @property
    def rss_mb(self) -> float:
        """Resident memory of the child, in millions of bytes."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        kib = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Rss:"))
        return int(kib) * 1024 / 1e6

    def now(self) -> Moment:
        """The present, for measuring what follows."""
        return Moment(time.perf_counter(), self.received, self.cpu_ms)

    # --- what is on the screen

    @property
    def lines(self) -> list[str]:
        """The screen as text."""
        self._look()
        return [self._text(y) for y in range(self._screen.lines)]

    def line(self, y: int) -> str:
        """One line of the screen; -1 is the last."""
        self._look()
        return self._text(y % self._screen.lines)

    def shows(self, text: str) -> bool:
        """Whether some line contains the text."""
        return any(text in line for line in self.lines)

    def _text(self, y: int) -> str:
        row = self._screen.buffer[y]
        return "".join(row[x].data for x in range(self._screen.columns)).rstrip()

    def _written(self) -> str:
        return "\n".join(line for line in self.lines if line)

    def _look(self) -> None:
        """Let the emulator catch up."""
        for chunk in self._unseen:
            self._stream.feed(chunk)
        self._unseen.clear()

    # --- reading

    def _read(self, patience_s: float) -> int:
        """Bytes that came within that time, 0 when none did. Raises Ended."""
        if not select.select([self._master], [], [], max(0.0, patience_s))[0]:
            return 0
        try:
            chunk = os.read(self._master, _CHUNK)
        except OSError as error:
            raise Ended(f"process {self.pid} has ended:\n{self._written()}") from error
        self.last_byte_s = time.perf_counter()
        self.received += len(chunk)
        self._unseen.append(chunk)
        if self._answering:
            for query, reply in _ANSWERS.items():
                if query in chunk:
                    os.write(self._master, reply)
        return len(chunk)

    def until(
        self, seen: Callable[[Terminal], bool], what: str, since: Moment | None = None
    ) -> Spell:
        """Read until the screen shows it. The time, bytes and CPU from `since` (or this call) to
        the read that completed it. Raises TimeoutError after PATIENCE_S."""
        since = since or self.now()
        end = time.perf_counter() + PATIENCE_S
        at_s, cpu_ms = since.at_s, since.cpu_ms
        while not seen(self):
            left = end - time.perf_counter()
            if left <= 0:
                raise TimeoutError(f"not seen: {what}\n{self._written()}")
            if self._read(left):
                at_s, cpu_ms = self.last_byte_s, self.cpu_ms
        return Spell(at_s - since.at_s, self.received - since.bytes, cpu_ms - since.cpu_ms)

    def until_text(self, text: str, since: Moment | None = None) -> Spell:
        """`until` some line contains the text."""
        return self.until(lambda terminal: terminal.shows(text), repr(text), since)

    def rest(self, seconds: float) -> Spell:
        """Read for that long; what the child did meanwhile."""
        since = self.now()
        while (left := since.at_s + seconds - time.perf_counter()) > 0:
            self._read(left)
        now = self.now()
        return Spell(now.at_s - since.at_s, now.bytes - since.bytes, now.cpu_ms - since.cpu_ms)

    def settle(self, quiet_s: float, most_s: float) -> float:
        """Read until nothing came for `quiet_s`, `most_s` at the longest. The time from this call
        to the last byte, 0 when none came."""
        begun = last = time.perf_counter()
        while (now := time.perf_counter()) - begun < most_s and now - last < quiet_s:
            if self._read(min(quiet_s - (now - last), most_s - (now - begun))):
                last = self.last_byte_s
        return last - begun

    # --- doing something

    def type(self, keys: str) -> None:
        """Send keys."""
        os.write(self._master, keys.encode())

    def press(self, key: str, quiet_s: float = 0.06) -> Spell | None:
        """Send one key: seconds to the first byte, and bytes and CPU until all is quiet. None when
        nothing came within KEY_S."""
        since = self.now()
        self.type(key)
        if not self._read(KEY_S):
            return None
        first_s = self.last_byte_s - since.at_s
        self.settle(quiet_s, KEY_S)
        return Spell(first_s, self.received - since.bytes, self.cpu_ms - since.cpu_ms)

    def resize(self, size: Size, quiet_s: float = 0.2) -> float:
        """Give the terminal another size; seconds until the last byte that follows."""
        self._look()
        self._screen.resize(lines=size.height, columns=size.width)
        self._set_size(size)
        return self.settle(quiet_s, PATIENCE_S)

    def _set_size(self, size: Size) -> None:
        packed = struct.pack("HHHH", size.height, size.width, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, packed)

    def close(self) -> None:
        """Ask the child to end, then end it. Can be called again."""
        if self._child.returncode is None:
            self._child.terminate()
            end = time.perf_counter() + _END_S
            with contextlib.suppress(Ended):
                while self._child.poll() is None and time.perf_counter() < end:
                    self._read(0.05)
            self._child.kill()
            self._child.wait()
            os.close(self._master)


def plain_environment() -> dict[str, str]:
    """The environment without what describes the terminal of the probe itself, and without what
    would have every child compile its modules again: an installed program does not."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _LEFT_OUT and not name.startswith("TEXTUAL")
    }


def die_with_parent() -> None:
    """In a new child: a probe that is killed leaves nothing running."""
    set_parent_death_signal = 1
    _LIBC.prctl(set_parent_death_signal, signal.SIGKILL)


def _own_the_terminal() -> None:
    """In the child: the pty is its controlling terminal, so that a resize is told to it."""
    die_with_parent()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def run(command: Sequence[str]) -> None:
    """Run to the end. Raises CalledProcessError, TimeoutExpired."""
    subprocess.run(
        command, check=True, timeout=PATIENCE_S, env=plain_environment(), stdout=subprocess.DEVNULL
    )


@contextmanager
def beside(command: Sequence[str], ready: str = "") -> Iterator[None]:
    """A process that runs meanwhile, from when it says that it is ready."""
    child = subprocess.Popen(
        command, env=plain_environment(), text=True,
        stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    try:
        if child.stdout is not None and not child.stdout.readline().startswith(ready):
            raise RuntimeError(f"{command} did not get ready")
        yield
    finally:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        finally:
            child.kill()
            child.communicate()


def command_cpu_ms(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """CPU of a command that runs to its end, and of what it waited for. Raises CalledProcessError
    when it fails."""
    child = subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
        env=plain_environment() | dict(environment or {}),
    )  # fmt: skip
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command))
    return (usage.ru_utime + usage.ru_stime) * 1000
