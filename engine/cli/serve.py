"""`serve`: own the data directory and stay until a signal or `stop`.

    HUP          settings are read again, also when the terminal it was started in closes
    TERM, INT    agents, databases and socket are closed in order, within three seconds

What it says goes to `logs/engine.log`; to standard error as well, unless it is told to be quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from .. import process
from ..core import Core, open_core
from ..errors import EngineBusy, InvalidInput, SwarmDeckError
from ..events import EngineStopping
from ..lock import find_socket
from ..model import OPERATOR, printable
from ..parameters import suggestion
from ..service.log import EngineLog, engine_log
from ..service.notify import Notifier
from ..settings import Settings
from . import where
from .options import SERVE_USAGE, Options
from .signals import run_loop

if TYPE_CHECKING:
    from ..events import Subscription

MOST_WAIT_S: Final = 3600.0
_RETRY_S: Final = 0.05
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class Ready(msgspec.Struct, frozen=True):
    """What `serve` prints once it can be attached to."""

    pid: int
    socket: str
    data: str


class Waiting(msgspec.Struct, frozen=True):
    """What `serve --wait` prints when another process owns the directory: everything is prepared,
    and it opens as soon as that one ends."""

    waiting_for: int | None


class Wanted(msgspec.Struct, frozen=True):
    """How to serve. `wait_s` is how long the present owner of the directory may stay; `quiet`:
    log to the file only. `unit`: print a systemd unit instead, with `user` one of the user's."""

    wait_s: float = 0.0
    quiet: bool = False
    unit: bool = False
    user: bool = False


def read_words(words: Sequence[str]) -> Wanted:
    """What stands behind `serve`. Raises InvalidInput."""
    waiting = list(words)
    found: dict[str, object] = {}
    while waiting:
        name, assigned, value = waiting.pop(0).partition("=")
        if name == "--wait":
            found["wait_s"] = _seconds(value if assigned else "".join(waiting[:1]))
            del waiting[: 0 if assigned else 1]
        elif name in {"--quiet", "--unit", "--user"} and not assigned:
            found[name[2:]] = True
        else:
            names = ["--wait", "--quiet", "--unit", "--user"]
            hint = suggestion(name, names, f"usage: swarmdeck {SERVE_USAGE}")
            raise InvalidInput(f"serve does not take {printable(name)}", hint=hint)
    wanted = msgspec.convert(found, Wanted)
    if wanted.user and not wanted.unit:
        raise InvalidInput("--user belongs to --unit", hint=f"usage: swarmdeck {SERVE_USAGE}")
    return wanted


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_WAIT_S:
        hint = f"a number of seconds up to {MOST_WAIT_S:g}"
        raise InvalidInput(f"--wait {printable(text)} is no time", hint=hint)
    return seconds


def serve(words: Sequence[str], options: Options) -> int:
    """Run the engine as a service; returns 0 after an orderly stop. Raises InvalidInput,
    EngineBusy with the owner's pid when the directory is taken."""
    wanted = read_words(words)
    if wanted.unit:
        from .unit import print_unit  # noqa: PLC0415 - a service needs none

        return print_unit(options, user=wanted.user)
    notifier = Notifier.taken_from(os.environ)
    settings = where.load(options)
    if not wanted.quiet:
        where.log_to_stderr(settings.logging.level)
    service = Service(where.data_directory(options), settings, notifier, as_json=options.json)
    process.tune()
    run_loop(service.run(wanted.wait_s), fast=True)
    return 0


class Service:
    """One run of `serve`."""

    def __init__(
        self, data: Path, settings: Settings, notifier: Notifier, *, as_json: bool
    ) -> None:
        self._data = data
        self._settings = settings
        self._notifier = notifier
        self._as_json = as_json
        self._reloads: set[asyncio.Task[None]] = set()

    async def run(self, wait_s: float) -> None:
        """Open the engine, serve it, close it. Raises EngineBusy, and what opening raises."""
        loop = asyncio.get_running_loop()
        # A terminal that closes while databases are opened ends nothing either.
        loop.add_signal_handler(signal.SIGHUP, log.info, "no settings to read again yet")
        with engine_log(self._data, self._settings.logging) as written:
            async with contextlib.AsyncExitStack() as stack:
                core = await self._opened(stack, wait_s)
                process.tune()  # with what opening has loaded
                stack.callback(core.reloading.takes(("logging.",), _taker(written)))
                await self._attend(core)
                self._notifier.stopping("closing")

    async def _opened(self, stack: contextlib.AsyncExitStack, wait_s: float) -> Core:
        """The engine, as soon as the directory is free."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        told = False
        while True:
            opening = open_core(
                self._data, settings=self._settings, transient=False, headless=True, clock=None
            )
            try:
                return await stack.enter_async_context(opening)
            except EngineBusy as busy:
                if loop.time() >= deadline_s:
                    raise
                if not told:
                    self._print(Waiting(busy.pid), f"waiting for process {busy.pid} to end")
                told = True
            await asyncio.sleep(_RETRY_S)

    async def _attend(self, core: Core) -> None:
        """Serve until somebody says stop."""
        loop = asyncio.get_running_loop()
        async with core.engine.events() as events:
            for number in _ENDING:
                reason = f"told to end by {number.name}"
                loop.add_signal_handler(number, core.request_stop, reason)
            loop.add_signal_handler(signal.SIGHUP, self._reload, core)
            alive = asyncio.create_task(self._notifier.keep_alive(), name="signs of life")
            try:
                self._announce()
                await _told_to_stop(events)
            finally:
                await _ended({alive, *self._reloads})

    def _reload(self, core: Core) -> None:
        task = asyncio.create_task(self._reloaded(core), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reloaded(self, core: Core) -> None:
        self._notifier.reloading(core.clock)
        try:
            changes = await core.reload(OPERATOR)
        except SwarmDeckError as error:
            log.error("the settings stay as they were: %s", error.message)  # noqa: TRY400
        else:
            log.info("read again: %d settings have changed", len(changes))
        finally:
            self._notifier.ready(f"owns {self._data}")

    def _announce(self) -> None:
        ready = Ready(os.getpid(), str(find_socket(self._data)), str(self._data))
        log.info("serves %s as process %d", ready.data, ready.pid)
        self._notifier.ready(f"owns {self._data}")
        self._print(ready, f"ready: pid {ready.pid}, socket {ready.socket}, data {ready.data}")

    def _print(self, said: msgspec.Struct, line: str) -> None:
        """To standard output, if somebody still reads it: the engine does not live by that."""
        text = msgspec.json.encode(said) if self._as_json else os.fsencode(line)
        with contextlib.suppress(OSError):  # unbuffered, or the exit would try it again
            os.write(sys.stdout.fileno(), text + b"\n")


def _taker(written: EngineLog) -> Callable[[Settings], None]:
    return lambda settings: written.take(settings.logging)


async def _told_to_stop(events: Subscription) -> None:
    async for event in events:
        if isinstance(event, EngineStopping):
            log.info("stops: %s", event.reason)
            return


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
