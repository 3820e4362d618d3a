"""Fifty agents attached to one swarm at once: each is answered, and with its own."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from swarmdeck.engine.agent import Identity, connect_agent
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied
from swarmdeck.engine.settings import load_settings

CLIENTS = 50
ROUNDS = 200 if os.environ.get("STRESS") else 6
WHERE = "development"


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    settings = load_settings(None, {}, {"queue.depth.development": 100_000})
    async with open_core(
        tmp_path / "data", settings=settings, transient=False, headless=True, clock=None
    ) as found:
        yield found


async def identities(core: Core, swarm: str) -> list[Identity]:
    """A swarm's guests, with a token each."""
    registry = core.places[WHERE].registry
    assert core._socket is not None
    found = []
    for number in range(CLIENTS):
        agent = await registry.register(name=f"client {number}", swarm=swarm)
        token = await registry.renew_token(agent.id)
        found.append(Identity(socket=core._socket, agent=agent.id, token=token))
    return found


async def test_fifty_clients_of_a_swarm_are_all_answered_each_with_its_own(core: Core) -> None:
    swarm = await core.engine.swarms.create(WHERE, agents=0, memory_bytes=64 << 20)
    taken: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect_agent(who))
            for who in await identities(core, swarm.id)
        ]
        everybody = asyncio.Barrier(CLIENTS)

        async def work(number: int) -> None:
            client, other = clients[number], clients[(number + 1) % CLIENTS]
            mine = f"mine:{client.id}"
            await everybody.wait()
            for turn in range(ROUNDS):
                await client.memory.set(mine, [client.id, turn])
                assert await client.memory.get(mine) == [client.id, turn]
                await client.queue.send("count", {"of": client.id}, to=swarm.id)
                (message,) = await client.queue.claim(1, wait_s=20)
                taken[message.id] += 1
                answered[message.body["of"]] += 1
                await client.queue.ack(message, {"by": client.id})
            with pytest.raises(Denied):
                await client._port.call("memory.get", other.id, WHERE, "default", mine)

        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(work(number))
        presence = core.places[WHERE].registry.presence
        assert all(presence.is_connected(client.id) for client in clients)
    assert len(taken) == CLIENTS * ROUNDS
    assert set(taken.values()) == {1}
    assert set(answered.values()) == {ROUNDS}
    assert core.places[WHERE].queue.counters.open == 0
