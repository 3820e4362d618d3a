"""The disk of the simulated host: connections whose calls run on the loop after a while, commits
that are slow or fail, and files as a kill leaves them."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import deque
from contextvars import copy_context
from pathlib import Path
from typing import Any

from swarmdeck.engine.store import driver

from .loop import PROCESS, Process, VirtualLoop

HOP_S = (0.00003, 0.0015)
IO_ERROR, FULL = 10, 13
_NAMES = {IO_ERROR: "SQLITE_IOERR_WRITE", FULL: "SQLITE_FULL"}


class Disk:
    """All database connections of the host. `refuse` says what the next commits meet."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.chance = random.Random(f"disk {seed}")
        self.slow_s = 0.0
        self.refusing: dict[str, list[int]] = {}  # by file name: result codes of commits to come
        self.refused = 0
        self._open: dict[Carried, Process | None] = {}

    async def carry(self, connector: Any) -> Carried:
        await asyncio.sleep(self.chance.uniform(*HOP_S))
        carried = Carried(self, connector())
        self._open[carried] = PROCESS.get()
        return carried

    def closed(self, carried: Carried) -> None:
        self._open.pop(carried, None)

    def refuse(self, name: str, code: int, times: int = 1) -> None:
        """Let the next commits to a file fail, with nothing stored."""
        self.refusing.setdefault(name, []).extend([code] * times)

    def crash(self, process: Process, data: Path) -> None:
        """Take the connections of a killed process away, and leave the files with their logs as
        they are: closing the last connection would have tidied up."""
        kept = []
        for file in sorted(data.glob("instances/*/*.db*")):
            if file.suffix in {".db", ".db-wal"}:
                aside = file.with_name(file.name + ".kept")
                shutil.copyfile(file, aside)
                kept.append((aside, file))
        for carried in [each for each, owner in self._open.items() if owner is process]:
            carried.raw.close()
            del self._open[carried]
        for aside, file in kept:
            file.with_name(file.name + "-shm").unlink(missing_ok=True)
            aside.replace(file)

    def close(self) -> None:
        for carried in list(self._open):
            carried.raw.close()
        self._open.clear()


class Carried:
    """One connection: its calls run one after the other, each whole, at a time of its own."""

    def __init__(self, disk: Disk, raw: Any) -> None:
        self.raw = raw
        self._disk = disk
        self._file = Path(raw.execute("PRAGMA database_list").fetchone()[2]).name
        self._seen = _Raw(raw, disk, self._file)
        self._calls: deque[tuple[Any, Any, asyncio.Future[Any]]] = deque()
        self._busy = False
        self._context = copy_context()

    def execute_fetchall(self, _: str, call: Any) -> asyncio.Future[Any]:
        function, arguments = call
        answer: asyncio.Future[Any] = self._disk.loop.create_future()
        self._calls.append((function, arguments, answer))
        self._next()
        return answer

    async def close(self) -> None:
        await asyncio.sleep(self._disk.chance.uniform(*HOP_S))
        while self._busy:
            await asyncio.sleep(0.001)
        self.raw.close()
        self._disk.closed(self)

    def _later(self, work: Any, *arguments: Any) -> None:
        delay_s = self._disk.chance.uniform(*HOP_S) + self._disk.slow_s
        self._disk.loop.call_later(delay_s, work, *arguments, context=self._context)

    def _next(self) -> None:
        if not self._busy and self._calls:
            self._busy = True
            self._later(self._run)

    def _run(self) -> None:
        function, arguments, answer = self._calls.popleft()
        try:
            found, error = function(self._seen, *arguments), None
        except Exception as raised:  # noqa: BLE001 - it is the caller's, as from a thread
            found, error = None, raised
        self._later(self._told, answer, found, error)

    def _told(self, answer: asyncio.Future[Any], found: Any, error: Exception | None) -> None:
        self._busy = False
        self._next()
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found)


class _Raw:
    """A connection whose commits may be refused."""

    def __init__(self, raw: Any, disk: Disk, file: str) -> None:
        self._raw = raw
        self._disk = disk
        self._file = file
        self.executemany = raw.executemany

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        if sql == "COMMIT" and self._disk.refusing and self._raw.total_changes:
            codes = self._disk.refusing.get(self._file)
            if codes:
                self._disk.refused += 1
                raise _error(codes.pop())
        return self._raw.execute(sql, parameters)


def _error(code: int) -> Exception:
    error = driver.OperationalError("disk I/O error" if code == IO_ERROR else "disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = code, _NAMES[code]  # type: ignore[attr-defined]
    return error
