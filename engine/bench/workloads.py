"""The workloads of `bench run`, on an engine of their own in a scratch directory.

Those on the queue have an environment each, so that none meets another's messages; those on
memory share 20,000 records.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from ..acl import Standing
from ..core import Core, open_core
from ..handles import Memory, Queue
from ..model import Level, Principal, Right, Role
from ..settings import load_settings
from ..views import AgentView
from .measure import DRY, KIB, RECORDS, Limit, Run, drawn, drive, key, values
from .meter import Meter
from .names import CLAIM_BATCH
from .served import measured_with, serve

ENVIRONMENT: Final = "development"
ENVIRONMENTS: Final = (ENVIRONMENT, "testing", "research")  # alike: isolation apart, all NORMAL
KIND: Final = "bench"
DECISIONS_A_CALL: Final = 1000
MESSAGES_A_SECOND: Final = 40_000  # more than are claimed in one
MOST_AHEAD: Final = 100_000  # a repeat that has claimed so many ends early
WAIT_S: Final = 5.0


class Turn(msgspec.Struct, frozen=True):
    """One repeat of a workload: how many callers, how long, and who watches."""

    concurrency: int
    limit: Limit
    meter: Meter | None = None


Workload = Callable[["Bench", Turn], Awaitable[Run]]


class Shape(msgspec.Struct, frozen=True):
    """What the records of a bench are like: how large, sealed or only checked, compressed."""

    size_bytes: int = KIB
    sealed: bool = True
    compressed: bool = False

    @property
    def level(self) -> str:
        """Outside production and staging, team records are sealed and public ones are not."""
        return "team" if self.sealed else "public"

    def describe(self) -> str:
        """In words what the vault does to them."""
        words = "sealed with AES-256-GCM" if self.sealed else "checked by a MAC, not sealed"
        return f"{words}, LZ4 above 1,024 bytes" if self.compressed else words


class Records:
    """Memory as the workloads use it: values of one size below 20,000 keys."""

    def __init__(self, memory: Memory, shape: Shape) -> None:
        self._memory = memory
        self._level = shape.level
        self._values = values(shape.size_bytes)
        self._filled = False

    async def fill(self) -> None:
        """Store every key, once."""
        if self._filled:
            return
        self._filled = True
        keys = [f"k{number:08d}" for number in range(RECORDS)]
        for start in range(0, RECORDS, 500):
            part = enumerate(keys[start : start + 500])
            await asyncio.gather(
                *(self.write(name, self._values[n % len(self._values)]) for n, name in part)
            )

    async def set(self, chance: random.Random) -> None:
        await self.write(key(chance), drawn(chance, self._values))

    async def get(self, chance: random.Random) -> None:
        await self._memory.get(key(chance))

    async def read(self, name: str) -> object:
        return await self._memory.get(name)

    async def write(self, name: str, value: dict[str, Any]) -> None:
        await self._memory.set(name, value, level=self._level)

    async def scan(self, name: str, count: int) -> object:
        """Records behind this one, in order."""
        names, _ = await self._memory.keys(limit=count, cursor=name)
        return await self._memory.mget(names)


class Messages:
    """A queue as the workloads use it: small bodies."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._numbers = 0
        self.queued = 0
        self.acked = 0

    async def send(self, chance: random.Random) -> None:
        await self._send(chance.randrange(1000))
        self.queued += 1

    async def stock(self, count: int) -> None:
        """Send until so many are queued."""
        chance = random.Random(1)  # noqa: S311 - the same work in every run
        while (missing := count - self.queued) > 0:
            await asyncio.gather(*(self.send(chance) for _ in range(min(500, missing))))

    async def claim(self, _: random.Random) -> object:
        messages = await self._queue.claim(CLAIM_BATCH, lease_s=60)
        for message in messages:
            await self._queue.ack(message)
            self.queued -= 1
            self.acked += 1
        return None if messages else DRY

    async def pass_through(self, _: random.Random) -> None:
        """Send one message and wait until a consumer has acked it."""
        self._numbers += 1
        number = self._numbers
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._send(number)
        await done

    async def consume(self) -> None:
        """Claim and ack for ever what `pass_through` sends."""
        while True:
            for message in await self._queue.claim(CLAIM_BATCH, lease_s=60, wait_s=WAIT_S):
                await self._queue.ack(message)
                self._waiting.pop(message.body["n"]).set_result(None)

    async def _send(self, number: int) -> None:
        await self._queue.send(KIND, {"n": number}, priority=5)


