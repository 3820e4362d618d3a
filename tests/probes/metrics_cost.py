"""What measuring costs: CPU of one step with so many agent processes, and of showing it.

    python tests/probes/metrics_cost.py [--agents 74] [--steps 40]

The processes only sleep; what is measured is the engine. Prints the CPU of a step, its share of a
processor at the default interval, what of that is reading /proc, and the CPU of a window.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.metrics.sensors import LinuxSensors
from swarmdeck.engine.metrics.service import Metrics
from swarmdeck.engine.metrics.windows import WINDOWS
from swarmdeck.engine.settings import load_settings

PLACES = {"production": 20, "development": 16, "testing": 12, "research": 16, "staging": 10}


async def cpu_ms(work: Callable[[], Awaitable[object]], times: int) -> float:
    """The median CPU of this process, all threads, for one run."""
    found = []
    for _ in range(times):
        began_s = time.process_time()
        await work()
        found.append((time.process_time() - began_s) * 1000)
    return statistics.median(found)


async def populate(core: Core, agents: int) -> None:
    left = agents
    for place, most in PLACES.items():
        count = min(most, left)
        left -= count
        if count:
            await core.engine.swarms.create(
                place, agents=count, memory_bytes=count << 24, command=["sleep", "3600"]
            )


async def probe(agents: int, steps: int) -> None:
    settings = load_settings(None, {"SWARMDECK_AGENTS__SPAWN_PER_MINUTE": "10000"}, {})
    clock = FakeClock(int(time.time()) // 3600 * 3_600_000_000)
    with tempfile.TemporaryDirectory() as folder:
        async with open_core(
            Path(folder), settings=settings, transient=False, headless=True, clock=clock
        ) as core:
            await populate(core, agents)
            core.metrics = metrics = Metrics(core)

            async def step() -> None:
                clock.advance(30)
                metrics.tick(0.5)
                if metrics._measuring is not None:
                    await metrics._measuring

            await step()
            step_ms = await cpu_ms(step, steps)
            pids = [agent.pid for agent in core.swarms.agents() if agent.pid]
            files = {name: place.database.path for name, place in core.places.items()}
            sensors = LinuxSensors(core.host.probe)

            async def sense() -> None:
                sensors.read(pids, files)

            sense_ms = await cpu_ms(sense, steps)
            load = os.getloadavg()[0]
            print(f"{len(pids)} agents, {len(await metrics.list())} subjects, load {load:.1f}")
            print(f"a step {step_ms:.1f} ms CPU, {step_ms / 300:.3f} % of a processor every 30 s")
            print(f"of that {sense_ms:.1f} ms reading /proc on a thread")
            print(f"list {await cpu_ms(metrics.list, steps):.2f} ms")
            for window in WINDOWS:
                show_ms = await cpu_ms(lambda w=window: metrics.show("development", (), w), steps)
                print(f"show development {window}: {show_ms:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="what measuring costs")
    parser.add_argument("--agents", type=int, default=74)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    asyncio.run(probe(given.agents, given.steps))


if __name__ == "__main__":
    main()
