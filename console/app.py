"""One run of the console: the app, the signals that end it, and the engine closed behind it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..engine.errors import EngineBusy, Unavailable
from ..engine.events import Event
from ..engine.host import EngineHost, HostedEngine
from ..widgets import load_palette
from .deck import SwarmDeck
from .owner import Ways
from .preferences import Preferences
from .successor import begin_successor

if TYPE_CHECKING:
    from ..engine.settings import Settings

ENDING: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
ATTACH_S: Final = 5.0
"""How long an owner without a socket is given: it is starting or ending."""

_RETRY_S: Final = 0.1
_LOG_BYTES: Final = 1 << 20
_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(data: Path, settings: Settings, preferences: Preferences) -> int:
    """Open the console in this terminal and return its exit code: 0 after leaving, 128 and the
    signal's number after one. Raises what opening the engine raised, ConfigError for an
    unknown theme and for keys that cannot be read."""

    def make_host(on_event: Callable[[Event], None]) -> EngineHost:
        return EngineHost(lambda: open_or_attach(data, settings), on_event)

    def attach(on_event: Callable[[Event], None]) -> EngineHost:
        return EngineHost(lambda: connected(data), on_event)

    ways = Ways(attach, lambda: begin_successor(data, settings))
    if preferences.theme is not None:
        load_palette(preferences.theme)
    _log_to_file(data / "logs")
    return asyncio.run(attend(SwarmDeck(make_host, _short(data), preferences, ways)))


async def attend(app: SwarmDeck) -> int:
    """Run the app until it is left or a signal ends it, then close the engine."""
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        app.exit(return_code=128 + number)

    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        await app.run_async(mouse=app.preferences.mouse)
    finally:
        await app.shut()
        app.history.save()
        for number in ENDING:
            loop.remove_signal_handler(number)
    if app.failure is not None:
        raise app.failure
    if said := await app.owner.followed():
        sys.stderr.write(f"swarmdeck: {said}\n")  # painted: by us, when the screen was left
    return 128 + received[0] if received else app.return_code or 0


@asynccontextmanager
async def open_or_attach(data: Path, settings: Settings) -> AsyncIterator[HostedEngine]:
    """Own the data directory, or attach to the engine of the process that does.

    Runs on the engine's thread. Raises EngineBusy when the owner does not answer for 5 s.
    """
    async with AsyncExitStack() as stack:
        yield await _enter(stack, data, settings)


async def _enter(stack: AsyncExitStack, data: Path, settings: Settings) -> HostedEngine:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + ATTACH_S
    while True:
        try:
            return await stack.enter_async_context(_own(data, settings))
        except EngineBusy as busy:
            with suppress(Unavailable):
                return await stack.enter_async_context(connected(data))
            if loop.time() > deadline_s:
                raise busy from None
        await asyncio.sleep(_RETRY_S)


@asynccontextmanager
async def _own(data: Path, settings: Settings) -> AsyncIterator[HostedEngine]:
    """An engine of this process, which writes its log as a headless one does."""
    from ..engine.core import open_core  # noqa: PLC0415 - after the first frame
    from ..engine.service.log import engine_log  # noqa: PLC0415

    with engine_log(data, settings.logging) as log:
        opening = open_core(data, settings=settings, transient=False, headless=False, clock=None)
        async with opening as core:
            core.reloading.takes(("logging.",), lambda fresh: log.take(fresh.logging))
            yield core.engine


@asynccontextmanager
async def connected(data: Path) -> AsyncIterator[HostedEngine]:
    """The engine of the process that owns the data directory. Raises Unavailable."""
    from ..engine.engine import connect  # noqa: PLC0415 - after the first frame

    async with connect(data) as engine:
        yield engine


def _log_to_file(folder: Path) -> None:
    """Log beside the engine's files: what is written to the terminal would tear the screen."""
    handler: logging.Handler = logging.NullHandler()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = RotatingFileHandler(
            folder / "console.log", maxBytes=_LOG_BYTES, backupCount=1, delay=True
        )
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    handler.setLevel(logging.WARNING)  # the engine's own log takes what it says besides
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _short(data: Path) -> str:
    """The directory as the screen names it: below the home with a tilde."""
    with suppress(ValueError, RuntimeError):
        return f"~/{data.relative_to(Path.home())}"
    return str(data)
