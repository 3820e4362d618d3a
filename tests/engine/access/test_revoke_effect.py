"""From revoke to effect: no read that began after a revoke returned finds anything, whichever way
it came in, and nothing more arrives on streams that were open before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Engine, connect
from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Access
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, NotFound, SwarmDeckError, Unavailable
from swarmdeck.engine.memory import MemoryStore

TRIES = 100_000 if "STRESS" in os.environ else 2_000
KEYS = [f"plan:{number}" for number in range(8)]
Change = Callable[[], Awaitable[object]]


class World:
    """An owner with records of its team, and a reader that may now and then read them."""

    def __init__(self, core: Core, stack: AsyncExitStack) -> None:
        self.core = core
        self.engine: Engine = core.engine
        self.place = core.places["development"]
        self.stack = stack
        self.entry = ""

    async def fill(self) -> None:
        self.team = (await self.engine.agents.create_team("development", name="Team")).id
        owner = await self.engine.agents.register("development", name="owner", team=self.team)
        self.owner = owner.id
        await self.engine.memory(self.owner).mset(dict.fromkeys(KEYS, 1), level="team")
        self.reader = await self.register()
        self.link = await self.attach(self.reader)

    async def register(self) -> str:
        return (await self.engine.agents.register("development", name="reader")).id

    async def attach(self, agent: str) -> Engine:
        token = await self.engine.run(act.AgentToken(id=agent))
        link = connect(self.core.data, agent=agent, token=token.token)
        return await self.stack.enter_async_context(link)

    # --- ways to read: whether anything was found -----------------------------------------

    def readers(self) -> list[Callable[[], Awaitable[bool]]]:
        mine, far = self.engine.memory(self.reader), self.link.memory(self.reader)
        principal = self.core.resolve(self.reader)

        async def get() -> bool:
            return await mine.get(KEYS[0]) is not None

        async def many() -> bool:
            return bool(await mine.mget(KEYS))

        async def pages() -> bool:
            page, cursor = await mine.keys("plan:", limit=2)
            later = await mine.keys("plan:", limit=2, cursor=cursor) if cursor else ([], None)
            return bool(page) or bool(later[0])

        async def linked() -> bool:
            return await far.get(KEYS[1]) is not None

        async def linked_many() -> bool:
            return bool(await far.mget(KEYS)) or await far.has(KEYS[2])

        async def linked_pages() -> bool:
            return bool((await far.keys("plan:", limit=3))[0])

        async def linked_action() -> bool:
            action = act.MemoryList(environment="development", prefix="plan:")
            return bool(await (await self.link.dispatch(action)))

        async def action() -> bool:
            asked = act.MemoryGet(environment="development", key=KEYS[3])
            try:
                return await self.core.dispatch(asked, principal) is not None
            except NotFound:
                return False

        return [get, many, pages, linked, linked_many, linked_pages, linked_action, action]

    # --- ways to let it read, each with its way back --------------------------------------

    def changes(self) -> list[tuple[Change, Change]]:
        return [
            (self.grant, self.revoke),
            (self.grant_by_owner, self.revoke),
            (self.grant, self.deny_and_revoke),
            (self.join, self.leave),
            (self.publish, self.withdraw),
        ]

    async def grant(self) -> None:
        made = await self.engine.acl.grant(self.reader, level="team", key_prefix="plan:")
        self.entry = made.id

    async def grant_by_owner(self) -> None:
        wanted = act.AclGrant(subject=self.reader, level="team", actor=self.owner)
        self.entry = (await self.engine.run(wanted)).id

    async def revoke(self) -> None:
        await self.engine.acl.revoke(self.entry)

    async def deny_and_revoke(self) -> None:
        await self.engine.acl.deny(self.reader, level="team")
        await self.revoke()

    async def join(self) -> None:
        for entry in await self.engine.acl.list(self.reader):
            with suppress(NotFound):  # of an access that is late
                await self.engine.acl.revoke(entry)
        await self.engine.agents.add_to_team(self.reader, self.team)

    async def leave(self) -> None:
        await self.engine.agents.remove_from_team(self.reader, self.team)

    async def publish(self) -> None:
        await self.engine.memory(self.owner).mset(dict.fromkeys(KEYS, 1), level="public")

    async def withdraw(self) -> None:
        await self.engine.memory(self.owner).mset(dict.fromkeys(KEYS, 1), level="team")


class Ledger:
    """What reads found. In an odd phase nothing may be found: a read that began and ended in the
    same one began after the change that forbids it had returned."""

    def __init__(self) -> None:
        self.phase = 0
        self.tries = 0
        self.seen = 0  # while it was allowed
        self.wrong: list[str] = []

    async def read(self, way: Callable[[], Awaitable[bool]]) -> None:
        before = self.phase
        found = await way()
        if before != self.phase:
            return
        if before % 2:
            self.tries += 1
            if found:
                self.wrong.append(f"{way.__name__} in phase {before}")
        else:
            self.seen += found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(
            open_core(tmp_path, settings=None, transient=False, headless=True, clock=None)
        )
        made = World(core, stack)
        await made.fill()
        yield made


async def race(world: World, tries: int) -> Ledger:
    """Readers of every kind beside somebody who lets them and stops them."""
    ledger = Ledger()

    async def keep_reading(way: Callable[[], Awaitable[bool]]) -> None:
        while ledger.tries < tries:
            await ledger.read(way)
            await asyncio.sleep(0)

    async def keep_changing() -> None:
        changes = world.changes()
        number = 0
        while ledger.tries < tries:
            allow, forbid = changes[number % len(changes)]
            number += 1
            await allow()
            until = ledger.seen + 3
            while ledger.seen < until and ledger.tries < tries:
                await asyncio.sleep(0)
            await forbid()
            ledger.phase += 1
            until = ledger.tries + 40
            while ledger.tries < min(until, tries):
                await asyncio.sleep(0)
            ledger.phase += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(keep_changing())
        for way in world.readers() * 2:
            group.create_task(keep_reading(way))
    return ledger


async def test_no_read_that_began_after_a_revoke_returned_finds_anything(world: World) -> None:
    ledger = await race(world, TRIES)
    assert ledger.wrong == []
    assert ledger.tries >= TRIES
    assert ledger.seen > TRIES // 50


async def test_the_race_finds_an_access_that_is_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Access._drop

    def late(self: Access, grant: Any) -> None:
        asyncio.get_running_loop().call_later(0.01, drop, self, grant)

    monkeypatch.setattr(Access, "_drop", late)
    assert (await race(world, 300)).wrong


async def test_the_race_finds_a_store_that_keeps_what_somebody_was_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[tuple[Any, ...], Any] = {}
    get = MemoryStore.get

    def kept(self: MemoryStore, principal: Any, namespace: str, key: str) -> Any:
        asked = (principal.id, namespace, key)
        if asked not in shown:
            answer = get(self, principal, namespace, key)
            if not isinstance(answer, tuple):
                return answer
            shown[asked] = answer
        return shown[asked]

    monkeypatch.setattr(MemoryStore, "get", kept)
    assert (await race(world, 300)).wrong


# --- streams ------------------------------------------------------------------------------------


async def unregister(world: World, agent: str) -> None:
    await world.engine.agents.unregister(agent)


async def revoke_token(world: World, agent: str) -> None:
    await world.engine.run(act.AgentRevoke(id=agent))


ENDS = pytest.mark.parametrize("end", [unregister, revoke_token], ids=lambda end: end.__name__)


@ENDS
async def test_nothing_more_arrives_on_the_streams_of_an_agent_that_was_cut_off(
    world: World, end: Callable[[World, str], Awaitable[None]]
) -> None:
    rounds = 40 if "STRESS" in os.environ else 4
    for number in range(rounds):
        agent = await world.register()
        link = await world.attach(agent)
        heard: list[int] = []
        first = asyncio.Event()

        def hear(body: int, heard: list[int] = heard, first: asyncio.Event = first) -> None:
            heard.append(body)
            first.set()

        await link.subscribe("dev.news", hear)
        sent = 0
        while not first.is_set():
            await world.engine.publish("dev.news", sent)
            sent += 1
            await asyncio.sleep(0)
        await end(world, agent)
        for body in range(1_000, 1_010 + number):
            await world.engine.publish("dev.news", body)
            await asyncio.sleep(0)
        with pytest.raises(SwarmDeckError):
            await link.memory(agent).get("anything")
        assert max(heard) < 1_000


@ENDS
async def test_a_claim_that_waits_gets_nothing_once_its_agent_was_cut_off(
    world: World, end: Callable[[World, str], Awaitable[None]]
) -> None:
    agent = await world.register()
    link = await world.attach(agent)
    waiting = asyncio.ensure_future(link.queue("development", as_=agent).claim(wait_s=30))
    while not len(world.place.queue._line):
        await asyncio.sleep(0)
    await end(world, agent)
    queue = world.engine.queue("development")
    ident = await queue.send("work", {})
    with pytest.raises((Denied, Unavailable, NotFound)):
        assert await waiting
    [message] = await queue.claim()
    assert (message.id, message.attempt) == (ident, 1)


async def test_an_agent_that_was_cut_off_cannot_come_back(world: World) -> None:
    agent = await world.register()
    token = await world.engine.run(act.AgentToken(id=agent))
    async with connect(world.core.data, agent=agent, token=token.token) as link:
        await link.memory(agent).set("k", 1)
        await unregister(world, agent)
    with pytest.raises(Denied):
        async with connect(world.core.data, agent=agent, token=token.token):
            pass
