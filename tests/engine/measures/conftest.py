"""A world for metrics: an engine with a clock of our own, and agents of a swarm and of none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.measures.handle import Measures
from swarmdeck.engine.measures.service import Measures as Service
from swarmdeck.engine.store.database import Reader

DEV = "development"


class World(NamedTuple):
    """`one` and `two` are of one swarm, `alone` is of none."""

    core: Core
    clock: FakeClock
    one: str
    two: str
    alone: str

    @property
    def service(self) -> Service:
        return self.core.places[DEV].measures

    def measures(self, agent: str | None = None) -> Measures:
        return self.core.engine.measures(DEV, as_=agent)

    async def rows(self) -> list[tuple[int, int]]:
        """Length of step and count of every sample."""

        def query(reader: Reader) -> list[tuple[int, int]]:
            statement = "SELECT step_s, count FROM sample ORDER BY step_s, at"
            return [(row[0], row[1]) for row in reader.execute(statement)]

        return await self.core.places[DEV].database.read(query)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock(start_us=1_699_999_200_000_000)  # a full hour
    async with open_core(
        tmp_path / "data", settings=None, transient=True, brief=True, headless=False, clock=clock
    ) as core:
        engine = core.engine
        swarm = await engine.swarms.create(DEV, agents=0, memory_bytes=64 << 20)
        agents = [
            await engine.agents.register(DEV, name=name, swarm=home)
            for name, home in (("one", swarm.id), ("two", swarm.id), ("alone", None))
        ]
        yield World(core, clock, *(each.id for each in agents))
