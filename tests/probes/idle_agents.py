"""What an engine costs while its agents wait for work: processor share of `swarmdeck serve`.

    python tests/probes/idle_agents.py [--agents 50] [--seconds 30]

Starts an engine with so many bundled workers, each a process with a connection, waits until all are
ready, and reads the processor time of the engine's threads before and after. The percentages are of
one core and hardly depend on what else the machine does. Prints one JSON document and ends what it
started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Final

from served import Served, cpu_s, serve

from swarmdeck.engine import connect

READY_S: Final = 300.0
SETTLE_S: Final = 10.0  # heartbeats and claims of all agents have come round
SHARES: Final = {"production": 20, "development": 16, "testing": 12, "research": 16, "staging": 10}
MEMORY_BYTES: Final = 1 << 30


async def measure(served: Served, agents: int, seconds: float) -> dict[str, object]:
    async with connect(served.data) as engine:
        left = agents
        for name, most in SHARES.items():
            if more := min(left, most):
                await engine.swarms.create(name, agents=more, memory_bytes=MEMORY_BYTES)
                left -= more
        async with asyncio.timeout(READY_S):
            ready = 0
            while ready < agents:
                await asyncio.sleep(1)
                found = await engine.agents.list()
                ready = sum(agent.state == "ready" for agent in found)
    await asyncio.sleep(SETTLE_S)
    before = cpu_s(served.pid)
    await asyncio.sleep(seconds)
    spent = {name: each - before.get(name, 0.0) for name, each in cpu_s(served.pid).items()}
    threads = {name: round(each / seconds * 100, 2) for name, each in spent.items()}
    async with connect(served.data) as engine:
        overview = await engine.views.overview()
    return {
        "agents": len(overview.agents),
        "ready": sum(agent.state == "ready" for agent in overview.agents),
        "enforcement": overview.host.enforcement,
        "seconds": seconds,
        "percent_of_a_core": round(sum(spent.values()) / seconds * 100, 2),
        "threads": threads,
        "load": [round(each, 2) for each in os.getloadavg()],
    }


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--agents", type=int, default=50)
    asked.add_argument("--seconds", type=float, default=30.0)
    given = asked.parse_args()
    with serve({"agents.spawn_per_minute": 1000}) as served:
        found = asyncio.run(measure(served, given.agents, given.seconds))
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
