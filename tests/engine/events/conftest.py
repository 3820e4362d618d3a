"""A world for events: an engine with a clock of our own, and agents of two swarms and a team."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.eventlog.handle import Events
from swarmdeck.engine.eventlog.service import EventLog
from swarmdeck.engine.settings import load_settings

DEV = "development"


class World(NamedTuple):
    """`one` and `two` are of one swarm, `one` and `three` of one team, `four` is alone."""

    core: Core
    clock: FakeClock
    swarm: str
    other: str
    team: str
    one: str
    two: str
    three: str
    four: str

    @property
    def log(self) -> EventLog:
        return self.core.places[DEV].events

    def events(self, agent: str | None = None) -> Events:
        return self.core.engine.eventlog(DEV, as_=agent)

    async def tamper(self, statement: str) -> None:
        """Change the file behind the engine."""
        await self.core.places[DEV].database.write(lambda tx: tx.execute(statement))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    settings = load_settings(None, {}, {"queue.backoff_jitter": 0.0, "queue.backoff_base_s": 2.0})
    async with open_core(
        tmp_path / "data",
        settings=settings,
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
                ("three", swarms[1].id, team.id), ("four", None, None),
            )
        ]  # fmt: skip
        yield World(core, clock, swarms[0].id, swarms[1].id, team.id, *(each.id for each in agents))
