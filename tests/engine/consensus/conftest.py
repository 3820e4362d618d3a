"""A world for proposals and conflicts: an engine with a clock of our own, and some agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.conflicts.handle import Conflicts
from swarmdeck.engine.consensus.handle import Votes
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.environment import Place
from swarmdeck.engine.settings import load_settings

DEV = "development"
KEPT_S = 86_400.0


class World(NamedTuple):
    """`one` and `two` are of one swarm, `three` is of another, `one` and `three` of one team."""

    core: Core
    clock: FakeClock
    swarm: str
    team: str
    one: str
    two: str
    three: str

    @property
    def place(self) -> Place:
        return self.core.places[DEV]

    def votes(self, agent: str | None = None) -> Votes:
        return self.core.engine.consensus(DEV, as_=agent)

    def conflicts(self, agent: str | None = None) -> Conflicts:
        return self.core.engine.conflicts(DEV, as_=agent)

    async def tamper(self, statement: str) -> None:
        """Change the file behind the engine."""
        await self.place.database.write(lambda tx: tx.execute(statement))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    async with open_core(
        tmp_path / "data",
        settings=load_settings(None, {}, {}),
        transient=True,
        brief=True,
        headless=False,
        clock=clock,
    ) as core:
        engine = core.engine
        swarms = [await engine.swarms.create(DEV, agents=0, memory_bytes=64 << 20) for _ in "12"]
        team = await engine.agents.create_team(DEV, name="Web")
        agents = [
            await engine.agents.register(DEV, name=name, swarm=swarm, team=group)
            for name, swarm, group in (
                ("one", swarms[0].id, team.id), ("two", swarms[0].id, None),
                ("three", swarms[1].id, team.id),
            )
        ]  # fmt: skip
        yield World(core, clock, swarms[0].id, team.id, *(each.id for each in agents))
