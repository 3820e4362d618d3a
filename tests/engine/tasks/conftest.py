"""An engine with agents who have tasks. The reference that the graph is held against is found as a
module."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import views
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.tasks.handle import Tasks

sys.path.insert(0, str(Path(__file__).parent))

ENVIRONMENT = "development"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def core(clock: FakeClock) -> AsyncIterator[Core]:
    opening = open_core(Path(":memory:"), settings=None, transient=True, headless=True, clock=clock)
    async with opening as opened:
        yield opened


@pytest.fixture
def tasks(core: Core) -> Tasks:
    """As the operator."""
    return core.engine.tasks(ENVIRONMENT)


@pytest.fixture
async def agent(core: Core) -> views.AgentView:
    return await core.engine.agents.register(ENVIRONMENT, name="worker")


@pytest.fixture
def mine(core: Core, agent: views.AgentView) -> Tasks:
    """As that agent."""
    return core.engine.tasks(ENVIRONMENT, as_=agent)


@pytest.fixture
def audited(core: Core) -> Callable[[], Any]:
    """Actor, action, object and outcome of all that was done to tasks."""

    async def rows() -> list[tuple[Any, ...]]:
        statement = """
            SELECT actor, action, object, allowed, detail FROM audit
            WHERE action LIKE 'task.%' OR action LIKE 'dependency.%' ORDER BY sequence"""
        return await core.places[ENVIRONMENT].database.read(
            lambda reader: reader.execute(statement).fetchall()
        )

    return rows
