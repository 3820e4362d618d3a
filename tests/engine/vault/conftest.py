"""One environment with its vault, opened and closed as often as a test wants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import codec
from swarmdeck.engine.acl import Access
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.memory.staging import SELECT_ENTRY
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Environment, Principal, Role
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import Database, StoreOptions, open_database
from swarmdeck.engine.vault import Ring, Vault

OWNER = Principal("dev_agent_owner", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
OTHER = Principal("dev_agent_other", Role.AGENT, "development")


class Site:
    """An environment in use."""

    owner = OWNER
    other = OTHER
    operator = OPERATOR_PRINCIPAL

    def __init__(self, vault: Vault, database: Database, store: MemoryStore) -> None:
        self.vault = vault
        self.database = database
        self.store = store
        self.name = database.env
        self.ring: Ring = vault.ring(database.env)

    async def put(self, key: str, value: Any, level: str = "private", **options: Any) -> int:
        who = options.pop("who", OWNER)
        namespace = options.pop("namespace", "default")
        return await self.store.set(who, namespace, key, *codec.encode(value), level, **options)

    async def get(self, key: str, namespace: str = "default", who: Principal = OWNER) -> Any:
        found = self.store.get(who, namespace, key)
        found = await found if asyncio.isfuture(found) else found
        return None if found is None else codec.decode(found[0], found[1])

    async def row(self, key: str, namespace: str = "default") -> tuple[Any, ...]:
        """What is stored, in the order a ring opens it."""
        place = (self.name, namespace, key)
        row = await self.database.read(lambda r: r.execute(SELECT_ENTRY, place).fetchone())
        assert row is not None
        return row

    async def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda r: r.execute(statement, parameters).fetchall())

    async def change(self, statement: str, *parameters: object) -> None:
        """Change the file behind the engine's back."""
        await self.database.write(lambda tx: tx.execute(statement, parameters))
        self.store.cache.close()
        self.store.cache.reopen()

    async def keys(self) -> dict[str, int]:
        """How many keys are in which state."""
        found = await self.rows("SELECT state, count(*) FROM data_key GROUP BY state")
        return dict(found)


Opening = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opening(tmp_path: Path, clock: FakeClock) -> Opening:
    """Open an environment of one data directory, with settings of choice."""

    @asynccontextmanager
    async def opened(
        environment: str = "development",
        *,
        env: dict[str, str] | None = None,
        directory: Path = tmp_path,
        cache_bytes: int = 0,
        **settings: Any,
    ) -> AsyncIterator[Site]:
        overrides = {name.replace("__", "."): value for name, value in settings.items()}
        known = load_settings(None, env or {}, overrides)
        vault = Vault.open(directory, known, clock)
        async with open_database(
            directory / f"{environment}.db", environment, options=StoreOptions(), clock=clock
        ) as database:
            isolation = {name.value: kind for name, kind in known.isolation.items()}
            access = Access(Environment(environment), isolation, database, clock)
            await access.open()
            ring = vault.ring(environment)
            store = MemoryStore(database, access, clock, ring=ring, cache_bytes=cache_bytes)
            await store.open()
            vault.attach(environment, database, store)
            try:
                yield Site(vault, database, store)
            finally:
                await vault.finish(environment)

    return opened


@pytest.fixture
async def site(opening: Opening) -> AsyncIterator[Site]:
    async with opening() as made:
        yield made


def stress(quick: int, full: int) -> int:
    """How often: `full` under STRESS."""
    return full if os.environ.get("STRESS") else quick


@pytest.fixture
def times() -> Callable[[int, int], int]:
    return stress
