"""Events by name, and what they cost while nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Engine, connect, open_engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.bench import launch
from swarmdeck.engine.errors import Denied, InvalidInput, NotFound
from swarmdeck.engine.events import AgentRegistered, Finished
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.system.operations import MemoryOperation, ToldStore
from swarmdeck.engine.system.signals import Initialized


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """Over the socket, which is the longer way."""
    async with open_engine(tmp_path), connect(tmp_path) as attached:
        yield attached


class Ear:
    """Events in the order they came."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._more = asyncio.Event()

    async def __call__(self, event: object) -> None:
        self.heard.append(event)
        self._more.set()

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard


async def test_who_asks_is_told_at_once_that_the_engine_is_open(engine: Engine) -> None:
    ear = Ear()
    await engine.on("initialized", ear)
    assert ear.heard == [Initialized(str(engine.data), engine.attached)]


async def test_agents_are_announced(engine: Engine) -> None:
    ear = Ear()
    listening = await engine.on("agentRegistered", ear)
    agent = await engine.agents.register("testing", name="Web", type="frontend-dev")
    assert await ear.until(1) == [AgentRegistered(agent.id, "Web", "frontend-dev")]
    await listening.close()
    await listening.close()
    await engine.agents.register("testing", name="more")
    await engine.views.overview()
    assert len(ear.heard) == 1


async def test_what_fails_is_an_error(engine: Engine) -> None:
    ear = Ear()
    await engine.on("error", ear)
    with pytest.raises(NotFound):
        await engine.run(act.MemoryDelete(environment="testing", key="none"))
    (event,) = await ear.until(1)
    assert isinstance(event, Finished)
    assert event.error is not None
    assert (event.action, event.error.code) == ("memory.delete", "not_found")


async def test_benchmarks_say_that_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(launch, "measure", measure)
    async with open_engine(":memory:") as engine:
        ear = Ear()
        await engine.on("benchmarksCompleted", ear)
        await engine.run(act.VaultSeal())
        await engine.run(act.BenchRun())
        assert [event.action for event in await ear.until(1)] == ["bench.run"]


async def test_memory_operations_say_how_they_ended(engine: Engine) -> None:
    owner = await engine.agents.register("testing", name="A")
    other = await engine.agents.register("testing", name="B")
    ear = Ear()
    listening = await engine.on("memoryOperation", ear)
    mine, theirs = engine.memory(owner), engine.memory(other)
    await mine.set("k", 1, level="public")
    await mine.get("k")
    await mine.mget(["k", "none"])
    await mine.mset({"a": 1, "b": 2}, namespace="app")
    await mine.incr("n")
    await mine.keys()
    await mine.delete("n")
    await mine.clear(namespace="app")
    async with mine.batch() as batch:
        batch.set("x", 1)
        batch.delete("x")
    with pytest.raises(Denied):
        await theirs.set("k", 2)
    own = {"environment": "testing", "key": "k", "actor": owner.id}
    await engine.run(act.MemoryLevel(**own, level="team"))
    place = ("testing", owner.id)
    assert await ear.until(11) == [
        MemoryOperation(*place, "set", "default", "k"),
        MemoryOperation(*place, "get", "default", "k"),
        MemoryOperation(*place, "mget", "default", "", 2),
        MemoryOperation(*place, "mset", "app", "", 2),
        MemoryOperation(*place, "incr", "default", "n"),
        MemoryOperation(*place, "keys", "default", "", 0),
        MemoryOperation(*place, "delete", "default", "n"),
        MemoryOperation(*place, "clear", "app", "", 0),
        MemoryOperation(*place, "batch", "*", "", 2),
        MemoryOperation("testing", other.id, "set", "default", "k", error="denied"),
        MemoryOperation(*place, "level", "default", "k"),
    ]
    await listening.close()


async def test_while_nobody_listens_stores_have_nothing_to_ask() -> None:
    async with open_engine(":memory:") as engine:
        stores = [place.memory for place in engine._port._core.places.values()]  # type: ignore[attr-defined]
        assert {type(store) for store in stores} == {MemoryStore}
        first = await engine.on("memoryOperation", lambda _: None)
        second = await engine.on("memoryOperation", lambda _: None)
        assert {type(store) for store in stores} == {ToldStore}
        await first.close()
        assert {type(store) for store in stores} == {ToldStore}
        await second.close()
        assert {type(store) for store in stores} == {MemoryStore}


async def test_agents_hear_nothing_and_names_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine(tmp_path) as engine:
        with pytest.raises(InvalidInput, match="no event is called agentregistered"):
            await engine.on("agentregistered", print)
        agent = await engine.agents.register("testing", name="A")
        token = (await engine.run(act.AgentToken(id=agent.id))).token
        monkeypatch.setenv("AGENT_ID", agent.id)
        async with connect(tmp_path, agent=agent.id, token=token) as own:
            ear = Ear()
            listening = await own.on("agentRegistered", ear)
            await engine.agents.register("testing", name="B")
            await own.memory().set("k", 1)
            assert ear.heard == []
            await listening.close()


async def test_a_callback_that_fails_hears_the_next_event(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()

    def fail_first(event: AgentRegistered) -> Any:
        if event.name == "first":
            raise ValueError("no")
        return ear(event)

    call: Callable[[Any], Any] = fail_first
    await engine.on("agentRegistered", call)
    await engine.agents.register("testing", name="first")
    await engine.agents.register("testing", name="second")
    assert [event.name for event in await ear.until(1)] == ["second"]
    assert "a callback for agentRegistered failed" in caplog.text
