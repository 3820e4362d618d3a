"""What reads leave in the trail, and when they are refused for it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import codec
from swarmdeck.engine.audit import Reads
from swarmdeck.engine.audit import reads as reads_module
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.engine import Engine
from swarmdeck.engine.errors import StorageError, Unavailable
from swarmdeck.engine.memory.browse import Browse
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role
from swarmdeck.engine.store import database as database_module
from swarmdeck.engine.store import driver

OWNER = Principal("prod_agent_a", Role.AGENT, "production")
OTHER = Principal("prod_agent_b", Role.AGENT, "production")
DEV = Principal("dev_agent_a", Role.AGENT, "development")
STRANGER = Principal("dev_agent_b", Role.AGENT, "development")


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    from swarmdeck.engine.core import open_core

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with open_core(
        tmp_path / "data", settings=None, transient=True, headless=True, clock=None
    ) as opened:
        assert isinstance(opened.engine, Engine)
        yield opened


async def trail(place: Any, action: str = "memory.get") -> list[tuple[Any, ...]]:
    await place.database.write(lambda _: None)  # what was on its way is there now
    rows: list[tuple[Any, ...]] = await place.database.read(
        lambda reader: reader.execute(
            "SELECT actor, object, allowed, detail FROM audit WHERE action = ? ORDER BY sequence",
            (action,),
        ).fetchall()
    )
    return rows


async def put(place: Any, principal: Principal, key: str, level: str = "private") -> None:
    format_, body = codec.encode("v")
    await place.memory.set(principal, "default", key, format_, body, level)


async def got(answer: Any) -> Any:
    return await answer if asyncio.isfuture(answer) or asyncio.iscoroutine(answer) else answer


# --- all ------------------------------------------------------------------------------------------


async def test_every_read_of_production_leaves_a_row_before_it_is_answered(core: Any) -> None:
    place = core.places["production"]
    await put(place, OWNER, "k")
    before = place.database.chain.head.sequence
    assert (await got(place.memory.get(OWNER, "default", "k")))[2] == 1
    assert place.database.chain.head.sequence == before + 1
    assert await got(place.memory.get(OTHER, "default", "k")) is None
    assert await got(place.memory.get(OTHER, "default", "none")) is None
    assert await got(place.memory.has(OWNER, "default", "k")) is True
    assert await trail(place) == [
        ("prod_agent_a", "default/k", 1, ""),
        ("prod_agent_b", "default/k", 0, ""),
        ("prod_agent_b", "default/none", 1, "missing"),
        ("prod_agent_a", "default/k", 1, ""),
    ]


async def test_many_keys_leave_a_row_each_in_one_commit(core: Any) -> None:
    place = core.places["production"]
    for number in range(3):
        await put(place, OWNER, f"k{number}")
    batches = place.database.stats.batches
    found = await place.memory.mget(OWNER, "default", ["k0", "k1", "no", "k2"])
    assert [each is None for each in found] == [False, False, True, False]
    assert place.database.stats.batches == batches + 1
    assert [row[1] for row in await trail(place)] == [
        "default/k0", "default/k1", "default/no", "default/k2",
    ]  # fmt: skip


async def test_showing_what_has_not_changed_leaves_one_row_a_minute(core: Any) -> None:
    place = core.places["production"]
    await put(place, OWNER, "k")
    for _ in range(5):
        assert await place.memory.show(OWNER, "default", "k") is not None
    assert len(await trail(place)) == 1
    await put(place, OWNER, "k")
    await place.memory.show(OWNER, "default", "k")
    assert len(await trail(place)) == 2
    for _ in range(2):
        assert await place.memory.show(OTHER, "default", "k") is None
    assert [row[2] for row in await trail(place)] == [1, 1, 0, 0]


async def test_a_list_that_is_refreshed_leaves_one_row_a_minute(opening: Any, clock: Any) -> None:
    async with opening(mode="all") as scene:
        for _ in range(5):
            await scene.reads.look(OWNER, "memory.keys", "default/user:")
        await scene.reads.look(OWNER, "memory.keys", "default/other:")
        await scene.reads.look(OTHER, "memory.keys", "default/user:")
        assert len(await trail(scene, "memory.keys")) == 3
        clock.advance(61)
        scene.reads.tick()
        await scene.reads.look(OWNER, "memory.keys", "default/user:")
        assert len(await trail(scene, "memory.keys")) == 4


async def test_listing_and_paging_are_noted(core: Any) -> None:
    place = core.places["production"]
    await place.memory.keys(OWNER, "default", "user:", 10, None)
    await place.memory.browse(OPERATOR_PRINCIPAL, Browse("default", "user:"))
    assert await trail(place, "memory.keys") == [("prod_agent_a", "default/user:", 1, "")]
    assert await trail(place, "memory.list") == [("operator", "default/user:", 1, "")]


async def test_a_disk_that_hangs_refuses_reads_within_the_limit(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = core.places["production"]
    await put(place, OWNER, "k")
    let_go = threading.Event()
    whole = database_module.run_batch

    def hang(*args: Any) -> Any:
        let_go.wait(30)
        return whole(*args)

    monkeypatch.setattr(database_module, "run_batch", hang)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        reads = [got(place.memory.get(OWNER, "default", "k")) for _ in range(100)]
        answers = await asyncio.gather(*reads, return_exceptions=True)
        waited_s = loop.time() - began_s
    finally:
        let_go.set()
    assert {type(answer) for answer in answers} == {Unavailable}
    assert "within 2 s" in str(answers[0])
    assert 1.9 < waited_s < 3.5
    monkeypatch.undo()
    assert await got(place.memory.get(OWNER, "default", "k")) is not None


async def test_a_disk_that_refuses_gives_no_value(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = core.places["production"]
    await put(place, OWNER, "k")

    def refuse(*_: Any) -> Any:
        raise driver.OperationalError("disk I/O error")

    with monkeypatch.context() as planted:
        planted.setattr(database_module.Transaction, "write_audit", refuse)
        for read in (
            place.memory.get(OWNER, "default", "k"),
            place.memory.get(OTHER, "default", "k"),
            place.memory.get(OTHER, "default", "none"),
            place.memory.has(OWNER, "default", "k"),
            place.memory.mget(OWNER, "default", ["k"]),
            place.memory.show(OWNER, "default", "k"),
            place.memory.keys(OWNER, "default", "", 10, None),
        ):
            with pytest.raises(Unavailable, match="could not be audited"):
                await read


@pytest.mark.parametrize("who", [OWNER, OTHER], ids=["found", "refused"])
async def test_what_is_refused_and_what_is_missing_take_the_same_steps(
    core: Any, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look in the file and one commit each, whether the record is in memory or not."""
    place = core.places["production"]
    await put(place, OWNER, "k")
    place.memory.cache.complete = False
    steps: list[str] = []
    ask, keep = place.memory._misses.ask, place.memory.reads.keep

    def asked(*at: Any) -> Any:
        steps.append("look")
        return ask(*at)

    async def kept(rows: Any) -> None:
        steps.append("commit")
        await keep(rows)

    monkeypatch.setattr(place.memory._misses, "ask", asked)
    monkeypatch.setattr(place.memory.reads, "keep", kept)
    await got(place.memory.get(OTHER, "default", "none"))
    missing, steps[:] = list(steps), []
    await got(place.memory.get(who, "default", "k"))
    assert missing == ["look", "commit"]
    assert steps == (missing if who is OTHER else ["commit"])


