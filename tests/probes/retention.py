"""How long callers wait while messages that have ended are deleted.

    python tests/probes/retention.py [--messages 50000]

A queue of messages that are done and past their time; one caller sends, one after the other, first
with nothing else going on, then while all of them are deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.core import open_core
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import MessageQueue
from swarmdeck.engine.settings import load_settings

DAY_US = 86_400_000_000
PART = 500


async def main(messages: int) -> None:
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    told = {"queue.depth.development": 10_000_000}
    settings = load_settings(None, {}, told)
    with tempfile.TemporaryDirectory() as directory:
        async with open_core(
            Path(directory),
            settings=settings,
            transient=True,
            headless=True,
            clock=SystemClock(),
            brief=True,
        ) as core:
            place = core.places["development"]
            queue = place.queue
            await _fill(queue, messages)
            await place.database.write(
                lambda tx: tx.execute(
                    "UPDATE message SET created_at = created_at - ?, updated_at = updated_at - ?",
                    (2 * DAY_US, 2 * DAY_US),
                )
            )
            await place.database.checkpoint()
            alone = await _send_while(queue, lambda: len(times) >= 1_000, times := [])
            cleaning = asyncio.create_task(_clean(queue))
            beside = await _send_while(queue, cleaning.done, times := [])
            gone, took_s = await cleaning
    print(f"{gone:,} messages deleted in {took_s:.1f} s; load {os.getloadavg()[0]:.1f}")
    for name, found in (("alone", alone), ("beside", beside)):
        print(
            f"send {name}: {len(found):,} calls, p50 {statistics.median(found):.2f} ms, "
            f"p99 {statistics.quantiles(found, n=100)[98]:.2f} ms, most {max(found):.1f} ms"
        )


async def _fill(queue: MessageQueue, messages: int) -> None:
    body = b'{"path": "' + b"x" * 500 + b'"}'
    for _ in range(messages // PART):
        await asyncio.gather(*(queue.send(OPERATOR_PRINCIPAL, "work", body) for _ in range(PART)))
        while found := await queue.claim(OPERATOR_PRINCIPAL, 100):
            await asyncio.gather(
                *(queue.ack(OPERATOR_PRINCIPAL, message[0], message[4]) for message in found)
            )


async def _clean(queue: MessageQueue) -> tuple[int, float]:
    began_s, gone = time.perf_counter(), await queue.retention.sweep(0.2)
    while queue.retention.is_behind:
        gone += await queue.retention.sweep(0.2)
    return gone, time.perf_counter() - began_s


async def _send_while(
    queue: MessageQueue, over: Callable[[], bool], times: list[float]
) -> list[float]:
    while not over() or not times:
        began_s = time.perf_counter()
        await queue.send(OPERATOR_PRINCIPAL, "other", b"1")
        times.append((time.perf_counter() - began_s) * 1000)
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=50_000)
    asyncio.run(main(parser.parse_args().messages))
