"""The seam between the API and the engine: one protocol, in this process or over the socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol

import msgspec

from .actions import Action
from .dispatch import Receipt
from .events import Callback
from .events import Subscription as EventSubscription


class Ready(msgspec.Struct, eq=False, gc=False):
    """An answer that is there already, for a caller that awaits it; who is in a hurry looks."""

    value: Any

    def __await__(self) -> Generator[None, None, Any]:
        return self.value
        yield  # what makes this a generator


class Subscription(Protocol):
    """A channel that is listened to, until it is closed."""

    @property
    def channel(self) -> str: ...

    async def close(self) -> None: ...


class Port(Protocol):
    """What every way to an engine can do. Errors are those of `errors.py`; when the engine goes
    away every call fails with Unavailable."""

    async def dispatch(self, action: Action) -> Receipt:
        """Ask for an action. Returns once it is accepted; await the receipt for its result."""
        ...

    def call(self, verb: str, actor: str, environment: str, *args: object) -> Awaitable[Any]:
        """A data-plane call: no receipt, no lane. `actor` is an agent id or `operator`. Values
        cross as format and body, never decoded on the way."""
        ...

    def bound(self, verb: str, actor: str, environment: str) -> Callable[..., Any]:
        """`call` for one verb, actor and environment, for those who call it very often. It gives
        the answer itself where that is there at once, else what to await for it: an answer is
        never something to await."""
        ...

    def events(self) -> EventSubscription:
        """All events from this moment on. Ends after EngineStopping."""
        ...

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        """Send to all who listen on a channel; returns how many were reached."""
        ...

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        """Call `callback(body)` for each message of a channel, in order."""
        ...

    async def close(self) -> None:
        """Leave. Can be called again."""
        ...
