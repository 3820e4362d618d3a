"""Output of agents that are gone: deleted with their swarm, or when it has been kept for long.

Files are looked for and deleted on a thread, a bounded number at a time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from ..clock import Clock
from ..model import Environment
from .output import remove

KEPT_S: Final = 30 * 86_400.0
FIRST_S: Final = 60.0  # after an engine has opened: it has other things to do
EVERY_S: Final = 3600.0
AGAIN_S: Final = 10.0  # where more was found than one pass deletes
MOST: Final = 500  # files of one pass

log = logging.getLogger(__name__)


class Offload(Protocol):
    def __call__(self, work: Callable[[], int], /) -> Awaitable[int]: ...


class Attic:
    """The output files below `directory`, in a folder for each environment. `offload` runs what
    blocks on a thread."""

    def __init__(self, directory: Path, clock: Clock, offload: Offload) -> None:
        self._directory = directory
        self._clock = clock
        self._offload = offload
        self._next_s = clock.monotonic_s() + FIRST_S

    async def drop(self, environment: str, agents: Collection[str]) -> None:
        """Delete what these agents have written. What cannot be deleted goes when it is old."""
        paths = [self._directory / environment / f"{agent}.log" for agent in agents]
        await self._offload(lambda: sum(map(_removed, paths)))

    async def tick(self, running: Collection[str]) -> None:
        """Once an hour: delete what nobody has written to for KEPT_S, but for those who run. Call
        it about once a second."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        before_s, kept = self._clock.wall_us() / 1_000_000 - KEPT_S, frozenset(running)
        old = _old(self._directory, kept, before_s)
        if await self._offload(lambda: sum(map(_deleted, islice(old, MOST)))) == MOST:
            self._next_s = now_s + AGAIN_S


def _old(directory: Path, kept: Collection[str], before_s: float) -> Iterator[Path]:
    for environment in Environment:
        try:
            with os.scandir(directory / environment.value) as entries:
                for entry in entries:
                    agent, found, _ = entry.name.partition(".log")
                    if found and agent not in kept and _is_older(entry, before_s):
                        yield Path(entry.path)
        except FileNotFoundError:
            continue  # no agent was ever started there
        except OSError as error:
            log.warning("old output of %s is not looked for: %s", environment, error)


def _is_older(entry: os.DirEntry[str], before_s: float) -> bool:
    is_file = entry.is_file(follow_symlinks=False)
    return is_file and entry.stat(follow_symlinks=False).st_mtime < before_s


def _deleted(path: Path) -> int:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("old output %s cannot be deleted: %s", path.name, error)
        return 0
    return 1


def _removed(path: Path) -> int:
    try:
        return remove(path)
    except OSError as error:
        log.warning("output of %s cannot be deleted: %s", path.stem, error)
        return 0
