"""Results in memory: an ack and its records are one transaction, with both authorities."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine import codec
from swarmdeck.engine.acl import Access
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Environment, Isolation, Principal
from swarmdeck.engine.queue import MessageQueue

TEAM = ("dev_team_web",)


@pytest.fixture
async def memory(scene: Any) -> MemoryStore:
    """The real memory of the environment, behind the queue of the scene."""
    isolation = dict.fromkeys(Environment, Isolation.MODERATE)
    access = Access(Environment.DEVELOPMENT, isolation, scene.database, scene.clock)
    await access.open()
    store = MemoryStore(scene.database, access, scene.clock, ring=scene.ring, cache_bytes=1 << 20)
    await store.open()
    await scene.queue.close()
    scene.queue = MessageQueue(
        scene.database, scene.settings, scene.clock, scene.town, store, scene.ring
    )
    await scene.queue.open()
    return store


def write(key: str, value: Any, level: str | None = "team", if_version: int | None = None) -> Any:
    return ["demo", key, *codec.encode(value), level, None, if_version]


async def read(memory: MemoryStore, who: Principal, key: str) -> Any:
    found = memory.get(who, "demo", key)
    found = await found if not isinstance(found, list | tuple | None) else found
    return None if found is None else codec.decode(found[0], found[1])


async def leased(scene: Any, sender: Principal = OPERATOR_PRINCIPAL) -> str:
    """A message of that sender, leased to agent a."""
    ident: str = await scene.queue.send(sender, "work", b"1")
    await scene.claim()
    return ident


async def test_records_are_there_once_the_message_is_done(scene: Any, memory: MemoryStore) -> None:
    scene.a = scene.town.settle("dev_agent_a", teams=TEAM)
    mate = scene.town.settle("dev_agent_b", teams=TEAM)
    ident = await leased(scene)
    writes = [write("one", 1), write("two", {"words": 2})]
    await scene.queue.ack(scene.a, ident, 1, None, writes)
    assert await read(memory, mate, "one") == 1
    assert await read(memory, mate, "two") == {"words": 2}
    assert await scene.rows("SELECT count(*) FROM memory") == [(2,)]


async def test_a_version_that_moved_on_fails_the_ack_whole(scene: Any, memory: MemoryStore) -> None:
    ident = await leased(scene)
    with pytest.raises(Conflict):
        await scene.queue.ack(
            scene.a, ident, 1, None, [write("one", 1), write("two", 2, if_version=3)]
        )
    assert await scene.rows("SELECT count(*) FROM memory") == [(0,)]
    assert await read(memory, scene.a, "one") is None
    await scene.queue.ack(scene.a, ident, 1, None, [write("one", 1)])
    assert await read(memory, scene.a, "one") == 1


async def test_a_sender_cannot_have_written_what_it_may_not(
    scene: Any, memory: MemoryStore
) -> None:
    """The worker may write its own record; the one that sent the work may not."""
    ident = await leased(scene, scene.b)
    await memory.set(scene.a, "demo", "mine", *codec.encode("before"), "private")
    with pytest.raises(Denied):
        await scene.queue.ack(scene.a, ident, 1, None, [write("mine", "after", None)])
    assert await read(memory, scene.a, "mine") == "before"
    assert await scene.state(ident) == "leased"


async def test_bad_writes_are_refused_before_the_ack(scene: Any, memory: MemoryStore) -> None:
    assert memory.records == 0
    ident = await leased(scene)
    with pytest.raises(InvalidInput):
        await scene.queue.ack(scene.a, ident, 1, None, [write("bad\x00key", 1)])
    assert await scene.state(ident) == "leased"
