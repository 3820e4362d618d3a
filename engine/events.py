"""What happened, as typed events, and the bus that carries them.

Events say that something changed, they never carry the change itself: whoever shows data pulls a
view. So they may merge and, for a reader that does not keep up, be lost, as long as it is told.
Bus and subscriptions belong to one event loop; no other thread may touch them.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from .errors import ErrorReport, SwarmDeckError
from .views import GrantView

LIMIT: Final = 1000  # events that wait for one subscriber
HANDED_OVER: Final = "handed over to the next engine"
"""Why an engine stops that leaves its agents running."""

OPERATIONS: Final = "engine.memory"
"""The channel of memory operations: while somebody listens to it, stores tell of each."""

GONE: Final = "gone"  # the state of an agent that is not registered any more

log = logging.getLogger(__name__)


class EventStruct(msgspec.Struct, frozen=True, tag_field="event"):
    """Base of all events."""


class Changed(EventStruct, frozen=True, tag="changed"):
    """Something of a topic was committed: memory, queue, swarms, agents, access or engine.
    `sequence` is that of the database's newest commit."""

    topic: str
    environment: str
    sequence: int


class Progress(EventStruct, frozen=True, tag="progress"):
    """How far an operation is: `fraction` from 0 to 1."""

    operation: str
    action: str
    fraction: float
    text: str = ""


class Sampled(EventStruct, frozen=True, tag="sampled"):
    """A benchmark on its way: what one workload did in the last moment. `at_s` counts from the
    beginning of that workload, `ops_s` are operations a second, latencies microseconds."""

    operation: str
    workload: str
    at_s: float
    ops_s: float
    p50_us: float
    p99_us: float


class Finished(EventStruct, frozen=True, tag="finished"):
    """An operation ended. `error` is None exactly when `ok`."""

    operation: str
    action: str
    ok: bool
    error: ErrorReport | None = None


class SwarmChanged(EventStruct, frozen=True, tag="swarm"):
    id: str
    state: str
    reason: str = ""


class AgentChanged(EventStruct, frozen=True, tag="agent"):
    id: str
    state: str
    pid: int | None = None
    reason: str = ""


class AgentRegistered(EventStruct, frozen=True, tag="registered"):
    """An agent is known from now on, whether it has a process of ours or not."""

    id: str
    name: str
    type: str


class GlassBroken(EventStruct, frozen=True, tag="glass"):
    """The operator may read a private record of `owner` for a while, and has said why."""

    entry: GrantView
    owner: str


class Reclaimed(EventStruct, frozen=True, tag="reclaimed"):
    """Borrowed memory was taken back from a swarm for another environment."""

    swarm: str
    bytes: int
    for_environment: str


class Enforced(EventStruct, frozen=True, tag="enforced"):
    """Something was done for memory. `what` is killed (an agent of a swarm over its share), told
    (to give back), renewed (an agent started anew), gave way or came back (a whole swarm)."""

    swarm: str
    agent: str
    what: str
    text: str


class AlertChanged(EventStruct, frozen=True, tag="alert"):
    """An alert fired, was acknowledged or was resolved: `state` is firing, acknowledged or
    resolved."""

    id: str
    rule: str
    severity: str
    state: str
    environment: str
    subject: str


class EngineStopping(EventStruct, frozen=True, tag="stopping"):
    """The engine begins to close, or the connection to it is lost. Every stream that is not closed
    by its reader has one."""

    reason: str = ""


class Published(EventStruct, frozen=True, tag="published"):
    """A message of a channel. `body` is JSON types and bytes."""

    channel: str
    body: Any


class Gap(EventStruct, frozen=True, tag="gap"):
    """This reader was too slow: `missed` events were dropped here. Pull every view again."""

    missed: int


Event: TypeAlias = (
    Changed
    | Progress
    | Sampled
    | Finished
    | SwarmChanged
    | AgentChanged
    | AgentRegistered
    | GlassBroken
    | Reclaimed
    | AlertChanged
    | Enforced
    | EngineStopping
    | Published
    | Gap
)


