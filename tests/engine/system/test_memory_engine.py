"""An engine in memory: the same calls, nothing on a disk, nothing left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarmdeck.engine import Engine, connect, open_engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.errors import InvalidInput, Sealed, Unavailable
from swarmdeck.engine.model import Environment


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with open_engine(":memory:") as opened:
        yield opened


async def test_records_messages_and_rights_work_as_on_a_disk(engine: Engine) -> None:
    team = await engine.agents.create_team("production", name="Web")
    mine = await engine.agents.register("production", name="A", team=team.id)
    other = await engine.agents.register("production", name="B")
    await engine.memory(mine).set("k", {"v": 1}, level="team")
    assert await engine.memory(mine).get("k") == {"v": 1}
    assert await engine.memory(other).get("k") is None
    await engine.acl.grant(other, level="team", actions=["read"])
    assert await engine.memory(other).get("k") == {"v": 1}
    queue = engine.queue("production", as_=mine)
    await queue.send("digest", {"n": 1})
    (message,) = await queue.claim()
    await queue.ack(message, {"done": True})
    assert all(found.status == "ok" for found in await engine.run(act.DatabaseCheck(full=True)))


async def test_readers_and_writers_go_on_at_once(engine: Engine) -> None:
    memory = engine.memory("development")
    await memory.mset({f"k{n}": n for n in range(200)})

    async def look(number: int) -> None:
        await memory.set(f"k{number}", -number)
        keys, _ = await memory.keys()
        assert len(keys) == 200
        await engine.run(act.MemoryList(environment="development", contains="k1"))

    await asyncio.gather(*(look(number) for number in range(50)))
    assert (await memory.mget(["k7", "k60"])) == {"k7": -7, "k60": 60}


async def test_values_are_sealed_by_keys_in_memory(engine: Engine) -> None:
    memory = engine.memory("production")
    await memory.set("secret", "words")
    found = await engine.run(act.VaultStatus())
    assert (found.source, found.place, found.state) == ("memory", "", "open")
    await engine.run(act.VaultRotate(environment="production"))
    assert await memory.get("secret") == "words"
    await engine.run(act.VaultSeal())
    with pytest.raises(Sealed):
        await memory.get("secret")
    await engine.run(act.VaultUnseal())
    assert await memory.get("secret") == "words"


async def test_each_is_its_own_and_gone_when_it_closes() -> None:
    before = names()
    async with open_engine(":memory:") as first, open_engine(":memory:") as second:
        await first.memory("testing").set("k", 1)
        assert await second.memory("testing").get("k") is None
        assert str(first.data) == ":memory:"
        (stats,) = await first.run(act.DatabaseStats(environment="testing"))
        assert stats.path == ":memory:"
        assert stats.size_bytes > 0
    async with open_engine(":memory:") as third:
        assert await third.memory("testing").get("k") is None
    deadline = time.monotonic() + 5  # a connection's thread ends a moment after it has said so
    while left := [name for name in names() - before if not name.startswith("asyncio_")]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.01)


def names() -> set[str]:
    return {each.name for each in threading.enumerate()}


@pytest.mark.parametrize(
    "action",
    [
        act.BackupCreate(environment="testing"),
        act.BackupList(),
        act.VaultRekey(source="file"),
        act.SwarmCreate(environment="testing", agents=1, memory_bytes=1 << 30),
        act.Doctor(),
        act.Demo(),
    ],
    ids=lambda action: type(action).__name__,
)
async def test_what_needs_a_disk_or_a_socket_is_refused(engine: Engine, action: act.Action) -> None:
    with pytest.raises(InvalidInput, match="does not go with an engine in memory"):
        await engine.run(action)


async def test_a_swarm_without_processes_is_one_that_others_join(engine: Engine) -> None:
    swarm = await engine.swarms.create("testing", agents=0, memory_bytes=1 << 30)
    agent = await engine.agents.register("testing", name="A", swarm=swarm.id)
    assert agent.swarm == swarm.id
    with pytest.raises(InvalidInput, match="in memory"):
        await engine.swarms.scale(swarm.id, agents=1, memory_bytes=1 << 30)


async def test_it_looks_after_itself(engine: Engine) -> None:
    found = await engine.run(act.HealthCheck())
    assert {each.status for each in found} == {"ok"}
    done = await engine.run(act.DatabaseOptimize())
    assert [each.status for each in done] == ["ok"] * len(Environment)
    verified = await engine.run(act.AuditVerify())
    assert {each.status for each in verified} <= {"ok", "warning"}
    assert (await engine.run(act.BenchShow())) == []


async def test_nobody_attaches_to_it() -> None:
    with pytest.raises(Unavailable):
        async with connect(":memory:"):
            pass


PROGRAM = """
import asyncio, os, sys
written = []

def heed(event, args):
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(str(args[0]))
    if event in {"os.mkdir", "os.rename"}:
        written.append(str(args[0]))

sys.dont_write_bytecode = True
from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import NotFound

async def main():
    async with open_engine(":memory:") as engine:
        agent = await engine.agents.register("production", name="A")
        await engine.memory(agent).set("k", "v")
        await engine.queue("production").send("digest")
        await asyncio.sleep(1.2)
        regular = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                   if os.path.isfile(f"/proc/self/fd/{n}")]
        written.extend(regular)

sys.addaudithook(heed)
asyncio.run(main())
print(*[path for path in written if path not in {"/dev/null"}], sep="\\n")
"""


def test_nothing_is_written_anywhere(tmp_path: Path) -> None:
    homes = {name: str(tmp_path / name) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False, cwd=tmp_path, env=os.environ | homes, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr
    assert list(tmp_path.iterdir()) == []
