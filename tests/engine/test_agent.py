"""Code of an agent: works, holds its leases, connects again, and ends when nobody is left."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions, views
from swarmdeck.engine.agent import ANY, Agent, Identity, connect_agent
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, InvalidInput, Unavailable
from swarmdeck.engine.handles import Message, Write
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.settings import load_settings

ENVIRONMENT = "development"


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Core]:
    async with open_core(
        directory,
        settings=load_settings(None, {}, {}),
        transient=False,
        headless=False,
        clock=None,
    ) as core:
        yield core


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with opened(tmp_path) as found:
        yield found


async def identity_of(core: Core, **fields: Any) -> Identity:
    """A new agent without a process, as whom a test may connect."""
    registry = core.places[ENVIRONMENT].registry
    agent = await registry.register(name="tester")
    token = await registry.renew_token(agent.id)
    assert core._socket is not None
    return Identity(socket=core._socket, agent=agent.id, token=token, **fields)


async def send(core: Core, kind: str, body: Any = None, **options: Any) -> str:
    ident: str = await core.engine.queue(ENVIRONMENT).send(kind, body, **options)
    return ident


async def state_of(core: Core, ident: str) -> str:
    return (await core.places[ENVIRONMENT].queue.show(ident)).state


async def reached(core: Core, ident: str, state: str, within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while await state_of(core, ident) != state:
            await asyncio.sleep(0.01)


async def test_an_agent_asks_for_actions_as_itself(core: Core) -> None:
    async with connect_agent(await identity_of(core)) as agent:
        shown = await agent.ask(actions.AgentShow(id=agent.id), views.AgentView)
        assert shown.id == agent.id
        with pytest.raises(Denied):
            await agent.run(actions.SwarmList())
        with pytest.raises(Denied):
            await agent.run(actions.MemoryKeys(environment=ENVIRONMENT, actor="operator"))


async def until(condition: Callable[[], object], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(identity: Identity, handlers: Any, **options: Any) -> AsyncIterator[Agent]:
    """An agent at work beside the test; it is stopped at the end."""
    async with connect_agent(identity) as agent:
        task = asyncio.ensure_future(agent.work(handlers, **options))
        try:
            yield agent
        finally:
            agent.stopping.set()
            await asyncio.wait_for(task, 10)


async def test_entering_says_ready_and_heartbeats_follow(core: Core) -> None:
    identity = await identity_of(core, heartbeat_s=0.05)
    presence = core.places[ENVIRONMENT].registry.presence
    assert presence.age_s(identity.agent) is None
    async with connect_agent(identity) as agent:
        assert agent.id == identity.agent
        assert presence.is_connected(agent.id)
        first = presence._beats[agent.id]
        await until(lambda: presence._beats[agent.id] > first)
    await until(lambda: not presence.is_connected(identity.agent))


async def test_an_agent_is_told_how_much_memory_to_give_back(core: Core) -> None:
    asked: list[int] = []
    async with connect_agent(await identity_of(core)) as agent:
        core._notify(agent.id, "memory 1048576")
        agent.on_memory = asked.append
        core._notify(agent.id, "memory 4096")
        await until(lambda: asked)
    assert asked[-1] == 4096


async def test_handlers_are_plain_or_async_and_their_writes_come_with_the_ack(core: Core) -> None:
    def plain(agent: Agent, message: Message) -> tuple[Any, list[Write]]:
        time.sleep(0.001)
        return {"twice": 2 * message.body}, [Write(key="plain", value=message.body)]

    async def nothing(_: Agent, __: Message) -> None:
        return None

    identity = await identity_of(core)
    async with working(identity, {"plain": plain, "nothing": nothing}) as agent:
        idents = [await send(core, "plain", 21), await send(core, "nothing")]
        for ident in idents:
            await reached(core, ident, "done")
        assert await agent.memory.get("plain") == 21
    done = await core.places[ENVIRONMENT].queue.show(idents[0])
    assert (done.result, done.holder, done.attempt) == ({"twice": 42}, agent.id, 1)


async def test_a_handler_that_raises_gives_the_message_back_with_the_error(core: Core) -> None:
    async def fails(_: Agent, __: Message) -> None:
        raise ValueError("not today")

    def wrong(_: Agent, __: Message) -> Any:
        return "no pair"

    async with working(await identity_of(core), {"fails": fails, "wrong": wrong}):
        first = await send(core, "fails", max_attempts=1)
        second = await send(core, "wrong", max_attempts=1)
        await reached(core, first, "dead")
        await reached(core, second, "dead")
    assert (await core.places[ENVIRONMENT].queue.show(first)).error == "ValueError: not today"


async def test_a_write_that_is_denied_fails_the_message_and_not_the_agent(core: Core) -> None:
    async def overreach(_: Agent, __: Message) -> tuple[None, list[Write]]:
        return None, [Write(key="theirs", value=1, level="system")]

    async with working(await identity_of(core), {"overreach": overreach, "next": _nothing}):
        ident = await send(core, "overreach", max_attempts=1)
        await reached(core, ident, "dead")
        following = await send(core, "next")
        await reached(core, following, "done")


async def _nothing(_: Agent, __: Message) -> None:
    return None


async def test_only_kinds_with_a_handler_are_claimed(core: Core) -> None:
    other = await send(core, "other", priority=10)
    async with working(await identity_of(core), {"mine": _nothing}):
        mine = await send(core, "mine")
        await reached(core, mine, "done")
        assert await state_of(core, other) == "ready"


async def test_a_handler_for_any_kind_takes_the_rest(core: Core) -> None:
    seen: list[str] = []

    async def rest(_: Agent, message: Message) -> None:
        seen.append(message.kind)

    async with working(await identity_of(core), {"mine": _nothing, ANY: rest}):
        idents = [await send(core, kind) for kind in ("mine", "other")]
        for ident in idents:
            await reached(core, ident, "done")
    assert seen == ["other"]


async def test_leases_are_held_while_the_work_takes_longer(core: Core) -> None:
    release = asyncio.Event()

    async def slow(_: Agent, __: Message) -> None:
        await release.wait()

    async with working(await identity_of(core), {"slow": slow}, lease_s=0.3):
        idents = [await send(core, "slow") for _ in range(2)]
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 0.9)  # three leases long
        release.set()
        for ident in idents:
            await reached(core, ident, "done")
    shown = [await core.places[ENVIRONMENT].queue.show(ident) for ident in idents]
    assert [message.attempt for message in shown] == [1, 1]


async def test_a_message_that_was_taken_away_is_not_finished_and_work_goes_on(core: Core) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(_: Agent, __: Message) -> None:
        started.set()
        await release.wait()

    identity = await identity_of(core)
    async with working(identity, {"slow": slow, "next": _nothing}):
        ident = await send(core, "slow")
        await started.wait()
        queue = core.places[ENVIRONMENT].queue
        await queue.cancel(OPERATOR_PRINCIPAL, ident)
        release.set()
        following = await send(core, "next")
        await reached(core, following, "done")
        assert await state_of(core, ident) == "cancelled"


@pytest.mark.parametrize("how", ["word", "signal"])
async def test_stopping_finishes_the_message_in_hand_and_begins_no_other(
    core: Core, how: str
) -> None:
    started, release = asyncio.Event(), asyncio.Event()
    begun: list[str] = []

    async def slow(_: Agent, message: Message) -> None:
        begun.append(message.id)
        started.set()
        await release.wait()

    identity = await identity_of(core)
    idents = [await send(core, "slow") for _ in range(3)]
    async with connect_agent(identity) as agent:
        task = asyncio.ensure_future(agent.work({"slow": slow}))
        await started.wait()
        if how == "word":
            core._notify(agent.id, "stop")
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        await until(agent.stopping.is_set)
        release.set()
        await asyncio.wait_for(task, 10)
    assert begun == idents[:1]
    assert await state_of(core, idents[0]) == "done"


async def test_stopping_ends_a_wait_for_work_at_once_and_takes_nothing(core: Core) -> None:
    async with connect_agent(await identity_of(core)) as agent:
        task = asyncio.ensure_future(agent.work({"slow": _nothing}))
        await asyncio.sleep(0.05)
        agent.stopping.set()
        await asyncio.wait_for(task, 1)
        ident = await send(core, "slow")
        await asyncio.sleep(0.05)
        assert await state_of(core, ident) == "ready"


async def test_an_agent_works_on_after_its_engine_was_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        identity = await identity_of(core, grace_s=10)
        agent_context = connect_agent(identity)
        agent = await agent_context.__aenter__()
        task = asyncio.ensure_future(agent.work({"mine": _nothing}))
        await reached(core, await send(core, "mine"), "done")
    waiting = asyncio.ensure_future(agent.memory.set("meanwhile", 1))
    try:
        async with opened(tmp_path) as core:
            await asyncio.wait_for(waiting, 10)
            await reached(core, await send(core, "mine"), "done")
            assert not agent.stopping.is_set()
            agent.stopping.set()
            await asyncio.wait_for(task, 10)
    finally:
        await agent_context.__aexit__(None, None, None)


async def test_an_agent_gives_up_an_engine_that_stays_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        identity = await identity_of(core, grace_s=0.2)
        agent_context = connect_agent(identity)
        agent = await agent_context.__aenter__()
    await asyncio.wait_for(agent.stopping.wait(), 5)
    with pytest.raises(Unavailable, match="gone"):
        await agent.memory.get("anything")
    await agent_context.__aexit__(None, None, None)


async def test_a_wrong_token_is_refused_at_once(core: Core) -> None:
    identity = await identity_of(core)
    wrong = Identity(socket=identity.socket, agent=identity.agent, token="0" * 32)
    with pytest.raises(Denied):
        async with connect_agent(wrong):
            pass


async def test_outside_a_swarm_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWARMDECK_SOCKET", raising=False)
    with pytest.raises(InvalidInput, match="SWARMDECK_SOCKET"):
        async with connect_agent():
            pass
    with pytest.raises(InvalidInput, match="not a number"):
        Identity.read(
            {
                "SWARMDECK_SOCKET": "s",
                "SWARMDECK_AGENT": "dev_agent_1",
                "SWARMDECK_TOKEN": "t",
                "SWARMDECK_ORPHAN_GRACE_S": "soon",
            }
        )


async def test_what_the_agents_own_code_raises_arrives_as_it_is(core: Core) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect_agent(await identity_of(core)):
            raise ZeroDivisionError


BLOCKED_AGENT = """
import asyncio, subprocess, time
from swarmdeck.engine.agent import connect_agent

