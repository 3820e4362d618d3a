"""Between the engine's thread and the screens: one pull feeds everything that is shown.

Events only say that something changed; what is shown is pulled, all of it together, at most ten
times a second and at least once. The screens never wait for it: a pull that takes long leaves the
last one in place, and its age is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ..engine import views
from ..engine.actions import Action, Status
from ..engine.errors import ErrorReport, SwarmDeckError
from ..engine.events import Progress

IDLE_S: Final = 1.0
"""How often to look when nothing is said to have changed, unless told otherwise."""

GAP_S: Final = 0.1
"""The least time between two pulls."""

REST: Final = 9
"""After an answer that took T to find, the screen's query rests for so many T unless a person
waits for it: what has to look through a million rows must not keep the engine busy."""

INTERVALS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""The steps of slower and faster."""


class Host(Protocol):
    """What the console needs of an engine, wherever it runs."""

    @property
    def attached(self) -> bool:
        """True when another process owns the data directory."""
        ...

    async def start(self) -> None:
        """Open or attach. Raises what opening raised."""
        ...

    async def run(
        self, action: Action, on_progress: Callable[[Progress], None] | None = None
    ) -> Any:  # noqa: ANN401 - the action's result
        """The result of an action, without ever blocking this loop."""
        ...

    async def close(self) -> None: ...


class Pull(msgspec.Struct, frozen=True):
    """What was read at one moment: the overview, and what the screen in front asked for.

    `answer` is None when nothing was asked. `error` says why the answer is missing, `lost` why
    there is no newer overview.
    """

    overview: views.Overview | None
    asked: Action | None = None
    answer: Any = None
    error: ErrorReport | None = None
    lost: ErrorReport | None = None


class Bridge:
    """Pulls for as long as `run` runs, and hands each pull to `show`.

    `wanted` names the query of the screen in front, if it has one.
    """

    def __init__(
        self,
        host: Host,
        wanted: Callable[[], Action | None],
        show: Callable[[Pull], None],
        monotonic_s: Callable[[], float] = time.monotonic,
        interval_s: float = IDLE_S,
    ) -> None:
        self.paused = False
        self.interval_s = interval_s
        self._host = host
        self._wanted = wanted
        self._show = show
        self._monotonic_s = monotonic_s
        self._dirty = asyncio.Event()
        self._asked_for = asyncio.Event()
        self._pulled_s: float | None = None
        self._rests_until_s = 0.0
        self._last: views.Overview | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the overview that is shown was read."""
        return 0.0 if self._pulled_s is None else self._monotonic_s() - self._pulled_s

    def mark(self) -> None:
        """Something changed: pull soon. An interval longer than a second holds for changes too:
        who asks for it wants the screen to stand still that long."""
        self._dirty.set()

    def hurry(self) -> None:
        """A person waits for it: pull as soon as the last pull allows, whatever the interval."""
        self._asked_for.set()
        self._dirty.set()

    async def run(self) -> None:
        """Pull until cancelled."""
        while True:
            waited_for = self._asked_for.is_set()
            self._dirty.clear()
            self._asked_for.clear()
            if not self.paused:
                self._show(await self.pull(waited_for=waited_for))
            await asyncio.sleep(GAP_S)
            news = self._dirty if self.interval_s <= IDLE_S else self._asked_for
            await self._told_or_idle(news)

    async def _told_or_idle(self, news: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(max(0.0, self.interval_s - GAP_S)):
                await news.wait()
        except TimeoutError:
            return

    async def pull(self, *, waited_for: bool = True) -> Pull:
        """Read the overview and what the screen in front asks for, both at once; the overview
        alone while a costly query rests and nobody waits for it."""
        rests = not waited_for and self._monotonic_s() < self._rests_until_s
        asked = None if rests else self._wanted()
        overview, (answer, error) = await asyncio.gather(
            self._ask(Status()), self._ask_at_length(asked) if asked is not None else _nothing()
        )
        seen, lost = overview
        if seen is not None:
            self._last = seen
            self._pulled_s = self._monotonic_s()
        return Pull(self._last, asked, answer, error, lost)

    async def _ask_at_length(self, action: Action) -> tuple[Any, ErrorReport | None]:
        began_s = self._monotonic_s()
        answer = await self._ask(action)
        ended_s = self._monotonic_s()
        self._rests_until_s = ended_s + REST * (ended_s - began_s)
        return answer

    async def _ask(self, action: Action) -> tuple[Any, ErrorReport | None]:
        try:
            return await self._host.run(action), None
        except SwarmDeckError as error:
            return None, error.report()


async def _nothing() -> tuple[None, None]:
    return None, None
