"""A database for each test, on a clock that moves only when told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.swarmdb import SwarmDB

Spawn = Callable[..., dict[str, Any]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarm.db"


@pytest.fixture
def db(path: Path, clock: FakeClock) -> Iterator[SwarmDB]:
    with SwarmDB(path, clock=clock) as opened:
        yield opened


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times without a zone are local ones: nothing may depend on where that is."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def spawn() -> Spawn:
    """An event to insert, with what a test wants to be otherwise."""

    def make(**otherwise: Any) -> dict[str, Any]:
        return {
            "event_type": "spawn",
            "agent_id": "a1",
            "agent_type": "writer",
            "timestamp": "2023-11-14T12:00:00",
            "metadata": {"model": "large"},
        } | otherwise

    return make
