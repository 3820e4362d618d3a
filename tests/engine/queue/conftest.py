"""A queue over a real database file, in a small town of agents, on a clock that stands still."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Denied
from swarmdeck.engine.memory.staging import SELECT_KEYS
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role
from swarmdeck.engine.queue import MessageQueue
from swarmdeck.engine.queue.counters import read_snapshot
from swarmdeck.engine.queue.statements import STATES
from swarmdeck.engine.settings import PerEnvironment, QueueSettings, load_settings
from swarmdeck.engine.store.database import (
    Database,
    Reader,
    StoreOptions,
    Transaction,
    open_database,
)
from swarmdeck.engine.vault import Ring, Vault

SWARM = "dev_swarm_a"
TEAM = "dev_team_web"


class Town:
    """A directory that tests change as they like."""

    def __init__(self) -> None:
        self.agents: dict[str, Principal] = {}
        self.draining = False
        self.over: dict[str, str] = {}  # who has ended, and why
        for name in "abc":
            self.settle(f"dev_agent_{name}")

    def settle(self, ident: str, *, teams: tuple[str, ...] = (), swarm: str = SWARM) -> Principal:
        agent = Principal(ident, Role.AGENT, "development", swarm, teams)
        self.agents[ident] = agent
        return agent

    def knows(self, ident: str) -> bool:
        return ident in self.agents or ident in {SWARM, TEAM}

    def ended(self, ident: str) -> str:
        return self.over.get(ident, "")

    def members(self, ident: str | None) -> Iterable[str]:
        if ident in self.agents:
            return [ident]
        return [
            name
            for name, agent in self.agents.items()
            if ident is None or agent.swarm == ident or ident in agent.teams
        ]

    def principal(self, ident: str) -> Principal | None:
        return self.agents.get(ident)

    def targets(self, principal: Principal) -> Iterable[str]:
        now = self.agents.get(principal.id, principal)
        return (now.id, *now.teams, *((now.swarm,) if now.swarm else ()))

    def may_claim(self, principal: Principal) -> bool:
        return not self.draining


class NotedWrites:
    """Writes as team rows: `refused` is an agent that may not write."""

    def __init__(self) -> None:
        self.refused = ""
        self.staged: list[tuple[str, str]] = []
        self.published: list[str] = []

    def check_writes(self, writes: Iterable[Sequence[Any]]) -> list[str]:
        return [str(write[1]) for write in writes]

    def stage(
        self, tx: Transaction, worker: Principal, sender: Principal | None, writes: Sequence[str]
    ) -> list[str]:
        self.staged.append((worker.id, sender.id if sender else ""))
        if self.refused in {worker.id, sender.id if sender else ""}:
            raise Denied(f"{self.refused} may not write")
        insert = "INSERT INTO team (env, id, name, created_at, updated_at) VALUES (?, ?, '', 0, 0)"
        tx.executemany(insert, [(tx.env, key) for key in writes])
        return list(writes)

    def committed(self, staged: list[str]) -> None:
        self.published += staged


@cache
def vault_folder() -> Path:
    """One vault.json for all files of a test process: making one waits for the disk."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


async def open_ring(database: Database) -> Ring:
    """The keys of the environment, as the file has them."""
    vault = Vault.open(vault_folder(), load_settings(None, {}, {}), FakeClock())
    ring = vault.ring("development")
    ring.learn(
        await database.read(lambda reader: reader.execute(SELECT_KEYS, (reader.env,)).fetchall())
    )
    return ring


