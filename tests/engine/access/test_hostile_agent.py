"""What an agent tries that has a token and means no good: to learn, to forge, to fill up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swarmdeck.engine import Engine, connect
from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import grants
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput

DEV = "development"


class World(NamedTuple):
    """An engine, an agent that owns records, and one that is after them, over the socket."""

    core: Core
    engine: Engine
    owner: str
    hostile: str
    link: Engine
    stack: AsyncExitStack

    async def attach(self, **kind: Any) -> tuple[str, Engine]:
        return await attach(self.core, self.stack, **kind)

    async def rows(self, actor: str, action: str) -> int:
        statement = "SELECT count(*) FROM audit WHERE actor = ? AND action = ?"
        database = self.core.places[DEV].database
        return await database.read(
            lambda reader: reader.execute(statement, (actor, action)).fetchone()[0]
        )


async def attach(core: Core, stack: AsyncExitStack, **kind: Any) -> tuple[str, Engine]:
    agent = (await core.engine.agents.register(DEV, name="x", **kind)).id
    token = await core.engine.run(act.AgentToken(id=agent))
    link = await stack.enter_async_context(connect(core.data, agent=agent, token=token.token))
    return agent, link


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(
            open_core(tmp_path, settings=None, transient=False, headless=True, clock=None)
        )
        owner = (await core.engine.agents.register(DEV, name="owner")).id
        hostile, link = await attach(core, stack)
        yield World(core, core.engine, owner, hostile, link, stack)


# --- to learn ------------------------------------------------------------------------------------


async def test_a_write_that_is_denied_tells_neither_version_nor_level(world: World) -> None:
    mine = world.engine.memory(world.owner)
    for level in ("private", "team", "swarm", "public"):
        for _ in range(7):
            await mine.set(level, "v", level=level)
    memory = world.link.memory(world.hostile)
    for key in ("private", "team", "swarm"):
        said = set()
        for version in (None, 0, 6, 7):
            with pytest.raises(Denied) as caught:
                await memory.set(key, "w", if_version=version)
            said.add(caught.value.message.replace(key, "KEY"))
        assert len(said) == 1
        assert "level" not in said.pop()
    with pytest.raises(Denied, match="at level public"):  # it may read that one
        await memory.set("public", "w")


async def test_a_key_looks_alike_at_every_level_to_who_may_not_read_it(world: World) -> None:
    mine = world.engine.memory(world.owner)
    said = []
    for level in ("private", "team", "swarm"):
        await mine.set("k", "v", level=level)
        with pytest.raises(Denied) as caught:
            await world.link.memory(world.hostile).set("k", "w")
        said.append(str(caught.value))
    assert len(set(said)) == 1


# --- to forge ------------------------------------------------------------------------------------


async def test_nobody_puts_words_into_the_mouth_of_another(world: World) -> None:
    steering, link = await world.attach(role="coordinator")
    ident = await world.engine.queue(DEV).send("work", {"do": "this"})
    with pytest.raises(Denied, match="did not write"):
        await link.run(act.QueueEdit(id=ident, body={"do": "that"}))
    assert (await link.run(act.QueueShow(id=ident))).body == {"do": "this"}
    assert await world.rows(steering, "queue.denied") == 1
    assert (await link.run(act.QueueEdit(id=ident, priority=9))).priority == 9
    own = await link.queue(DEV, as_=steering).send("work", 1)
    assert (await link.run(act.QueueEdit(id=own, body=2))).body == 2


# --- to fill up ----------------------------------------------------------------------------------


async def test_one_call_does_not_fill_the_trail_with_refusals(world: World) -> None:
    mine, memory = world.engine.memory(world.owner), world.link.memory(world.hostile)
    for start in range(0, 2_500, 500):
        await mine.mset({f"k{number:04}": 1 for number in range(start, start + 500)})
    await memory.mset({f"m{number:04}": 1 for number in range(1_200)})
    assert await memory.clear(namespace=None) == 1_200
    assert await memory.clear() == 0
    assert await world.rows(world.hostile, "memory.denied") == 0
    assert len(await mine.mget([f"k{number:04}" for number in range(2_500)])) == 2_500


@pytest.mark.parametrize("text", ["x" * 513, "\ud800"], ids=["long", "half"])
async def test_what_no_key_holds_is_not_looked_for(world: World, text: str) -> None:
    """Half a character ended all reading of an environment; long ones were kept for a minute."""
    await world.engine.memory(DEV).set("k", 1, level="public")
    memory = world.engine.memory(DEV)
    for call in (
        memory.keys(text),
        memory.keys(cursor=text),
        memory.clear(prefix=text),
        world.engine.run(act.MemoryList(environment=DEV, prefix=text)),
        world.engine.run(act.MemoryList(environment=DEV, contains=text)),
        world.engine.run(act.AclMatrix(environment=DEV, prefix=text)),
        world.engine.run(act.QueueList(environment=DEV, contains=text)),
        world.engine.run(act.AuditList(environment=DEV, contains=text)),
        world.engine.run(act.JournalList(environment=DEV, contains=text)),
    ):
        with suppress(InvalidInput):
            await call
        assert (await world.link.memory(world.hostile).keys())[0] == ["k"]
    assert not any(len(part) > 600 for key in world.core.places[DEV].reads._lists for part in key)


async def test_no_agent_piles_up_entries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "MAX_OF_AGENT", 5)
    made = [
        await world.link.run(act.AclDeny(subject=world.owner, level="public", key_prefix=f"k{n}"))
        for n in range(5)
    ]
    with pytest.raises(Conflict, match="5 entries"):
        await world.link.run(act.AclGrant(subject=world.owner, level="public"))
    await world.link.run(act.AclRevoke(id=made[0].id))
    await world.link.run(act.AclGrant(subject=world.owner, level="public"))
    for number in range(10):  # the operator answers for itself
        await world.engine.acl.deny(world.owner, level="public", key_prefix=f"o{number}")
