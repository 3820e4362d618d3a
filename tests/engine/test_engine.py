"""The engine's API, the same in its own process and over its socket; opening and closing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from swarmdeck.engine import Engine, Write, connect, core, open_engine, places
from swarmdeck.engine import actions as act
from swarmdeck.engine.errors import (
    Conflict,
    Denied,
    EngineBusy,
    InvalidInput,
    NotFound,
    OverBudget,
    StorageError,
    Unavailable,
)
from swarmdeck.engine.events import Changed, Finished
from swarmdeck.engine.handlers import Handlers
from swarmdeck.engine.link import server

SMALL = 16 << 20


@pytest.fixture(params=["in process", "over the socket"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """One suite, both ways in."""
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(open_engine(tmp_path / "data"))
        if request.param == "over the socket":
            found = await stack.enter_async_context(connect(tmp_path / "data"))
        yield found


# --- the API --------------------------------------------------------------------------------


async def test_agents_share_team_records_and_keep_private_ones(engine: Engine) -> None:
    team = await engine.agents.create_team("development", name="Web")
    first = await engine.agents.register(
        "development", name="Backend Developer", type="backend-dev", team=team.id,
        capabilities=["api"],
    )  # fmt: skip
    second = await engine.agents.register("development", name="Frontend", type="frontend-dev")
    mine, theirs = engine.memory(first), engine.memory(second.id)
    await mine.set("user:123", {"name": "A"}, level="team", ttl_s=3600)
    await mine.set("secret", b"\x00\xff")
    assert await theirs.get("user:123", default="none") == "none"
    await engine.agents.add_to_team(second, team.id)
    assert await theirs.get("user:123") == {"name": "A"}
    assert await theirs.get("secret") is None
    assert await mine.get("secret") == b"\x00\xff"
    assert (await engine.agents.get(second)).teams == (team.id,)
    await engine.agents.remove_from_team(second, team.id)
    assert await theirs.get("user:123") is None


async def test_memory_calls(engine: Engine) -> None:
    memory = engine.memory("development")
    assert await memory.mset({"a": 1, "b": [2]}) == {"a": 1, "b": 1}
    assert await memory.mget(["a", "nothing", "b"]) == {"a": 1, "b": [2]}
    assert await memory.has("a")
    assert await memory.incr("a", 5) == 6
    assert await memory.decr("a") == 5
    assert await memory.get_versioned("a") == (5, 3)
    with pytest.raises(Conflict):
        await memory.set("a", 0, if_version=1)
    assert await memory.setex("t", 60, "x") == 1
    assert await memory.keys() == (["a", "b", "t"], None)
    assert await memory.delete("a")
    assert not await memory.delete("a")
    assert await memory.clear() == 2


async def test_work_is_sent_claimed_and_finished_with_its_writes(engine: Engine) -> None:
    agent = await engine.agents.register("development", name="worker")
    queue = engine.queue("development", as_=agent)
    waiting = asyncio.create_task(queue.claim(limit=10, wait_s=10))
    await asyncio.sleep(0)
    ident = await queue.send("digest", {"path": "a.txt"}, priority="high")
    (message,) = await waiting
    assert (message.id, message.kind, message.priority, message.attempt) == (ident, "digest", 8, 1)
    await queue.extend(message, lease_s=60)
    await queue.ack(message, {"ok": True}, writes=[Write(key="digest:a.txt", value=1)])
    assert await engine.memory(agent).get("digest:a.txt") == 1
    with pytest.raises(Conflict):
        await queue.ack(message)
    shown = await engine.run(act.QueueShow(id=ident))
    assert (shown.state, shown.result) == ("done", {"ok": True})


async def test_a_refused_write_fails_the_whole_ack(engine: Engine) -> None:
    owner = await engine.agents.register("development", name="owner")
    worker = await engine.agents.register("development", name="worker")
    await engine.memory(owner).set("mine", 1)
    queue = engine.queue("development", as_=worker)
    await queue.send("x")
    (message,) = await queue.claim()
    with pytest.raises(Denied):
        await queue.ack(message, writes=[Write(key="new", value=1), Write(key="mine", value=2)])
    assert await engine.memory(worker).get("new") is None
    assert await queue.nack(message, error="no", delay_s=0) == "ready"


async def test_work_carries_the_authority_of_its_sender_too(engine: Engine) -> None:
    team = await engine.agents.create_team("development", name="Team")
    worker = await engine.agents.register("development", name="worker", team=team.id)
    outsider = await engine.agents.register("development", name="outsider")
    await engine.memory(worker).set("ours", 1, level="team")
    await engine.queue("development", as_=outsider).send("overwrite")
    queue = engine.queue("development", as_=worker)
    (message,) = await queue.claim()
    with pytest.raises(Denied, match=outsider.id):
        await queue.ack(message, writes=[Write(key="ours", value=2)])
    assert await engine.memory(worker).get("ours") == 1


async def test_grants_and_denials_count_at_once_and_are_explained(engine: Engine) -> None:
    team = await engine.agents.create_team("development", name="Web")
    owner = await engine.agents.register("development", name="owner", team=team.id)
    other = await engine.agents.register("development", name="other")
    await engine.memory(owner).set("k", 1, level="team")
    reading = engine.memory(other)
    grant = await engine.acl.grant(other, level="team", actions=["read"], key_prefix="k")
    assert await reading.get("k") == 1
    assert (await engine.acl.explain(other, "read", "k")).rule == "grant"
    denial = await engine.acl.deny(other, level="team", actions=["read"])
    assert await reading.get("k") is None
    assert {entry.id for entry in await engine.acl.list(other)} == {grant.id, denial.id}
    await engine.acl.revoke(denial)
    await engine.acl.revoke(grant.id)
    assert not await engine.acl.check(other, "read", "k")


async def test_public_records_cross_environments_where_the_gate_is_open(engine: Engine) -> None:
    await engine.memory("development").set("news", 1, level="public")
    tester = await engine.agents.register("testing", name="tester")
    live = await engine.agents.register("production", name="live")
    assert await engine.memory(tester, environment="development").get("news") == 1
    assert await engine.memory(live, environment="development").get("news") is None
    with pytest.raises(Denied):
        await engine.memory(tester, environment="development").set("mine", 1)


async def test_swarms_are_created_measured_and_ended(engine: Engine) -> None:
    swarm = await engine.swarms.create(
        "development", agents=2, memory_bytes=2 * SMALL, command=["sleep", "60"], name="Sleepers"
    )
    assert [found.id for found in await engine.swarms.list("development")] == [swarm.id]
    agents = await engine.agents.list(swarm=swarm.id)
    assert all(psutil.pid_exists(agent.pid or 0) for agent in agents)
    bigger = await engine.swarms.scale(swarm.id, agents=3, memory_bytes=3 * SMALL)
    assert (bigger.agents_live, bigger.memory_bytes) == (3, 3 * SMALL)
    assert (await engine.swarms.health(swarm.id)).swarm.agents_live == 3
    ended = await engine.swarms.terminate(swarm.id, force=True)
    assert (ended.state, ended.agents_live) == ("terminated", 0)
    assert await engine.swarms.list() == []
    assert not any(psutil.pid_exists(agent.pid or 0) for agent in agents)


async def test_one_overview_carries_all_of_one_moment(engine: Engine) -> None:
    before = (await engine.views.overview()).sequence
    await engine.memory("testing").set("k", 1)
    await engine.queue("testing").send("x")
    overview = await engine.views.overview()
    (testing,) = [env for env in overview.environments if env.name == "testing"]
    assert (testing.records, testing.queue.ready) == (1, 1)
    assert overview.sequence == before + 2
    assert [env.name for env in overview.environments] == [
        "production", "development", "testing", "research", "staging",
    ]  # fmt: skip


async def test_what_is_published_is_heard(engine: Engine) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    listening = await engine.subscribe("news", heard.put_nowait)
    assert await engine.publish("news", {"n": 1}) >= 1
    assert await asyncio.wait_for(heard.get(), 5) == {"n": 1}
    await listening.close()
    with pytest.raises(InvalidInput):
        await engine.publish("not a name", 1)


async def test_commits_and_operations_are_events(engine: Engine) -> None:
    seen: list[Any] = []

    async def watch() -> None:
        async for event in engine.events():
            seen.append(event)
            if isinstance(event, Finished):
                return

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    await engine.memory("development").set("k", 1)
    await engine.run(act.TeamCreate(environment="development", name="t"))
    await asyncio.wait_for(watching, 5)
    assert any(isinstance(e, Changed) and e.topic == "memory" for e in seen)
    assert seen[-1].action == "team.create"
    assert seen[-1].ok


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda e: e.agents.register("nowhere", name="x"), InvalidInput),
        (lambda e: e.agents.register("development", name="x", swarm="dev_swarm_x"), NotFound),
        (lambda e: e.agents.register("development", name="x", team="dev_team_x"), NotFound),
        (lambda e: e.agents.register("development", name="a/b"), InvalidInput),
        (lambda e: e.agents.register("development", name="a\x1b[2J"), InvalidInput),
        (lambda e: e.agents.get("dev_agent_x"), NotFound),
        (lambda e: e.agents.get("nonsense"), InvalidInput),
        (lambda e: e.swarms.create("development", agents=1, memory_bytes=1), InvalidInput),
        (lambda e: e.swarms.create("development", agents=17, memory_bytes=SMALL), OverBudget),
        (lambda e: e.swarms.create("staging", agents=0, memory_bytes=1 << 50), OverBudget),
        (
            lambda e: e.swarms.create(
                "development", agents=1, memory_bytes=SMALL, command=["no-such-program"]
            ),
            InvalidInput,
        ),
        (lambda e: e.swarms.terminate("dev_swarm_x"), NotFound),
        (lambda e: e.memory("development").set("k", 1, level="secret"), InvalidInput),
        (lambda e: e.memory("development").set("a\nb", 1), InvalidInput),
        (lambda e: e.memory("development").set("k", float("nan")), InvalidInput),
        (lambda e: e.memory("dev_agent_x").get("k"), NotFound),
        (lambda e: e.queue("development").send("Bad Kind"), InvalidInput),
        (lambda e: e.queue("development").send("x", priority=11), InvalidInput),
        (lambda e: e.queue("development").send("x", to="dev_agent_x"), NotFound),
        (lambda e: e.acl.grant("dev_agent_x"), NotFound),
        (lambda e: e.run(act.QueueShow(id="dev_msg_99")), NotFound),
    ],
)
async def test_bad_input_is_one_clear_error_and_changes_nothing(
    engine: Engine, call: Any, error: type[Exception]
) -> None:
    async def calling() -> None:
        await call(engine)

    with pytest.raises(error) as caught:
        await calling()
    assert str(caught.value)
    overview = await engine.views.overview()
    assert overview.swarms == ()
    assert overview.agents == ()
    assert overview.access.grants == 0
    assert sum(env.records + env.queue.ready for env in overview.environments) == 0
    assert overview.host.allocated_bytes == 0


def test_every_action_has_its_handler() -> None:
    class Nothing:
        """Services that no handler is asked to use."""

    handlers = Handlers(Nothing())  # type: ignore[arg-type]
    for spec in act.ACTIONS.values():
        assert callable(handlers[spec.type]), spec.name


# --- opening and closing --------------------------------------------------------------------


async def test_twice_in_a_row_leaves_no_thread_file_or_socket(tmp_path: Path) -> None:
    async def use() -> None:
        async with open_engine(tmp_path / "data") as engine:
            await engine.memory("development").set("k", 1)
            await engine.memory("development").get("other")

    await use()
    threads, files = threading.active_count(), open_files()
    await use()
    await settle_to(threads)
    assert open_files() == files
    assert not (tmp_path / "data/run/engine.sock").is_symlink()


async def settle_to(threads: int) -> None:
    """A connection's thread ends a moment after it has said so."""
    deadline = time.monotonic() + 5
    while threading.active_count() > threads:
        assert time.monotonic() < deadline, threading.enumerate()
        await asyncio.sleep(0.01)


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    found = []
    for entry in folder.iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sorted(name for name in found if "data" in name or "sock" in name)


