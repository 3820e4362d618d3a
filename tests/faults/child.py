"""A real engine with a hundred callers, in a process that is killed, starved or watched.

    child.py DATA ENVIRONMENT OPTIONS        OPTIONS is JSON, see `Options`

Each acknowledged write is said on stdout, and in the log of `faultio.c` where there is one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from swarmdeck.engine import open_engine
from swarmdeck.engine.engine import Engine
from swarmdeck.engine.errors import OutcomeUnknown, SwarmDeckError
from swarmdeck.engine.memory.operations import Set
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.store import batch, database, disk, prepare

sys.path.insert(0, str(Path(__file__).parent))
import control
import oplog


class Options(msgspec.Struct):
    """`writes` a caller makes, -1 for ever; `pause_s` between two. `durability` of the
    environment. `plants`: bugs to plant. `first`: the number of a caller's first write. `say`:
    whether acknowledgements go to stdout. `refuse`: what the disk refuses once the engine is open:
    operation, which call, errno, for ever, and of which files."""

    writes: int = 10
    callers: int = 100
    pause_s: float = 0.0
    durability: str = "full"
    checkpoint_s: float = 1.0
    autocheckpoint_pages: int = 8000
    plants: list[str] = []
    first: int = 0
    refuse: tuple[str, int, int, bool, str] | None = None
    say: bool = True


def value(caller: int, number: int) -> dict[str, Any]:
    """What is stored under `w<caller>-<number>`."""
    return {"caller": caller, "number": number, "text": f"{caller}.{number} " * (1 + number % 60)}


def settings_of(environment: str, options: Options) -> Settings:
    told = {
        f"durability.{environment}": options.durability,
        "store.checkpoint_interval_s": options.checkpoint_s,
        "store.autocheckpoint_pages": options.autocheckpoint_pages,
        "store.reserve_bytes": 1 << 20,
        f"queue.depth.{environment}": 1 << 20,  # nobody takes what is sent
    }
    return load_settings(None, os.environ, told)


class Callers:
    def __init__(self, engine: Engine, environment: str, options: Options) -> None:
        self._memory = engine.memory(environment)
        self._queue = engine.queue(environment)
        self._options = options
        log = os.environ.get("FAULTIO_LOG")
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND) if log else None
        self.refused: dict[str, int] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for caller in range(self._options.callers):
                group.create_task(self._write_all(caller))

    async def _write_all(self, caller: int) -> None:
        number = self._options.first
        while self._options.writes < 0 or number < self._options.first + self._options.writes:
            try:
                self._acknowledged(await self._write(caller, number))
            except SwarmDeckError as error:
                self.refused[error.code] = self.refused.get(error.code, 0) + 1
            number += 1
            if self._options.pause_s:
                await asyncio.sleep(self._options.pause_s)

    async def _write(self, caller: int, number: int) -> dict[str, Any]:
        if caller % 2:
            ident = await self._queue.send("work", value(caller, number))
            return {"message": ident, "caller": caller, "number": number}
        key = f"w{caller}-{number}"
        await self._memory.set(key, value(caller, number))
        return {"key": key, "caller": caller, "number": number}

    def _acknowledged(self, what: dict[str, Any]) -> None:
        if self._log is not None:
            os.write(self._log, oplog.acknowledgement(what | {"at": time.monotonic()}))
        if self._options.say:
            os.write(1, json.dumps(what).encode() + b"\n")


# --- planted bugs -----------------------------------------------------------------------------


def never_synced() -> None:
    requested = prepare._requested

    def without(options: Any) -> dict[str, str]:
        return requested(options) | {"synchronous": "off"}

    prepare._requested = without


def acknowledged_early() -> None:
    """Answers a caller as soon as its operation is queued."""
    submit = database.Database.submit

    def hasty(self: database.Database, operation: Any) -> asyncio.Future[Any]:
        future = submit(self, operation)
        early: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        early.set_result(1)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return early if type(operation).__name__ in ("Set", "Send") else future

    database.Database.submit = hasty  # type: ignore[method-assign]


def sync_retried() -> None:
    """Goes on with the connection whose sync has failed, and believes the next one."""
    disk.Disk.note = lambda self, error: None  # type: ignore[method-assign]
    prepare.rewrite_log = lambda path: None


def failure_swallowed() -> None:
    """Tells those who set a record that could not be committed that it was."""
    attempt = batch._attempt

    def deaf(*arguments: Any, **options: Any) -> Any:
        outcomes = attempt(*arguments, **options)
        batch = arguments[1]
        if outcomes and all(isinstance(each, OutcomeUnknown) for each in outcomes):
            for operation in batch:
                if isinstance(operation, Set):
                    operation.future.get_loop().call_soon_threadsafe(_say_done, operation.future)
        return outcomes

    batch._attempt = deaf


def never_flushed() -> None:
    """Neither by the clock nor before a checkpoint of the audit trail is signed."""

    async def flush(self: database.Database) -> None: ...

    database.Database._flush_later = lambda self: None  # type: ignore[method-assign]
    database.Database.flush = flush  # type: ignore[method-assign]


def _say_done(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(1)


PLANTS: dict[str, Callable[[], None]] = {
    "never synced": never_synced,
    "never flushed": never_flushed,
    "acknowledged early": acknowledged_early,
    "sync retried": sync_retried,
    "failure swallowed": failure_swallowed,
}


async def main(data: Path, environment: str, options: Options) -> None:
    for plant in options.plants:
        PLANTS[plant]()
    async with open_engine(data, settings=settings_of(environment, options)) as engine:
        if options.refuse:
            page = control.Control(Path(os.environ["FAULTIO_CONTROL"]))
            operation, nth, error, ever, only = options.refuse
            page.refuse(operation, nth, error, ever=ever, only=only)
        callers = Callers(engine, environment, options)
        os.write(1, b'{"ready": true}\n')
        await callers.run()
        os.write(1, json.dumps({"refused": callers.refused}).encode() + b"\n")
        if os.environ.get("FAULTIO_LOG"):
            os._exit(0)  # the power goes before anything is closed


if __name__ == "__main__":
    asyncio.run(
        main(Path(sys.argv[1]), sys.argv[2], msgspec.json.decode(sys.argv[3], type=Options))
    )