class Scene:
    """The queue under test with short forms of what tests do all the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.town = Town()
        self.writes = NotedWrites()
        self.settings = QueueSettings(
            max_attempts=3, lease_s=30, backoff_base_s=1, backoff_cap_s=60, backoff_jitter=0.1,
            done_keep_s=86_400, ended_keep_s=86_400, dead_keep_s=30 * 86_400,
            depth=PerEnvironment[int](*[100_000] * 5),
        )  # fmt: skip
        self.a, self.b, self.c = self.town.agents.values()
        self.queue: MessageQueue
        self.ring: Ring
        self.database: Database
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        opened = open_database(self.path, "development", options=StoreOptions(), clock=self.clock)
        self.database = await self._stack.enter_async_context(opened)
        self.ring = await open_ring(self.database)
        self.queue = MessageQueue(
            self.database, self.settings, self.clock, self.town, self.writes, self.ring
        )
        await self.queue.open()
        self._stack.push_async_callback(self.queue.close)

    async def close(self) -> None:
        await self._stack.aclose()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    def send(self, kind: str = "work", body: bytes = b"1", **fields: Any) -> asyncio.Future[str]:
        return self.queue.send(OPERATOR_PRINCIPAL, kind, body, **fields)

    async def claim(self, agent: Principal | None = None, limit: int = 1, **how: Any) -> list[Any]:
        return await self.queue.claim(agent or self.a, limit, **how)

    async def ids(self, agent: Principal | None = None, limit: int = 100, **how: Any) -> list[str]:
        """Ids of what a claim gets."""
        return [message[0] for message in await self.claim(agent, limit, **how)]

    async def state(self, ident: str) -> str:
        return (await self.queue.show(ident)).state

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.queue.tick()

    def counts(self) -> dict[str, int]:
        """States that are not empty."""
        counts = self.queue.counts()
        found = {name: getattr(counts, name) for name in counts.__struct_fields__}
        return {name: count for name, count in found.items() if count}

    async def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        def query(reader: Reader) -> list[tuple[Any, ...]]:
            return reader.execute(sql, parameters).fetchall()

        return await self.database.read(query)

    async def check(self) -> None:
        """What is kept in memory is what the file says."""
        snapshot = await self.database.read(read_snapshot)
        counters = self.queue.counters
        rows = await self.rows("SELECT state, count(*) FROM message GROUP BY state ORDER BY state")
        names = list(counters.counts().__struct_fields__)
        assert self.counts() == {names[state]: count for state, count in rows}
        in_lanes = {
            (target, kind): counters.lanes.ready(target, kind)
            for target in counters.lanes.filled()
            for kind in counters.lanes.kinds(target)
        }
        ready = Counter[tuple[str, str]]()
        for target, kind, _, count in snapshot.ready:
            ready[target, kind] += count
        assert in_lanes == dict(ready)
        leases = {ident: tuple(lease) for ident, *lease in snapshot.leases}
        assert {i: tuple(lease) for i, lease in counters.leases.items()} == leases
        assert dict(counters.done_by) == dict(snapshot.done)
        assert counters.redelivered == snapshot.redelivered
        assert counters.leased_by.total() == len(leases)
        await self.check_lanes()

    async def check_lanes(self) -> None:
        """What is told of the priorities is what a recount of the rows says."""
        rows = await self.rows(
            "SELECT priority, state, count(*), min(created_at) FROM message GROUP BY 1, 2"
        )
        told = {state: STATES.index(state) for state in ("ready", "delayed", "leased", "dead")}
        counted = {(priority, state): count for priority, state, count, _ in rows}
        oldest = {priority: sent_us for priority, state, _, sent_us in rows if state == 0}
        views = self.queue.lane_views()
        assert [view.priority for view in views] == list(range(10, 0, -1))
        for view in views:
            for name, state in told.items():
                assert getattr(view, name) == counted.get((view.priority, state), 0), view
            assert view.oldest_at_us == oldest.get(view.priority)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """An empty queue of the development environment."""
    made = Scene(tmp_path / "development.db")
    await made.open()
    try:
        yield made
        await made.check()
    finally:
        await made.close()


@pytest.fixture
def make_scene() -> Callable[[Path], Scene]:
    """For tests that open and close by themselves."""
    return Scene