@pytest.mark.parametrize(
    "step", ["open_database", "open_place", "open_channels", "Swarms", "LinkServer", "HostMemory"]
)
async def test_a_failure_at_any_step_of_opening_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    data = tmp_path / "data"
    async with open_engine(data) as engine:
        await engine.memory("development").set("k", 1)
    threads, files = threading.active_count(), open_files()

    def fail(*_: Any, **__: Any) -> Any:
        raise StorageError(f"{step} does not open")

    with monkeypatch.context() as patch:
        module = {"LinkServer": server, "open_place": places}.get(step, core)
        patch.setattr(module, step, fail)
        with pytest.raises(StorageError, match=step):
            async with open_engine(data):
                pass
    await settle_to(threads)
    assert open_files() == files
    async with open_engine(data) as engine:
        assert await engine.memory("development").get("k") == 1


async def test_a_second_opener_is_told_who_owns_the_directory(tmp_path: Path) -> None:
    async with open_engine(tmp_path):
        with pytest.raises(EngineBusy) as caught:
            async with open_engine(tmp_path):
                pass
    assert caught.value.pid == os.getpid()


async def test_attaching_to_nobody_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        async with connect(tmp_path):
            pass


async def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make"):
        async with open_engine(tmp_path / "file" / "data"):
            pass


