"""A leak beside neighbours: where it is stopped, and what the others notice of it.

    python tests/probes/memory_guard.py [--rounds 5] [--rate 200] [--share 300]

Starts an engine with four workers, and in turns lets a neighbour set and get records at an even
pace beside nothing, and beside a swarm of one agent that takes `--rate` MB a second of a share of
`--share` MB until it is stopped: as data, which the limit of its process refuses, and as shared
memory, which only the guard sees. The 95th percentile of all calls beside leaks is compared to that
of all calls without. Prints one JSON document and ends what it started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from served import Served, resident, serve

from swarmdeck.engine import Engine, connect

END_S: Final = 10.0
PACE_S: Final = 0.01
LOOK_S: Final = 0.002
MB: Final = 1 << 20
LEAK: Final = """
import mmap, sys, time
kind, rate = sys.argv[1], float(sys.argv[2])
held, begun, page = [], time.monotonic(), b"x" * 4096
while True:
    while len(held) < (time.monotonic() - begun) * rate:
        if kind == "data":
            held.append(bytearray(page) * 256)
        else:
            piece = mmap.mmap(-1, 1 << 20)
            for at in range(0, 1 << 20, 4096):
                piece[at] = 1
            held.append(piece)
    time.sleep(0.002)
"""


class Round(NamedTuple):
    """A leak that was stopped: the most it held, why it ended, and what each call of a neighbour
    waited meanwhile, in milliseconds."""

    peak_bytes: int
    reason: str
    waited_ms: list[float]


class Neighbour:
    """Sets and gets records at an even pace until it is stopped."""

    def __init__(self, engine: Engine) -> None:
        self.waited_ms: list[float] = []
        self._memory = engine.memory("development")
        self._number = 0
        self._task = asyncio.create_task(self._call())

    async def _call(self) -> None:
        while True:
            begun, number = time.perf_counter(), self._number
            await self._memory.set(f"k{number % 1000}", {"text": "near " * 20}, level="public")
            await self._memory.get(f"k{(number * 7) % 1000}")
            self.waited_ms.append((time.perf_counter() - begun) * 1000)
            self._number += 1
            await asyncio.sleep(PACE_S)

    async def stop(self) -> list[float]:
        self._task.cancel()
        await asyncio.wait({self._task})
        return self.waited_ms


async def calm(engine: Engine, seconds: float) -> list[float]:
    """What a neighbour waits where nothing leaks, in a probe that looks as often."""
    neighbour, end_s = Neighbour(engine), time.monotonic() + seconds
    while time.monotonic() < end_s:
        resident(os.getpid())
        await asyncio.sleep(LOOK_S)
    return await neighbour.stop()


async def leaking(engine: Engine, kind: str, rate: float, share: int) -> Round:
    """One leak from its start until it is stopped."""
    command = [sys.executable, "-c", LEAK, kind, str(rate)]
    swarm = await engine.swarms.create("testing", agents=1, memory_bytes=share, command=command)
    (agent,) = await engine.agents.list("testing", swarm=swarm.id)
    neighbour, peak = Neighbour(engine), 0
    while agent.pid is not None and (held := resident(agent.pid)):
        peak = max(peak, held)
        await asyncio.sleep(LOOK_S)
    waited = await neighbour.stop()
    async with asyncio.timeout(END_S):
        while not (reason := (await engine.agents.get(agent.id)).reason):
            await asyncio.sleep(LOOK_S)
    await engine.swarms.terminate(swarm.id, force=True)
    return Round(peak, reason, waited)


def p95(waited: Iterable[list[float]]) -> float:
    return statistics.quantiles([each for some in waited for each in some], n=20)[-1]


async def measure(served: Served, rounds: int, rate: float, share: int) -> dict[str, object]:
    found: dict[str, object] = {}
    async with connect(served.data) as engine:
        await engine.swarms.create("development", agents=4, memory_bytes=1 << 30)
        await calm(engine, share / MB / rate)  # warm
        for kind in ("data", "shared"):
            before, after = [], []
            for _ in range(rounds):
                before.append(await calm(engine, share / MB / rate))
                after.append(await leaking(engine, kind, rate, share))
            quiet_ms, beside_ms = p95(before), p95(each.waited_ms for each in after)
            found[kind] = {
                "peak_mb": [round(each.peak_bytes / MB, 1) for each in after],
                "peak_of_share": round(max(each.peak_bytes for each in after) / share, 3),
                "neighbour_p95_ms": round(quiet_ms, 2),
                "neighbour_p95_ms_beside_the_leak": round(beside_ms, 2),
                "p95_ratio": round(beside_ms / quiet_ms, 3),
                "reason": after[-1].reason,
            }
    return found


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=10)
    asked.add_argument("--rate", type=float, default=200.0)
    asked.add_argument("--share", type=int, default=300)
    given = asked.parse_args()
    with serve({"agents.spawn_per_minute": 1000}) as served:
        found = asyncio.run(measure(served, given.rounds, given.rate, given.share * MB))
    asked_for = {"share_mb": given.share, "rate_mb_s": given.rate, "load": os.getloadavg()[0]}
    print(json.dumps(asked_for | found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
