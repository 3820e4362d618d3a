"""A headless engine that takes the data directory over from this console.

It is a process in a session of its own, which no terminal can end. It is started first and says
that it waits for the directory; only then is anything given up here. What it says goes to the
engine's log, and what keeps it from starting to `logs/serve.log`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..engine.errors import Unavailable
from ..engine.text import safe_text

if TYPE_CHECKING:
    from ..engine.settings import Settings

START_S: Final = 30.0
"""How long it may take to come so far that it waits, and later to open the directory."""

WAIT_S: Final = 120
"""How long it waits for this console to close."""

FILE: Final = "serve.log"
_PROGRAM: Final = (sys.executable, "-m", "swarmdeck.engine.cli")
_LAST_BYTES: Final = 2000


class Successor:
    """A `swarmdeck serve` that waits for the directory. Made by `begin_successor`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._said = asyncio.StreamReader()
        self._pipe: asyncio.BaseTransport | None = None

    async def waits(self) -> None:
        """Wait until it waits for the directory. Raises Unavailable with what it said when it does
        not come so far."""
        loop = asyncio.get_running_loop()
        self._pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._said), self._process.stdout
        )
        await self._line("waiting_for")

    async def ready(self) -> int:
        """Wait until it serves; its process id. Call when the directory is free. Raises
        Unavailable."""
        return int((await self._line("pid"))["pid"])

    def let_go(self) -> None:
        """It lives on by itself from now on."""
        self._close()
        self._process.returncode = 0  # not ours to wait for any more

    def abandon(self) -> None:
        """It is not needed: end it. It owns nothing yet."""
        self._process.kill()
        self._process.wait()
        self._close()

    async def _line(self, field: str) -> dict[str, Any]:
        """The next line it says, which has this field."""
        try:
            async with asyncio.timeout(START_S):
                line = await self._said.readline()
        except TimeoutError:
            raise Unavailable(
                f"the headless engine has said nothing for {START_S:g} s", hint=f"see {self._log}"
            ) from None
        if not line:
            raise Unavailable(
                f"the headless engine does not start: {last_words(self._log)}",
                hint=f"see {self._log}",
            )
        said: dict[str, Any] = msgspec.json.decode(line)
        if field not in said:
            raise Unavailable(f"the headless engine says {safe_text(line.decode(), 80)}")
        return said

    def _close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        elif self._process.stdout is not None:
            self._process.stdout.close()


async def begin_successor(data: Path, settings: Settings) -> Successor:
    """Start one for a data directory that this process owns; returns when it waits. Raises
    Unavailable."""
    log = data / "logs" / FILE
    successor = Successor(await asyncio.to_thread(_spawn, command(data, settings), log), log)
    try:
        await successor.waits()
    except BaseException:  # given up by whoever waited, too: it must not wait on
        successor.abandon()
        raise
    return successor


def command(data: Path, settings: Settings) -> tuple[str, ...]:
    """What starts an engine with the settings of this run."""
    words = [*_PROGRAM, "--data", str(data), "--json"]
    origin = settings.origin
    if origin is not None and origin.config_file is not None:
        words += ["--config", str(origin.config_file.absolute())]
    level = None if origin is None else origin.overrides.get("logging.level")
    words += ["--log-level", str(level)] if level is not None else []
    return (*words, "serve", "--quiet", "--wait", str(WAIT_S))


def last_words(log: Path) -> str:
    """The last line of what it wrote, without its name before it."""
    try:
        text = log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
    except OSError:
        text = ""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "it has said nothing"
    try:
        said = msgspec.json.decode(lines[-1], type=dict[str, dict[str, Any]])["error"]["message"]
    except (msgspec.DecodeError, KeyError):
        said = lines[-1]
    return safe_text(str(said), 200)


def _spawn(words: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=descriptor,
            cwd="/",  # it must not hold on to where the console was started
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"a headless engine cannot be started: {error.strerror}") from error
    finally:
        os.close(descriptor)