# --- sampled and none -----------------------------------------------------------------------------


async def test_one_in_so_many_reads_leaves_a_row(core: Any) -> None:
    place = core.places["development"]
    await put(place, DEV, "k")
    for _ in range(1_000):
        assert not asyncio.isfuture(place.memory.get(DEV, "default", "k"))
    assert len(await trail(place)) == 1_000 // core.settings.audit.sample_every


async def test_no_read_leaves_a_row_where_none_does(opening: Any) -> None:
    async with opening(mode="none") as scene:
        for _ in range(1_000):
            assert scene.reads.note(DEV, "memory.get", "default/k") is None
        assert await trail(scene) == []


async def test_what_is_refused_always_leaves_a_row(core: Any) -> None:
    place = core.places["development"]
    await put(place, DEV, "k")
    assert await got(place.memory.get(STRANGER, "default", "k")) is None
    assert await trail(place) == [("dev_agent_b", "default/k", 0, "")]


@pytest.mark.parametrize("mode", ["sampled", "none"])
async def test_a_flood_of_refusals_costs_a_few_rows(
    opening: Any, clock: FakeClock, mode: Any
) -> None:
    async with opening(mode=mode) as scene:
        for number in range(10_000):
            scene.reads.denied(STRANGER, "default", f"k{number % 100}")
        rows = await trail(scene)
        assert len(rows) == reads_module.DENIALS_A_MINUTE
        clock.advance(60)
        scene.reads.tick()
        rows = await trail(scene)
        assert (
            rows[-1][3]
            == f"{10_000 - reads_module.DENIALS_A_MINUTE} more refused reads within a minute"
        )
        scene.reads.denied(STRANGER, "default", "k1")
        assert len(await trail(scene)) == len(rows) + 1


