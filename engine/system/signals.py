"""Events by the names that programs of a memory system know them by."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from .. import __version__
from ..errors import InvalidInput, SwarmDeckError
from ..events import OPERATIONS, AgentRegistered, AlertChanged, Event, Finished
from ..events import Subscription as EventSubscription
from ..port import Port, Subscription
from .operations import MemoryOperation

Heard: TypeAlias = Callable[[Any], Awaitable[None] | None]
Choice: TypeAlias = Callable[[Event], bool]

log = logging.getLogger(__name__)


class Initialized(msgspec.Struct, frozen=True):
    """The engine is open. `data` is its data directory, `attached` whether another process has
    opened it."""

    data: str
    attached: bool
    release: str = __version__


def _benchmark(event: Event) -> bool:
    return isinstance(event, Finished) and event.ok and event.action in _BENCHMARKS


def _failure(event: Event) -> bool:
    """An action that was to change something has failed, or something critical is wrong. A
    question that was refused is the affair of who asked it."""
    if isinstance(event, AlertChanged):
        return (event.state, event.severity) == ("firing", "critical")
    return isinstance(event, Finished) and not event.ok


_BENCHMARKS: Final = frozenset({"bench.run", "bench.compare", "bench.bars"})
INITIALIZED: Final = "initialized"
MEMORY_OPERATION: Final = "memoryOperation"
CHOICES: Final[dict[str, Choice]] = {
    "agentRegistered": lambda event: isinstance(event, AgentRegistered),
    "error": _failure,
    "benchmarksCompleted": _benchmark,
}
NAMES: Final = (INITIALIZED, "agentRegistered", MEMORY_OPERATION, "error", "benchmarksCompleted")


class Listening:
    """A callback that is called for events of one name, one at a time, until it is closed or the
    engine ends. What it raises is logged, and the next event follows."""

    def __init__(self, name: str, heard: Heard) -> None:
        self.name = name
        self._heard = heard
        self._task: asyncio.Task[None] | None = None
        self._channel: Subscription | None = None

    def follow(self, events: EventSubscription, choice: Choice) -> None:
        self._task = asyncio.create_task(self._follow(events, choice), name=f"on {self.name}")

    async def listen(self, port: Port) -> None:
        self._channel = await port.subscribe(OPERATIONS, self._operation)

    async def close(self) -> None:
        """Hear nothing more. Can be called again."""
        if self._channel is not None:
            await self._channel.close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _operation(self, body: Any) -> None:  # noqa: ANN401 - what crossed the channel
        await self.tell(msgspec.convert(body, MemoryOperation))

    async def _follow(self, events: EventSubscription, choice: Choice) -> None:
        try:
            async with events:
                async for event in events:
                    if choice(event):
                        await self.tell(event)
        except SwarmDeckError as error:  # an agent's connection, which learns of it only now
            log.warning("%s is not heard: %s", self.name, error.message)

    async def tell(self, event: object) -> None:
        """Call the callback."""
        try:
            answer = self._heard(event)
            if inspect.isawaitable(answer):
                await answer
        except Exception:  # one bad callback must not end the events for its owner
            log.exception("a callback for %s failed", self.name)


async def listen(port: Port, name: str, heard: Heard, *, data: str, attached: bool) -> Listening:
    """Call `heard` for each event of a name from now on. An agent hears none. Raises InvalidInput
    for an unknown name."""
    if name not in NAMES:
        raise InvalidInput(f"no event is called {name}", hint="one of " + ", ".join(NAMES))
    listening = Listening(name, heard)
    if name == INITIALIZED:  # whoever can ask has an open engine
        await listening.tell(Initialized(data, attached))
    elif name == MEMORY_OPERATION:
        await listening.listen(port)
    else:
        listening.follow(port.events(), CHOICES[name])
    return listening
