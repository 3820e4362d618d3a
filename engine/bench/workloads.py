"""The workloads of `bench run`, on an engine of their own in a scratch directory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from ..acl import Standing
from ..core import Core, open_core
from ..model import Level, Principal, Right, Role
from ..views import AgentView, BenchView
from .measure import RECORDS, Run, drive, key, values
from .names import CLAIM_BATCH, NAMES, chosen

ENVIRONMENT: Final = "development"
DECISIONS_A_CALL: Final = 1000

Workload = Callable[["Bench", int, float], Awaitable[Run]]


class Bench:
    """An engine to measure, with the agent that all workloads act as."""

    def __init__(self, core: Core, agent: AgentView) -> None:
        self.core = core
        self.agent = agent
        self.memory = core.engine.memory(agent)
        self.queue = core.engine.queue(ENVIRONMENT, as_=agent)
        self.values = values()

    async def fill(self) -> None:
        """Store every key that the workloads read."""
        keys = [f"k{number:08d}" for number in range(RECORDS)]
        for start in range(0, RECORDS, 500):
            part = keys[start : start + 500]
            await asyncio.gather(*(self.set_key(name) for name in part))

    async def set_key(self, name: str) -> None:
        await self.memory.set(name, self.values[hash(name) % len(self.values)], level="team")

    async def set(self, chance: random.Random) -> None:
        value = self.values[chance.randrange(len(self.values))]
        await self.memory.set(key(chance), value, level="team")

    async def get(self, chance: random.Random) -> None:
        await self.memory.get(key(chance))

    async def send(self, chance: random.Random) -> None:
        await self.queue.send("bench", {"n": chance.randrange(1000)}, priority=5)

    async def claim(self, _: random.Random) -> None:
        for message in await self.queue.claim(CLAIM_BATCH, lease_s=60):
            await self.queue.ack(message)


@asynccontextmanager
async def open_bench(scratch: Path) -> AsyncIterator[Bench]:
    """A bench on a fresh engine below `scratch`."""
    async with open_core(
        scratch / "engine", settings=None, transient=True, headless=True, clock=None
    ) as core:
        agents = core.engine.agents
        team = await agents.create_team(ENVIRONMENT, name="bench")
        agent = await agents.register(ENVIRONMENT, name="bench", team=team.id)
        yield Bench(core, agent)


async def _set(bench: Bench, concurrency: int, seconds: float) -> Run:
    return await drive(bench.set, concurrency, seconds)


async def _get(bench: Bench, concurrency: int, seconds: float) -> Run:
    await bench.fill()
    return await drive(bench.get, concurrency, seconds)


async def _send(bench: Bench, concurrency: int, seconds: float) -> Run:
    return await drive(bench.send, concurrency, seconds)


async def _claim(bench: Bench, concurrency: int, seconds: float) -> Run:
    done_before = bench.core.places[ENVIRONMENT].queue.counts().done
    ahead = int(20_000 * seconds) + CLAIM_BATCH * concurrency
    chance = random.Random(1)  # noqa: S311 - the same work in every run
    for start in range(0, ahead, 500):
        await asyncio.gather(*(bench.send(chance) for _ in range(min(500, ahead - start))))
    consumers = max(1, concurrency // CLAIM_BATCH)
    run = await drive(bench.claim, consumers, seconds)
    done = bench.core.places[ENVIRONMENT].queue.counts().done - done_before
    return Run(done, run.elapsed_s, run.latencies_us)


async def _decide(bench: Bench, concurrency: int, seconds: float) -> Run:
    del concurrency  # a decision waits for nothing
    access = bench.core.places[ENVIRONMENT].access
    principal = Principal(bench.agent.id, Role.AGENT, ENVIRONMENT, None, bench.agent.teams)
    record = Standing(Level.SWARM, "dev_agent_other", "dev_team_other", "dev_swarm_other")

    async def decide(_: random.Random) -> None:
        for _number in range(DECISIONS_A_CALL):
            access.verdict(principal, Right.READ, record, "default", "k")

    return await drive(decide, 1, seconds, weight=DECISIONS_A_CALL)


_WORKLOADS: Final[dict[str, Workload]] = {
    "memory.set": _set,
    "memory.get": _get,
    "queue.send": _send,
    "queue.claim": _claim,
    "access.decide": _decide,
}


async def run(
    names: tuple[str, ...],
    *,
    scratch: Path,
    concurrency: int,
    seconds: float,
    progress: Callable[[float, str], Any],
) -> list[BenchView]:
    """Measure each workload on a fresh engine."""
    found: list[BenchView] = []
    wanted = chosen(names)
    for number, name in enumerate(wanted):
        progress(number / len(wanted), name)
        async with open_bench(scratch / str(number)) as bench:
            measured = await _WORKLOADS[name](bench, concurrency, seconds)
            found.append(measured.view(name, NAMES[name], concurrency, bench.core.clock.wall_us()))
    return found