class Bench:
    """An engine to measure, with the agent that acts, and another engine behind a socket."""

    def __init__(self, core: Core, agents: Mapping[str, AgentView], shape: Shape) -> None:
        engine = core.engine
        self.core = core
        self.agent = agents[ENVIRONMENT]
        self.queue = engine.queue(ENVIRONMENT, as_=self.agent)
        self.records = Records(engine.memory(self.agent), shape)
        self.messages = {
            name: Messages(engine.queue(name, as_=agent)) for name, agent in agents.items()
        }
        self.remote: Records | None = None


@asynccontextmanager
async def open_bench(
    scratch: Path,
    shape: Shape | None = None,
    *,
    remote: bool = False,
    told: Mapping[str, str] | None = None,
) -> AsyncIterator[Bench]:
    """A bench on a fresh engine below `scratch`, where its key is too; `remote` starts the one
    behind a socket, `told` are settings of the other."""
    shape = shape or Shape()
    scratch.mkdir(parents=True, exist_ok=True)
    data = scratch / "engine"
    given = measured_with(data) | {"store.compression": "true" if shape.compressed else "false"}
    given |= told or {}
    async with AsyncExitStack() as stack:
        settings = load_settings(None, os.environ, given)
        opening = open_core(data, settings=settings, transient=True, headless=True, clock=None)
        core = await stack.enter_async_context(opening)
        agents = {name: await _agent(core, name) for name in ENVIRONMENTS}
        bench = Bench(core, agents, shape)
        if remote:
            engine = await stack.enter_async_context(serve(scratch / "served"))
            bench.remote = Records(engine.memory(ENVIRONMENT), shape)
        yield bench


async def _agent(core: Core, environment: str) -> AgentView:
    team = await core.engine.agents.create_team(environment, name="bench")
    return await core.engine.agents.register(environment, name="bench", team=team.id)


async def _records(verb: str, bench: Bench, turn: Turn, *, remote: bool = False) -> Run:
    records = bench.remote if remote else bench.records
    assert records is not None
    await records.fill()
    return await drive(getattr(records, verb), turn.concurrency, turn.limit, meter=turn.meter)


async def _send(bench: Bench, turn: Turn) -> Run:
    messages = bench.messages["testing"]
    return await drive(messages.send, turn.concurrency, turn.limit, meter=turn.meter)


async def _claim(bench: Bench, turn: Turn) -> Run:
    messages = bench.messages[ENVIRONMENT]
    consumers = max(1, turn.concurrency // CLAIM_BATCH)
    calls = turn.limit.calls
    ahead = MESSAGES_A_SECOND * turn.limit.seconds if calls is None else CLAIM_BATCH * calls
    await messages.stock(min(MOST_AHEAD, int(ahead)) + CLAIM_BATCH * consumers)
    before = messages.acked
    run = await drive(messages.claim, consumers, turn.limit, weight=CLAIM_BATCH, meter=turn.meter)
    return msgspec.structs.replace(run, operations=messages.acked - before)


async def _end_to_end(bench: Bench, turn: Turn) -> Run:
    messages = bench.messages["research"]
    callers = drive(messages.pass_through, turn.concurrency, turn.limit, meter=turn.meter)
    driving = asyncio.create_task(callers)
    consumers = max(1, turn.concurrency // CLAIM_BATCH)
    tasks = {driving, *(asyncio.create_task(messages.consume()) for _ in range(consumers))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for failed in done - {driving}:
            failed.result()  # a consumer only ends by an error
        return driving.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _decide(bench: Bench, turn: Turn) -> Run:
    access = bench.core.places[ENVIRONMENT].access
    principal = Principal(bench.agent.id, Role.AGENT, ENVIRONMENT, None, bench.agent.teams)
    record = Standing(Level.SWARM, "dev_agent_other", "dev_team_other", "dev_swarm_other")

    async def decide(_: random.Random) -> None:
        for _number in range(DECISIONS_A_CALL):
            access.verdict(principal, Right.READ, record, "default", "k")

    # One caller: a decision waits for nothing.
    return await drive(decide, 1, turn.limit, weight=DECISIONS_A_CALL, mean=True, meter=turn.meter)


WORKLOADS: Final[dict[str, Workload]] = {
    "memory.set": partial(_records, "set"),
    "memory.get": partial(_records, "get"),
    "queue.send": _send,
    "queue.claim": _claim,
    "queue.end_to_end": _end_to_end,
    "access.decide": _decide,
    "socket.set": partial(_records, "set", remote=True),
    "socket.get": partial(_records, "get", remote=True),
}
