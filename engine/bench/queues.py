"""The queue beside Redis streams: the same work on both, interleaved.

`send`, `claim+ack`: one message a call, 100 callers, both clients in this process, ours with its
engine. `end to end`: 100 callers send one message each and wait until a consumer has done it.
`hand over`: one message at a time, from the call to send until the consumer who waits for it has
it; `socket hand over` the same with our engine in another process, as Redis is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from ..engine import Engine
from ..handles import Queue
from .measure import DRY, Limit, drive, percentile
from .names import CLAIM_BATCH
from .served import serve
from .streams import Seen, open_stream, unheeded
from .workloads import ENVIRONMENT, KIND, open_bench

CALLERS: Final = 100
CONSUMERS: Final = 3
AHEAD_A_SECOND: Final = 40_000  # more than are claimed in one
HANDED: Final = 500
WAIT_S: Final = 0.2
PAUSE_S: Final = 0.0005  # so that the consumer waits again
FULL: Final = "production"

Pairs = dict[tuple[str, str], list[tuple[float, float]]]

WORDS: Final = {
    "send": "one message a call, 100 callers, NORMAL, in process; redis everysec, unix socket",
    "claim+ack": "one message a call, 100 callers, NORMAL, in process; redis everysec, unix socket",
    "send full": "one message a call, 100 callers, FULL, in process; redis appendfsync always",
    "claim+ack full": "one message a call, 100 callers, FULL, in process; redis appendfsync always",
    "end to end": "microseconds from send until a consumer has acked it, p50, 100 callers, in "
    "process; redis everysec",
    "hand over": "microseconds from send to a waiting consumer, p50, in process; redis everysec",
    "socket hand over": "microseconds from send to a waiting consumer in another process than the "
    "engine, p50; redis everysec",
}

TIMES: Final = frozenset({"end to end", "hand over", "socket hand over"})
"""Those that are microseconds, not rates."""


class Side(Protocol):
    """What both can do."""

    async def send(self, chance: random.Random) -> None: ...

    async def stock(self, count: int) -> None: ...

    async def claim(self, chance: random.Random) -> object: ...

    async def put(self, body: dict[str, Any]) -> None: ...

    async def take(self, limit: int, seen: Seen = ...) -> list[dict[str, Any]]: ...


class Ours:
    """A queue of the engine."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, chance: random.Random) -> None:
        await self.put({"n": chance.randrange(1000)})

    async def put(self, body: dict[str, Any]) -> None:
        await self._queue.send(KIND, body)

    async def stock(self, count: int) -> None:
        for start in range(0, count, 500):
            part = range(min(500, count - start))
            await asyncio.gather(*(self.put({"n": number}) for number in part))

    async def claim(self, _: random.Random) -> object:
        messages = await self._queue.claim(lease_s=60)
        for message in messages:
            await self._queue.ack(message)
        return None if messages else DRY

    async def take(self, limit: int, seen: Seen = unheeded) -> list[dict[str, Any]]:
        messages = await self._queue.claim(limit, lease_s=60, wait_s=WAIT_S)
        seen([message.body for message in messages])
        await asyncio.gather(*map(self._queue.ack, messages))
        return [message.body for message in messages]


class QueueArena:
    """Both sides, each with the durability that is compared."""

    def __init__(
        self, normal: Side, full: Side, socket: Side, everysec: Side, always: Side
    ) -> None:
        self._rates = (("", normal, everysec), (" full", full, always))
        self._handing = (("hand over", normal), ("socket hand over", socket))
        self._everysec = everysec

    async def round(self, pairs: Pairs, seconds: float) -> None:
        for name, ours, theirs in self._rates:
            sent = [await _send(side, seconds) for side in (ours, theirs)]
            pairs[f"send{name}", "streams"].append((sent[0], sent[1]))
            done = [await _claim(side, seconds) for side in (ours, theirs)]
            pairs[f"claim+ack{name}", "streams"].append((done[0], done[1]))
        waited = [await _end_to_end(side, seconds) for side in (self._rates[0][1], self._everysec)]
        pairs["end to end", "streams"].append((waited[0], waited[1]))
        for name, ours in self._handing:
            took = [await _hand_over(side) for side in (ours, self._everysec)]
            pairs[name, "streams"].append((took[0], took[1]))


@asynccontextmanager
async def open_queues(scratch: Path) -> AsyncIterator[QueueArena]:
    """Raises Unavailable where there is no redis-server."""
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(scratch / "queues"))
        remote = await stack.enter_async_context(serve(scratch / "queues-served"))
        streams = [
            await stack.enter_async_context(open_stream(scratch / f"streams-{sync}", sync))
            for sync in ("everysec", "always")
        ]
        full = await _queue_of(bench.core.engine, FULL)
        socket = await _queue_of(remote, ENVIRONMENT)
        yield QueueArena(Ours(bench.queue), Ours(full), Ours(socket), *streams)


async def _queue_of(engine: Engine, environment: str) -> Queue:
    agent = await engine.agents.register(environment, name="queue bench")
    return engine.queue(environment, as_=agent)


async def _send(side: Side, seconds: float) -> float:
    """Messages sent a second; all of them are taken away again."""
    rate = (await drive(side.send, CALLERS, Limit(seconds))).rate
    await drive(side.claim, CALLERS, Limit(600))
    return rate


async def _claim(side: Side, seconds: float) -> float:
    """Messages claimed and acknowledged a second; there are more than are claimed."""
    await side.stock(int(AHEAD_A_SECOND * seconds))
    rate = (await drive(side.claim, CALLERS, Limit(seconds))).rate
    await drive(side.claim, CALLERS, Limit(600))
    return rate


async def _end_to_end(side: Side, seconds: float) -> float:
    """Median microseconds from a send until a consumer has acknowledged the message."""
    waiting: dict[int, asyncio.Future[None]] = {}
    numbers, over = count(), asyncio.Event()

    async def consume() -> None:
        while not over.is_set():
            for body in await side.take(CLAIM_BATCH):
                waiting.pop(body["n"]).set_result(None)

    async def pass_through(_: random.Random) -> None:
        number = next(numbers)
        done = waiting[number] = asyncio.get_running_loop().create_future()
        await side.put({"n": number})
        await done

    async with asyncio.TaskGroup() as group:
        for _ in range(CONSUMERS):
            group.create_task(consume())
        run = await drive(pass_through, CALLERS, Limit(seconds))
        over.set()  # not cancelled: Redis would hand the next message to who has gone
    return percentile(run.latencies_us, 0.5)


async def _hand_over(side: Side) -> float:
    """Median microseconds from a send to the consumer who waits for it."""
    took: list[float] = []
    done = asyncio.Event()

    def seen(bodies: Sequence[dict[str, Any]]) -> None:
        took.extend((time.perf_counter_ns() - body["at"]) / 1000 for body in bodies)

    async def consume() -> None:
        while len(took) < HANDED:
            if await side.take(1, seen):
                done.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        for _ in range(HANDED):
            await asyncio.sleep(PAUSE_S)
            done.clear()
            await side.put({"at": time.perf_counter_ns()})
            await done.wait()
    return percentile(took, 0.5)
