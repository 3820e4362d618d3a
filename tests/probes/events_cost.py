"""What events and metrics of users cost: CPU of publishing, taking, completing, recording, asking.

    python tests/probes/events_cost.py [--count 1000] [--rounds 5] [--waiting 100000]

Prints medians in microseconds for one event or value, each beside sending a message of the queue in
the same round; then taking while so many events wait that the taker may not read.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from swarmdeck.engine import Engine, open_engine
from swarmdeck.engine.settings import load_settings

DEV = "development"
CHUNK = 100


async def cpu_us(work: Awaitable[object], count: int) -> float:
    """CPU of this process, all threads, for one of `count`."""
    began_s = time.process_time()
    await work
    return (time.process_time() - began_s) * 1_000_000 / count


async def round_of(engine: Engine, count: int) -> dict[str, float]:
    """One round; CPU by what was done."""
    events, measures, queue = engine.eventlog(DEV), engine.measures(DEV), engine.queue(DEV)
    body = {"branch": "main", "ok": True, "files": 12}

    async def together() -> None:
        for _ in range(0, count, CHUNK):
            await events.publish_many([{"type": "probe", "payload": body}] * CHUNK)

    async def singly() -> None:
        await asyncio.gather(*(events.publish("probe", body) for _ in range(count // 10)))

    async def worked() -> None:
        done = 0
        while done < count and (taken := await events.take(limit=CHUNK)):
            await asyncio.gather(*(events.complete(each) for each in taken))
            done += len(taken)

    async def recorded() -> None:
        await asyncio.gather(*(measures.record("took", n, kind="timer") for n in range(count)))

    async def sent() -> None:
        await asyncio.gather(*(queue.send("probe", body) for _ in range(count)))

    return {
        "queue.send": await cpu_us(sent(), count),
        "publish, in calls of 100": await cpu_us(together(), count),
        "publish, singly": await cpu_us(singly(), count // 10),
        "take 100 and complete each": await cpu_us(worked(), count),
        "record a value": await cpu_us(recorded(), count),
        "query an hour": await cpu_us(measures.query("took"), 1),
    }


async def beside_others(engine: Engine, waiting: int) -> float:
    """CPU of taking one event while many wait that are not for the taker."""
    agents = [await engine.agents.register(DEV, name=name) for name in ("one", "two")]
    first = engine.eventlog(DEV, as_=agents[0])
    for _ in range(0, waiting, 1_000):
        await first.publish_many([{"type": "other", "level": "private", "priority": 10}] * 1_000)
    second = engine.eventlog(DEV, as_=agents[1])
    await second.publish_many([{"type": "mine", "level": "private"}] * 20)
    found = [await cpu_us(second.take(), 1) for _ in range(20)]
    return statistics.median(found)


async def main(count: int, rounds: int, waiting: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, {}, {f"queue.depth.{DEV}": count * rounds})
        async with open_engine(Path(folder) / "data", settings=settings) as engine:
            found = [await round_of(engine, count) for _ in range(rounds)]
            for name in found[0]:
                value = statistics.median(each[name] for each in found)
                ratio = statistics.median(each[name] / each["queue.send"] for each in found)
                print(f"{name:<28} {value:9.1f} us  {ratio:6.2f} x queue.send")
            took = await beside_others(engine, waiting)
            print(f"take one beside {waiting:,} that are not the taker's: {took:.0f} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--waiting", type=int, default=100_000)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.rounds, given.waiting))
