"""Looking whether a file that was left in use is whole, while it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, cast

from . import driver

_STEPS: Final = 20_000  # of SQLite's machine between two looks whether to end: below 1 ms


class _Watched(driver.Raw, Protocol):
    def set_progress_handler(self, handler: Callable[[], bool], steps: int) -> None: ...


async def verify(path: Path, over: Callable[[], bool]) -> str:
    """What SQLite's quick check finds wrong, empty where nothing is, on a connection of its own.
    Ends with driver.Error as soon as `over()`. Raises StorageError."""
    connection = await driver.connect(path, read_only=True)
    try:
        return await connection.run(_check, over)
    finally:
        await connection.close()


def _check(raw: driver.Raw, over: Callable[[], bool]) -> str:
    cast("_Watched", raw).set_progress_handler(over, _STEPS)
    found = [str(row[0]) for row in raw.execute("PRAGMA quick_check(5)").fetchall()]
    return "" if found == ["ok"] else "; ".join(found)
