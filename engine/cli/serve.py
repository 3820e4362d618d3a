"""`serve`: own the data directory and stay until a signal or `stop`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from ..engine import Engine, open_engine
from ..events import EngineStopping
from ..lock import find_socket
from ..settings import Settings
from . import where
from .options import Options
from .signals import run_loop

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ready(msgspec.Struct, frozen=True):
    """What `serve` prints once it can be attached to."""

    pid: int
    socket: str
    data: str


def serve(options: Options) -> int:
    """Run the engine as a service; returns 0 after an orderly stop. Raises EngineBusy with the
    owner's pid when the directory is taken."""
    settings = where.load(options)
    where.log_to_stderr(settings.logging.level)
    run_loop(_serve(where.data_directory(options), settings, as_json=options.json), fast=True)
    return 0


async def _serve(data: Path, settings: Settings, *, as_json: bool) -> None:
    async with open_engine(data, settings=settings, headless=True) as engine:
        stopping = asyncio.create_task(_told_to_stop(engine), name="wait for stop")
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, stopping.cancel)
        _announce(Ready(os.getpid(), str(find_socket(data)), str(data)), as_json=as_json)
        await asyncio.wait({stopping})


async def _told_to_stop(engine: Engine) -> None:
    async for event in engine.events():
        if isinstance(event, EngineStopping):
            return


def _announce(ready: Ready, *, as_json: bool) -> None:
    line = f"ready: pid {ready.pid}, socket {ready.socket}, data {ready.data}"
    sys.stdout.write((msgspec.json.encode(ready).decode() if as_json else line) + "\n")
    sys.stdout.flush()