OWNER = """
import asyncio, sys
from swarmdeck.engine import open_engine
async def main():
    async with open_engine(sys.argv[1]) as engine:
        await engine.memory("production").set("kept", 1)
        print("ready", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_after_the_owner_is_killed_the_next_opener_has_everything(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - it must outlive nothing and be killed hard
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        await asyncio.to_thread(owner.stdout.readline)
        async with connect(tmp_path) as attached:
            assert await attached.memory("production").get("kept") == 1
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    async with open_engine(tmp_path) as engine:
        assert await engine.memory("production").get("kept") == 1


async def test_bytes_stay_bytes_in_an_action(engine: Engine) -> None:
    await engine.run(act.MemorySet(environment="development", key="k", value=b"\x00\xff"))
    assert (await engine.run(act.MemoryGet(environment="development", key="k"))).value == b"\0\xff"


async def test_an_agent_uses_only_channels_of_its_environment(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        swarm = await engine.swarms.create(
            "development", agents=1, memory_bytes=SMALL, command=[sys.executable, "-c", TALKER]
        )
        (agent,) = await engine.agents.list(swarm=swarm.id)
        for _ in range(200):
            lines = await engine.run(act.Logs(agent=agent.id))
            if lines:
                break
            await asyncio.sleep(0.1)
        assert lines == ["Denied", "1"]


TALKER = """
import asyncio, os
from swarmdeck.engine.link.client import LinkPort
from swarmdeck.engine.errors import Denied
from pathlib import Path
async def main():
    env = os.environ
    port = await LinkPort.open(
        Path(env["SWARMDECK_SOCKET"]), agent=env["SWARMDECK_AGENT"], token=env["SWARMDECK_TOKEN"]
    )
    try:
        await port.publish("prod.news", 1)
    except Denied:
        print("Denied")
    heard = asyncio.Event()
    await port.subscribe("dev.news", lambda body: heard.set())
    await port.publish("dev.news", 1)
    await asyncio.wait_for(heard.wait(), 10)
    print(1)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_an_agent_sees_only_messages_and_decisions_of_its_own(tmp_path: Path) -> None:
    from swarmdeck.engine.core import open_core

    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=None
    ) as opened:
        engine = opened.engine
        owner = await engine.agents.register("development", name="owner")
        other = await engine.agents.register("development", name="other")
        ident = await engine.queue("development", as_=owner).send("x", to=owner.id)
        await engine.memory(owner).set("mine", 1)
        mine, theirs = opened.resolve(owner.id), opened.resolve(other.id)
        assert (await opened.dispatch(act.QueueShow(id=ident), mine)).id == ident
        with pytest.raises(NotFound):
            await opened.dispatch(act.QueueShow(id=ident), theirs)
        asked = act.AclExplain(
            subject=other.id, right="read", environment="development", key="mine"
        )
        assert (await opened.dispatch(asked, theirs)).owner is None
        assert (await engine.run(asked)).owner == owner.id


async def test_an_opener_waits_for_a_command_that_is_done_in_a_moment(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_engine(tmp_path, transient=True))
        opening = asyncio.create_task(stack_open(tmp_path))
        await asyncio.sleep(0.2)
        assert not opening.done()
    await opening


async def stack_open(path: Path) -> None:
    async with open_engine(path) as engine:
        assert await engine.memory("development").get("k") is None
