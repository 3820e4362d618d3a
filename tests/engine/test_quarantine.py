"""A damaged file stops its environment and no other, and stays as it is until it is restored."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from pysqlite3 import dbapi2

from swarmdeck.engine import Engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Corrupt
from swarmdeck.engine.store.aside import Aside

DEV: Final = "development"
HINT: Final = "swarmdeck backup restore development NAME"


@asynccontextmanager
async def opened(data: Path, *, brief: bool = False, transient: bool = True) -> AsyncIterator[Core]:
    async with open_core(
        data, settings=None, transient=transient, headless=False, clock=None, brief=brief
    ) as core:
        yield core


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory that was used and closed."""
    place = tmp_path / "data"
    async with opened(place) as core:
        await core.engine.memory(DEV).set("k", "v")
        await core.engine.memory("testing").set("k", "v")
    return place


def file_of(data: Path, environment: str = DEV) -> Path:
    return data / "instances" / environment / f"{environment}.db"


def contents(data: Path) -> dict[str, bytes]:
    """What is in the environment's files. The shared memory of readers is none of it."""
    files = file_of(data).parent.iterdir()
    return {f.name: f.read_bytes() for f in files if f.is_file() and not f.name.endswith("-shm")}


def no_database(file: Path) -> None:
    file.write_bytes(b"not a database at all" * 1000)


def foreign(file: Path) -> None:
    file.unlink()
    with dbapi2.connect(str(file)) as raw:
        raw.execute("CREATE TABLE theirs (a)")
    raw.close()


def newer(file: Path) -> None:
    with dbapi2.connect(str(file)) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()


def header(file: Path) -> None:
    file.write_bytes(b"\0" * 4096 + file.read_bytes()[4096:])


def tables(file: Path) -> None:
    """Every page but the first."""
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


DAMAGE: Final[dict[str, Callable[[Path], None]]] = {
    "no database": no_database,
    "of another program": foreign,
    "of a newer release": newer,
    "its header": header,
    "its tables": tables,
}


# --- when it opens --------------------------------------------------------------------------


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_the_others_work_and_the_file_is_not_touched(
    data: Path, damage: Callable[[Path], None], *, brief: bool
) -> None:
    damage(file_of(data))
    before = contents(data)
    async with opened(data, brief=brief) as core:
        view = core.overview().environments[1]
        assert (view.name, view.state) == (DEV, "quarantined")
        assert "development.db" in view.reason
        assert await core.engine.memory("testing").get("k") == "v"
        await core.engine.memory("testing").set("k", "w")
        with pytest.raises(Corrupt) as caught:
            await core.engine.memory(DEV).get("k")
        assert caught.value.hint.startswith(HINT)
    assert contents(data) == before


async def test_a_file_that_was_left_in_use_keeps_its_log(data: Path) -> None:
    """Closing a connection would write the log back into the damaged file."""
    file, log = file_of(data), file_of(data).with_name(f"{DEV}.db-wal")
    async with opened(data) as core:
        await core.engine.memory(DEV).set("more", "v")
        shutil.copy(file, file.with_name("file.kept"))
        shutil.copy(log, log.with_name("log.kept"))
    shutil.move(file.with_name("file.kept"), file)
    shutil.move(log.with_name("log.kept"), log)
    tables(file)
    before = contents(data)
    assert len(before) == 2
    async with opened(data) as core:
        assert core.places[DEV].state == "quarantined"
    assert contents(data) == before


