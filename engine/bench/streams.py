"""Redis streams doing the work of our queue: redis-py's asyncio client over a unix socket.

A stream has no priorities, delays, attempts or dead letters; what is compared is what both do:
store a message, hand it to one consumer of a group, take its acknowledgement.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .measure import DRY
from .peers import redis_server

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM: Final = "work"
GROUP: Final = "consumers"
WAIT_MS: Final = 200
_NEW: Final[dict[Any, Any]] = {STREAM: ">"}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Seen = Callable[[Sequence[dict[str, Any]]], object]


def unheeded(_: Sequence[dict[str, Any]]) -> None:
    """For those who only want what is done."""


class Stream:
    """One stream with one group of consumers; who waits for a message has a client of its own."""

    def __init__(self, client: Redis, waiting: Redis) -> None:
        self._client = client
        self._waiting = waiting

    async def open(self) -> None:
        await self._client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    async def send(self, chance: random.Random) -> None:
        await self.put({"n": chance.randrange(1000)})

    async def put(self, body: dict[str, Any]) -> None:
        await self._client.xadd(STREAM, {"kind": "bench", "body": _encode(body)})

    async def stock(self, count: int) -> None:
        """Send so many, as fast as it goes."""
        for start in range(0, count, 1000):
            pipeline = self._client.pipeline(transaction=False)
            for number in range(min(1000, count - start)):
                pipeline.xadd(STREAM, {"kind": "bench", "body": _encode({"n": number})})
            await pipeline.execute()

    async def claim(self, chance: random.Random) -> object:
        """Take one message and acknowledge it."""
        found: Any = await self._client.xreadgroup(GROUP, f"c{id(chance)}", _NEW, count=1)
        for _, messages in found or ():
            for ident, fields in messages:
                _decode(fields[b"body"])
                await self._client.xack(STREAM, GROUP, ident)
        return None if found else DRY

    async def take(self, limit: int, seen: Seen = unheeded) -> list[dict[str, Any]]:
        """Up to so many messages, waited for and acknowledged; `seen` before that."""
        found: Any = await self._waiting.xreadgroup(
            GROUP, "waiting", _NEW, count=limit, block=WAIT_MS
        )
        bodies: list[dict[str, Any]] = []
        for _, messages in found or ():
            bodies += (_decode(fields[b"body"]) for _, fields in messages)
            seen(bodies)
            await self._waiting.xack(STREAM, GROUP, *(ident for ident, _ in messages))
        return bodies


@asynccontextmanager
async def open_stream(scratch: Path, appendfsync: str) -> AsyncIterator[Stream]:
    """A stream on a redis-server of its own. Raises Unavailable where there is none."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(redis_server(scratch, appendfsync))
        clients = [await stack.enter_async_context(server.nearby()) for _ in range(2)]
        async with asyncio.timeout(10):
            await clients[1].ping()
        stream = Stream(*clients)
        await stream.open()
        yield stream