def block(agent, message):
    print("child", subprocess.Popen(["sleep", "600"]).pid, flush=True)
    time.sleep(600)

async def main():
    async with connect_agent() as agent:
        await agent.work({"block": block})

asyncio.run(main())
"""

ENGINE = """
import asyncio, sys
from pathlib import Path
from swarmdeck.engine.core import open_core
from swarmdeck.engine.settings import load_settings

async def main():
    data, script = Path(sys.argv[1]), sys.argv[2]
    settings = load_settings(None, {}, {"agents.orphan_grace_s": 0.5})
    async with open_core(
        data, settings=settings, transient=False, headless=True, clock=None
    ) as core:
        swarms = [
            await core.swarms.create("development", agents=2, memory_bytes=1 << 28, command=command)
            for command in ((), (sys.executable, script))
        ]
        await core.engine.queue("development").send("block", {}, to=swarms[1].id)
        while not any(agent.leased for agent in core.swarms.agents(swarm=swarms[1].id)):
            await asyncio.sleep(0.01)
        while any(agent.state != "ready" for agent in core.swarms.agents()):
            await asyncio.sleep(0.01)
        print(*(agent.pid for agent in core.swarms.agents()), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def running(pids: Collection[int]) -> list[int]:
    """Those that run. Whoever adopts an orphan may never reap it."""
    found = []
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


def said_child(logs: Path) -> int:
    """The process that the blocked agent has begun, once it has said so: its claim comes first."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        spoken = "".join(log.read_text() for log in logs.glob("*.log"))
        if found := re.search(r"child (\d+)\n", spoken):
            return int(found[1])
        time.sleep(0.02)
    pytest.fail("the blocked agent began no process")


def test_agents_of_a_killed_engine_end_themselves_whatever_they_do(tmp_path: Path) -> None:
    script = tmp_path / "blocked.py"
    script.write_text(BLOCKED_AGENT)
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(tmp_path / "data"), str(script)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    try:
        pids = [int(pid) for pid in engine.stdout.readline().split()]
        assert len(pids) == 4
        pids.append(said_child(tmp_path / "data" / "logs" / "development"))
        assert len(running(pids)) == 5
    finally:
        engine.kill()
        engine.wait()
        engine.stdout.close()
    give_up = time.monotonic() + 10
    while running(pids) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert running(pids) == []


async def test_the_example_of_the_manual_works_as_a_swarm(core: Core, tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    script = tmp_path / "worker.py"
    script.write_text(manual.split("```python\n")[1].split("```")[0])
    swarm = await core.swarms.create(
        ENVIRONMENT, agents=1, memory_bytes=1 << 28, command=(sys.executable, str(script))
    )
    ident = await send(core, "greet", {"name": "Ada"}, to=swarm.id)
    await reached(core, ident, "done", within_s=20)
    assert (await core.places[ENVIRONMENT].queue.show(ident)).result == {"said": "Hello Ada"}
    ended = await core.swarms.terminate(swarm.id)
    assert core.swarms.agents(swarm=swarm.id)[0].reason == "exit code 0"
    assert ended.state == "terminated"


async def test_work_whose_message_was_deleted_meanwhile_ends_nobody(core: Core) -> None:
    """Somebody has cancelled it, and cleared away what was cancelled."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Agent, __: Message) -> None:
        begun.set()
        await goes_on.wait()

    async def quick(_: Agent, __: Message) -> None:
        return None

    handlers = {"slow": slow, "quick": quick}
    async with working(await identity_of(core), handlers, lease_s=0.3) as agent:
        gone = await send(core, "slow", priority=10)
        await begun.wait()
        queue = core.places[ENVIRONMENT].queue
        await queue.cancel(OPERATOR_PRINCIPAL, gone)
        await queue.purge(OPERATOR_PRINCIPAL, ids=[gone])
        await asyncio.sleep(0.15)  # its lease was to be extended
        goes_on.set()
        await reached(core, await send(core, "quick"), "done")
        assert not agent.stopping.is_set()


async def test_an_agent_waits_while_too_many_ask_for_work(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmdeck.engine.agent.RETRY_S", 0.01)
    monkeypatch.setattr("swarmdeck.engine.queue.line.MAX_WAITING", 0)
    refused = asyncio.Event()
    log = logging.getLogger("swarmdeck.engine.agent")
    monkeypatch.setattr(log, "warning", lambda *_: refused.set())

    async def quick(_: Agent, __: Message) -> None:
        return None

    async with working(await identity_of(core), {"quick": quick}):
        async with asyncio.timeout(10):
            await refused.wait()
        monkeypatch.setattr("swarmdeck.engine.queue.line.MAX_WAITING", 10)
        await reached(core, await send(core, "quick"), "done")