CALLS: Final[dict[str, Callable[[Engine], Any]]] = {
    "get": lambda engine: engine.memory(DEV).get("k"),
    "set": lambda engine: engine.memory(DEV).set("k", 1),
    "mget": lambda engine: engine.memory(DEV).mget(["k"]),
    "keys": lambda engine: engine.memory(DEV).keys(),
    "incr": lambda engine: engine.memory(DEV).incr("n"),
    "delete": lambda engine: engine.memory(DEV).delete("k"),
    "clear": lambda engine: engine.memory(DEV).clear(),
    "send": lambda engine: engine.queue(DEV).send("a", {}),
    "claim": lambda engine: engine.queue(DEV).claim(wait_s=60),
    "register": lambda engine: engine.agents.register(DEV, name="A", type="a"),
    "create swarm": lambda engine: engine.swarms.create(DEV, agents=0, memory_bytes=16 << 20),
    "act as": lambda engine: engine.memory(DEV).get("k", default=None),
    "terminate": lambda engine: engine.run(act.SwarmTerminate(id="dev_swarm_00000000")),
    "show message": lambda engine: engine.run(act.QueueShow(id="dev_msg_1")),
    "list swarms": lambda engine: engine.run(act.SwarmList(environment=DEV)),
    "grant": lambda engine: engine.run(
        act.AclGrant(subject="dev_agent_00000000", level="team", actions=("read",))
    ),
    "stats": lambda engine: engine.run(act.DatabaseStats(environment=DEV)),
    "optimize": lambda engine: engine.run(act.DatabaseOptimize(environment=DEV)),
    "back up": lambda engine: engine.run(act.BackupCreate(environment=DEV)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_every_call_says_how_to_restore_it(data: Path, call: Callable[[Engine], Any]) -> None:
    no_database(file_of(data))
    async with opened(data) as core:
        with pytest.raises(Corrupt) as caught:
            await call(core.engine)
        assert caught.value.hint.startswith(HINT)


async def test_all_environments_at_once_leave_it_out(data: Path) -> None:
    no_database(file_of(data))
    async with opened(data) as core:
        rows = await core.engine.run(act.DatabaseStats())
        assert [row.environment for row in rows] == ["production", "testing", "research", "staging"]
        checks = {row.name: row for row in await core.engine.run(act.DatabaseCheck(full=True))}
        assert len(checks) == 5
        assert (checks[DEV].status, checks["testing"].status) == ("failed", "ok")
        assert checks[DEV].hint.startswith(HINT)


async def test_it_is_an_alert_an_event_and_explained(data: Path) -> None:
    no_database(file_of(data))
    async with opened(data) as core:
        [alert] = await core.engine.run(act.AlertList(environment=DEV))
        assert (alert.rule, alert.severity, alert.state) == ("quarantined", "critical", "firing")
        events = await core.engine.run(act.JournalList(environment=DEV))
        assert (events[0].kind, events[0].severity) == ("quarantine", "critical")
        said = await core.engine.run(act.Explain(subject=DEV))
        assert said.state == "quarantined"
        assert said.reasons[0].rule == "quarantined"
        assert f"swarmdeck backup restore {DEV} NAME" in said.remedies


async def test_a_damaged_coordination_database_stops_the_engine(data: Path) -> None:
    no_database(file_of(data, "coordination"))
    with pytest.raises(Corrupt, match=r"coordination\.db"):
        async with opened(data):
            pass


# --- while it is used -----------------------------------------------------------------------


async def damage_in_use(core: Core, data: Path) -> bytes:
    """Overwrite the tables of a file that is open, and let nobody answer from memory. Returns
    what is in the file now."""
    database = core.places[DEV].database
    file = file_of(data)
    await database.checkpoint()
    tables(file)
    await database.tend(lambda raw: raw.execute("PRAGMA shrink_memory").fetchall())
    return file.read_bytes()


async def settled(core: Core) -> None:
    """Wait until the quarantine that has begun is complete."""
    async with asyncio.timeout(10):
        while core.places[DEV].state == "open":
            await asyncio.sleep(0)
        await asyncio.gather(*core.opened._quarantines)


@pytest.mark.parametrize(
    "meet",
    [
        lambda core: core.engine.memory(DEV).set("k", 1),
        lambda core: core.places[DEV].database.read(
            lambda reader: (
                reader.execute("PRAGMA shrink_memory").fetchall()
                or reader.execute("SELECT * FROM audit").fetchall()
            )
        ),
        lambda core: Aside(core.places[DEV].database).read(
            lambda reader: reader.execute("SELECT * FROM audit").fetchall()
        ),
    ],
    ids=["write", "read", "long look"],
)
async def test_damage_met_in_use_quarantines(data: Path, meet: Callable[[Core], Any]) -> None:
    async with opened(data) as core:
        after = await damage_in_use(core, data)
        with pytest.raises(Corrupt):
            await meet(core)
        await settled(core)
        with pytest.raises(Corrupt) as caught:
            await core.engine.memory(DEV).get("k")
        assert caught.value.hint.startswith(HINT)
        await core.engine.memory("testing").set("k", "w")
        assert file_of(data).read_bytes() == after
    assert file_of(data).read_bytes() == after


async def test_a_check_that_finds_damage_quarantines(data: Path) -> None:
    async with opened(data) as core:
        await damage_in_use(core, data)
        [found] = await core.engine.run(act.DatabaseCheck(environment=DEV))
        assert found.status == "failed"
        await settled(core)


async def test_the_log_of_a_file_found_damaged_in_use_is_not_written_back(data: Path) -> None:
    async with opened(data) as core:
        await core.places[DEV].database.checkpoint()
        await core.engine.memory(DEV).set("pending", "only in the log")
        tables(file_of(data))
        before = contents(data)
        assert before[f"{DEV}.db-wal"]
        [found] = await core.engine.run(act.DatabaseCheck(environment=DEV))
        assert found.status == "failed"
        await settled(core)
        assert contents(data) == before
    assert contents(data) == before


async def test_who_waits_for_a_message_is_not_left_waiting(data: Path) -> None:
    async with opened(data) as core:
        waiting = asyncio.create_task(core.engine.queue(DEV).claim(wait_s=60))
        await asyncio.sleep(0)
        await damage_in_use(core, data)
        with pytest.raises(Corrupt):
            await core.engine.memory(DEV).set("k", 1)
        async with asyncio.timeout(10):
            with suppress(Corrupt):
                assert await waiting == []


async def test_its_processes_end_and_their_memory_is_free(data: Path) -> None:
    async with opened(data, transient=False) as core:
        swarm = await core.swarms.create(DEV, agents=2, memory_bytes=64 << 20)
        pids = [agent.pid for agent in core.swarms.agents(swarm=swarm.id)]
        assert all(pid is not None and psutil.pid_exists(pid) for pid in pids)
        await damage_in_use(core, data)
        with pytest.raises(Corrupt):
            await core.engine.memory(DEV).set("k", 1)
        await settled(core)
        assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
        assert core.ledger.allocated_bytes == 0


# --- and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_restore_ends_it(data: Path, damage: Callable[[Path], None]) -> None:
    async with opened(data) as core:
        name = (await core.engine.run(act.BackupCreate(environment=DEV))).name
        await core.engine.memory(DEV).set("k", "later")
    damage(file_of(data))
    damaged = file_of(data).read_bytes()
    async with opened(data) as core:
        await core.engine.run(act.BackupRestore(environment=DEV, name=name))
        assert await core.engine.memory(DEV).get("k") == "v"
        await core.engine.memory(DEV).set("k", "again")
        assert core.overview().environments[1].state == "open"
        [kept] = file_of(data).parent.glob("replaced-*")
        assert (kept / f"{DEV}.db").read_bytes() == damaged
    async with opened(data) as core:
        assert await core.engine.memory(DEV).get("k") == "again"
        assert core.auditor.alarms == {}
