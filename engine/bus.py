"""Channels people publish on: in this process, and between hosts when Redis is configured.

What is published is a hint, never the truth: nothing is kept, a lost message is lost. When Redis
goes away the channels go on within this engine and say so; when it is back they use it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from .clock import Clock
from .errors import InvalidInput, Unavailable
from .events import EventBus, Published
from .model import check_name
from .settings import RedisSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = "swarmdeck:"
CONNECT_S: Final = 2.0
RETRY_S: Final = 2.0
MAX_BODY_BYTES: Final = 1 << 20

log = logging.getLogger(__name__)


class Channels(Protocol):
    """Publishing, wherever it goes."""

    @property
    def state(self) -> str:
        """Shown to the operator: `local`, `redis` or `redis lost`."""
        ...

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types, bytes
        """Send to all who listen; how many were reached. Raises InvalidInput."""
        ...

    async def ping(self) -> str:
        """How publishing is, in words. Raises Unavailable when a server does not answer."""
        ...


class LocalChannels:
    """Within this engine and whoever is attached to it."""

    state = "local"

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types, bytes
        check_name(channel, "channel")
        _encode("", body)
        return self._bus.publish(Published(channel, body))

    async def ping(self) -> str:
        return "within this engine"


class RedisChannels:
    """Between all engines of one Redis. Our own listeners are served directly, so that what they
    get does not depend on the server; what comes back from it is recognised by its origin."""

    def __init__(self, bus: EventBus, client: Redis, origin: str) -> None:
        self._bus = bus
        self._client = client
        self._origin = origin
        self._linked = False
        self._listening = False

    @property
    def state(self) -> str:
        return "redis" if self._linked else "redis lost"

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types, bytes
        from redis import exceptions  # noqa: PLC0415 - only where Redis is configured

        check_name(channel, "channel")
        frame = _encode(self._origin, body)
        reached = self._bus.publish(Published(channel, body))
        try:
            engines = await self._client.publish(PREFIX + channel, frame)
        except (exceptions.RedisError, OSError, TimeoutError):
            self._linked = False
            return reached
        return reached + max(0, int(engines) - 1)

    async def ping(self) -> str:
        from redis import exceptions  # noqa: PLC0415 - only where Redis is configured

        try:
            await self._client.ping()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            self._linked = False
            raise Unavailable(f"Redis does not answer: {error}") from error
        self._linked = self._listening
        if not self._linked:
            raise Unavailable("Redis answers, and channels are not connected to it yet")
        return "Redis answers"

    async def listen(self) -> None:
        """Take over what other engines publish, for ever; reconnects by itself."""
        from redis import exceptions  # noqa: PLC0415 - only where Redis is configured

        while True:
            try:
                await self._receive()
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if self._linked:
                    log.warning("Redis is lost, channels stay within this engine: %s", error)
                self._linked = self._listening = False
            await asyncio.sleep(RETRY_S)

    async def _receive(self) -> None:
        async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe(f"{PREFIX}*")
            self._linked = self._listening = True
            async for message in pubsub.listen():
                self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
        try:
            origin, body = msgspec.msgpack.decode(message["data"])
            channel = message["channel"].decode().removeprefix(PREFIX)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError):
            log.warning("a message on Redis is not ours and was dropped")
            return
        if origin != self._origin:
            self._bus.publish(Published(channel, body))


@asynccontextmanager
async def open_channels(
    bus: EventBus, settings: RedisSettings, clock: Clock
) -> AsyncIterator[Channels]:
    """The channels of an engine. A Redis that does not answer yet delays nothing."""
    if settings.host is None:
        yield LocalChannels(bus)
        return
    async with AsyncExitStack() as stack:
        channels = RedisChannels(bus, _client(settings), clock.token(12))
        stack.push_async_callback(channels._client.aclose)  # noqa: SLF001 - made one line above
        listening = asyncio.create_task(channels.listen(), name="listen to redis")
        stack.push_async_callback(_cancelled, listening)
        yield channels


def _client(settings: RedisSettings) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415 - a slow import, only where it is configured
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    password = settings.password.reveal() if settings.password is not None else None
    return Redis(
        host=settings.host or "",
        port=settings.port,
        db=settings.db,
        password=password,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),  # a repeated PUBLISH would be heard twice
    )


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _encode(origin: str, body: Any) -> bytes:  # noqa: ANN401 - JSON types, bytes
    try:
        frame = msgspec.msgpack.encode([origin, body])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"the message cannot be published: {error}") from error
    if len(frame) > MAX_BODY_BYTES:
        raise InvalidInput(f"the message has {len(frame)} bytes", hint="at most 1 MiB")
    return frame