class Subscription:
    """The events that wait for one reader, oldest first, at most `limit` of them.

    Over the limit the oldest are dropped and a Gap stands in their place. A Changed that still
    waits is replaced, where it stands, by a newer one of the same topic and environment, and a
    Progress by a newer one of the same operation.

    Read it with `async for`, with `take()`, or from callbacks with `on_ready` and `poll()`; by
    one reader only. Closing it, or dropping the last reference to it, ends it.
    """

    def __init__(
        self,
        limit: int = LIMIT,
        *,
        on_ready: Callable[[], None] | None = None,
        on_close: Callable[[Subscription], None] | None = None,
    ) -> None:
        """`on_ready` is called when the first event begins to wait, `on_close` once."""
        self.missed = 0
        self._limit = limit
        self._on_ready = on_ready
        self._on_close = on_close
        self._waiting: OrderedDict[object, Event] = OrderedDict()
        self._numbers = itertools.count()
        self._gap = 0
        self._ended = False
        self._error: SwarmDeckError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """True when nothing can be added any more; events may still wait."""
        return self._ended

    def push(self, event: Event) -> None:
        """Add an event. After the end it is ignored."""
        if self._ended:
            return
        was_empty = not self._waiting
        self._waiting[_merge_key(event) or next(self._numbers)] = event
        if len(self._waiting) > self._limit:
            self._waiting.popitem(last=False)
            self._gap += 1
            self.missed += 1
        if was_empty:
            self._wake()

    def end(self, error: SwarmDeckError | None = None) -> None:
        """Add nothing more. The reader gets what waits, then `error` or the end."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    def close(self) -> None:
        """Leave: forget what waits. Can be called again."""
        self.end()
        self._waiting.clear()
        self._gap = 0
        leave, self._on_close = self._on_close, None
        if leave is not None:
            leave(self)

    def poll(self) -> Event | None:
        """The next event if one waits."""
        if self._gap:
            missed, self._gap = self._gap, 0
            return Gap(missed)
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    async def take(self) -> list[Event]:
        """Wait for events and return all of them; empty means the end."""
        await self._ready()
        events: list[Event] = list(iter(self.poll, None))
        if not events and self._error is not None:
            raise self._error
        return events

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        await self._ready()
        event = self.poll()
        if event is not None:
            return event
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _ready(self) -> None:
        while not self._waiting and not self._ended:
            if self._waiter is not None:
                raise RuntimeError("a subscription has one reader")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._on_ready is not None:
            self._on_ready()


def _merge_key(event: Event) -> object:
    """Events with the same key replace each other; None never merges."""
    if type(event) is Changed:
        return event.topic, event.environment
    return event.operation if type(event) is Progress else None


class EventBus:
    """Every event to every subscriber, in the order of publishing."""

    def __init__(self) -> None:
        # Weak: a reader that breaks out of its loop and forgets to close costs nothing for ever.
        self._watchers: weakref.WeakSet[Subscription] = weakref.WeakSet()
        # Strong: whoever listens to a channel closes it, or it lasts as long as the bus.
        self._channels: dict[str, set[Subscription]] = {}
        self._listeners: set[Listener] = set()
        self._wanted: dict[str, Callable[[bool], None]] = {}
        self._closed = False

    def publish(self, event: Event) -> int:
        """Hand an event to all who watch; returns to how many. Never waits. After close it
        reaches nobody."""
        readers = list(self._watchers) if self._watchers else []  # mostly nobody watches
        if isinstance(event, Published):
            readers += self._channels.get(event.channel, ())
        for reader in readers:
            reader.push(event)
        return len(readers)

    def when_wanted(self, channel: str, call: Callable[[bool], None]) -> None:
        """Call this with True when the first listens to a channel by name, with False when the
        last has left: for what costs too much to tell nobody."""
        self._wanted[channel] = call

    def hears(self, channel: str) -> bool:
        """Whether anybody listens to a channel by name."""
        return channel in self._channels

    def subscribe(
        self,
        limit: int = LIMIT,
        *,
        channel: str | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> Subscription:
        """All events from now on; with `channel` only what is published there."""
        if channel is None:
            leave: Callable[[Subscription], None] = self._watchers.discard
            subscription = Subscription(limit, on_ready=on_ready, on_close=leave)
            self._watchers.add(subscription)
        else:
            leave = partial(self._leave, channel)
            subscription = Subscription(limit, on_ready=on_ready, on_close=leave)
            place = self._channels.setdefault(channel, set())
            place.add(subscription)
            if len(place) == 1 and channel in self._wanted:
                self._wanted[channel](True)
        if self._closed:
            subscription.end()
        return subscription

    def listen(self, channel: str, callback: Callback) -> Listener:
        """Call `callback(body)` for each message of a channel until the listener or the bus is
        closed."""
        listener = Listener(channel, self.subscribe(channel=channel), callback)
        self._listeners = {each for each in self._listeners if not each.ended} | {listener}
        return listener

    async def close(self, reason: str = "") -> None:
        """Tell everybody EngineStopping, end every subscription, stop every listener."""
        if not self._closed:
            self._closed = True
            for watcher in list(self._watchers):
                watcher.push(EngineStopping(reason))
                watcher.end()
            for subscription in [each for place in self._channels.values() for each in place]:
                subscription.end()
            self._channels.clear()
        for listener in tuple(self._listeners):
            await listener.close()

    def _leave(self, channel: str, subscription: Subscription) -> None:
        place = self._channels.get(channel, set())
        place.discard(subscription)
        if not place and self._channels.pop(channel, None) is not None and channel in self._wanted:
            self._wanted[channel](False)


Callback: TypeAlias = Callable[[Any], Awaitable[None] | None]


class Listener:
    """Calls `callback(body)` for each message of a channel, in order, one at a time.

    The callback may be a plain or an async function; what it raises is logged and the next
    message follows. While it works at most LIMIT messages wait, then the oldest are dropped and
    counted in `missed`.
    """

    def __init__(self, channel: str, subscription: Subscription, callback: Callback) -> None:
        self.channel = channel
        self._subscription = subscription
        self._callback = callback
        self._task = asyncio.get_running_loop().create_task(self._listen(), name=f"on {channel}")

    @property
    def ended(self) -> bool:
        return self._task.done()

    @property
    def missed(self) -> int:
        return self._subscription.missed

    async def close(self) -> None:
        """Stop listening. The callback is not called again, one that waits is cancelled."""
        self._subscription.close()
        if self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _listen(self) -> None:
        async for event in self._subscription:
            if isinstance(event, Published):
                await self._deliver(event.body)

    async def _deliver(self, body: object) -> None:
        try:
            answer = self._callback(body)
            if inspect.isawaitable(answer):
                await answer
        except Exception:  # one bad callback must not end the channel for its owner
            log.exception("a callback on channel %s failed", self.channel)
