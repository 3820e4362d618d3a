"""Processes that have not said yet that they are ready, each with a time in which to say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from .supervisor import Running

LAST_LOOK_S: Final = 0.5  # so that a word that waits to be read is read first


class Warming:
    """Timers of processes by agent. `is_cold(process)` says whether it runs and has not said that
    it is ready; `condemn(agent, why)` ends one whose time is over."""

    def __init__(
        self, is_cold: Callable[[Running], bool], condemn: Callable[[str, str], object]
    ) -> None:
        self._is_cold = is_cold
        self._condemn = condemn
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def waiting(self) -> int:
        """How many are watched."""
        return len(self._timers)

    def begin(self, process: Running, limit_s: float) -> None:
        """Give a process so long; another of the same agent is watched no more."""
        self._look_in(limit_s, process, f"not ready within {limit_s:g} s of its start", last=False)

    def forget(self, agent: str) -> None:
        """Watch an agent no more."""
        if (timer := self._timers.pop(agent, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_in(self, wait_s: float, process: Running, why: str, *, last: bool) -> None:
        self.forget(process.agent)
        look = partial(self._look, process, why, last=last)
        self._timers[process.agent] = asyncio.get_running_loop().call_later(wait_s, look)

    def _look(self, process: Running, why: str, *, last: bool) -> None:
        """An engine that was stopped for a while must not end who has spoken meanwhile: what it
        said is read before the last look."""
        del self._timers[process.agent]
        if self._is_cold(process):
            if last:
                self._condemn(process.agent, why)
            else:
                self._look_in(LAST_LOOK_S, process, why, last=True)