async def test_reads_nobody_waits_for_are_bounded(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "PENDING_ROWS", 10)
    async with opening(mode="sampled", sample_every=1) as scene:
        for _ in range(100):
            scene.reads.note(DEV, "memory.get", "default/k")
        assert scene.reads.lost == 90
        assert len(await trail(scene)) == 10
        scene.reads.note(DEV, "memory.get", "default/k")
        assert len(await trail(scene)) == 11


async def test_a_sampled_read_on_a_bad_disk_is_still_answered(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(mode="sampled", sample_every=1) as scene:

        def refuse(*_: Any) -> Any:
            raise driver.OperationalError("disk I/O error")

        with monkeypatch.context() as planted:
            planted.setattr(database_module.Transaction, "write_audit", refuse)
            assert scene.reads.note(DEV, "memory.get", "default/k") is None
            with pytest.raises(StorageError):
                await scene.database.write(lambda _: None)
        assert scene.reads.lost == 1


async def test_reading_marks_no_panel_as_stale(tmp_path: Path, clock: FakeClock) -> None:
    """Else a panel that shows a record would be drawn anew for ever."""
    from swarmdeck.engine.store.database import StoreOptions, open_database

    told: list[frozenset[str]] = []
    async with open_database(
        tmp_path / "d.db",
        "production",
        options=StoreOptions(),
        clock=clock,
        on_commit=lambda _, topics, __: told.append(topics),
    ) as opened:
        reads = Reads(opened, clock, mode="all")
        waiting = reads.note(OWNER, "memory.get", "default/k")
        assert waiting is not None
        await waiting
        assert told == []
        await opened.write(lambda _: None, topic="memory")
        assert told == [frozenset({"memory"})]


async def test_a_value_never_enters_the_trail(core: Any) -> None:
    canary = "canary-5f2a"
    for name, owner in (("production", OWNER), ("development", DEV)):
        place = core.places[name]
        format_, body = codec.encode({"secret": canary})
        await place.memory.set(owner, "default", "k", format_, body, "team")
        for _ in range(200):
            await got(place.memory.get(owner, "default", "k"))
        await place.memory.mget(owner, "default", ["k"])
        await place.memory.show(owner, "default", "k")
        await place.memory.delete(owner, "default", "k")
        rows = await place.database.read(
            lambda reader: reader.execute("SELECT * FROM audit").fetchall()
        )
        assert rows
        assert canary not in str(list(itertools.chain(*rows)))
