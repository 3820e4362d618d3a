"""Tidying up holds nobody up, a full check reads everything, and who pins the log is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from pysqlite3 import dbapi2

from swarmdeck.engine import Engine, open_engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.alerts.rules import PINNED_BYTES, PINNED_S, Sight, findings
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import StorageError
from swarmdeck.engine.store.pins import Pinned, Pins

DEV: Final = "development"
MANY: Final = 4_000


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with open_core(
        tmp_path / "data", settings=None, transient=True, headless=False, clock=None
    ) as opened:
        yield opened


def file_of(core: Core) -> Path:
    return core.data / "instances" / DEV / f"{DEV}.db"


async def fill(engine: Engine, count: int, size: int = 2_000) -> None:
    memory = engine.memory(DEV)
    for start in range(0, count, 500):
        await memory.mset(
            {f"k{start + n}": f"{start + n}" + "x" * size for n in range(500)}, level="public"
        )


# --- tidying up -----------------------------------------------------------------------------


async def test_unused_pages_are_given_back_and_the_log_is_emptied(core: Core) -> None:
    memory = core.engine.memory(DEV)
    for number in range(0, MANY, 500):  # what does not compress
        await memory.mset({f"k{number + n}": core.clock.token(900) for n in range(500)})
    await core.engine.run(act.DatabaseOptimize(environment=DEV))
    full = file_of(core).stat().st_size
    await memory.clear()
    [before] = await core.engine.run(act.DatabaseStats(environment=DEV))
    assert before.free_bytes > full / 2
    [found] = await core.engine.run(act.DatabaseOptimize(environment=DEV))
    [after] = await core.engine.run(act.DatabaseStats(environment=DEV))
    assert found.status == "ok"
    assert "given back" in found.detail
    assert after.free_bytes <= 2 << 20  # what a full disk needs is kept
    assert file_of(core).stat().st_size < full * 2 / 3
    assert after.wal_bytes == 0
    [checked] = await core.engine.run(act.DatabaseCheck(environment=DEV, full=True))
    assert checked.status == "ok"


async def test_callers_go_on_meanwhile(core: Core) -> None:
    await fill(core.engine, 1_000)
    await core.engine.memory(DEV).clear()
    memory, over = core.engine.memory(DEV), asyncio.Event()

    async def write() -> int:
        number = 0
        while not over.is_set():
            number += 1
            await memory.set("live", number)
        return number

    writing = asyncio.create_task(write())
    await core.engine.run(act.DatabaseOptimize(environment=DEV))
    over.set()
    assert await writing == await memory.get("live")


async def test_a_reader_keeps_the_log_and_nobody_waits_for_it(core: Core) -> None:
    await fill(core.engine, 500)
    other = dbapi2.connect(f"file:{file_of(core)}?mode=ro", uri=True, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM memory").fetchone()
    await core.engine.memory(DEV).set("k1", "later")
    [found] = await core.engine.run(act.DatabaseOptimize(environment=DEV))
    assert (found.status, "a reader keeps the log" in found.detail) == ("warning", True)
    other.close()
    [found] = await core.engine.run(act.DatabaseOptimize(environment=DEV))
    assert found.status == "ok"


async def test_plans_of_hot_statements_outlast_new_statistics(core: Core) -> None:
    """What the planner learns must not turn it away from the indexes that statements are made
    for."""
    queue = core.engine.queue(DEV)
    await fill(core.engine, 500)
    await asyncio.gather(*(queue.send("a", {}, priority=n % 10 + 1) for n in range(500)))
    database = core.places[DEV].database
    wanted = (
        "SELECT body FROM memory WHERE env = ? AND namespace = ? AND key = ?",
        """SELECT id FROM message WHERE env = ? AND target = ? AND state = 0
           ORDER BY priority DESC, id LIMIT 5""",
        "SELECT min(expires_at) FROM memory WHERE env = ? AND expires_at IS NOT NULL",
    )

    async def plans() -> list[str]:
        def ask(sql: str) -> list[str]:
            rows = raw.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?")).fetchall()
            return [row[3] for row in rows]

        raw = dbapi2.connect(f"file:{database.path}?mode=ro", uri=True)
        try:
            return [step for sql in wanted for step in ask(sql)]
        finally:
            raw.close()

    before = await plans()
    await core.engine.run(act.DatabaseOptimize(environment=DEV))
    assert await plans() == before
    assert not any("SCAN" in step and "INDEX" not in step for step in before)


# --- checking -------------------------------------------------------------------------------


async def test_a_full_check_finds_a_record_that_does_not_match_its_seal(core: Core) -> None:
    await fill(core.engine, 500)
    change = "UPDATE memory SET version = version + 1 WHERE key = 'k7'"
    await core.places[DEV].database.tend(lambda raw: raw.execute(change))
    [quick] = await core.engine.run(act.DatabaseCheck(environment=DEV))
    [full] = await core.engine.run(act.DatabaseCheck(environment=DEV, full=True))
    assert (quick.status, full.status) == ("ok", "failed")
    assert "k7" in full.detail
    assert core.places[DEV].state == "open"  # one record is not the file


async def test_a_full_check_finds_an_audit_row_that_was_changed(core: Core) -> None:
    await fill(core.engine, 500)
    change = "UPDATE audit SET actor = 'nobody' WHERE sequence = 1"
    await core.places[DEV].database.tend(lambda raw: raw.execute(change))
    [full] = await core.engine.run(act.DatabaseCheck(environment=DEV, full=True))
    assert (full.status, "audit trail" in full.detail) == ("failed", True)


async def test_a_full_check_of_a_sealed_vault_says_what_it_could_not_read(core: Core) -> None:
    await fill(core.engine, 500)
    await core.engine.run(act.VaultSeal())
    [full] = await core.engine.run(act.DatabaseCheck(environment=DEV, full=True))
    assert (full.status, "sealed" in full.detail) == ("warning", True)


async def test_a_check_reports_how_far_it_is(core: Core) -> None:
    await fill(core.engine, 500)
    receipt = await core.engine.dispatch(act.DatabaseCheck(full=True))
    seen = [step.fraction async for step in receipt]
    assert len(seen) > 5
    assert seen == sorted(seen)


# --- who pins the log -------------------------------------------------------------------------


def test_open_reads_are_counted_from_the_oldest() -> None:
    clock = FakeClock()
    pins = Pins(clock)
    with pins.reading("a backup"):
        clock.advance(5)
        with pins.reading("queries"):
            clock.advance(2)
            assert pins.pinned == Pinned(2, 7.0, "a backup")
    assert pins.pinned == Pinned()


async def test_a_read_that_pins_a_long_log_is_an_alert(core: Core) -> None:
    def found(pinned: Pinned) -> list[str]:
        sight = Sight(overview=core.overview(), pinned={DEV: pinned})
        return [each.detail for each in findings(sight) if each.rule == "log-pinned"]

    [detail] = found(Pinned(1, PINNED_S + 1, "a backup", PINNED_BYTES + 1))
    assert detail.startswith("a backup has been open for 61 s")
    assert found(Pinned(1, PINNED_S - 1, "a backup", PINNED_BYTES + 1)) == []
    assert found(Pinned(1, PINNED_S + 1, "a backup", PINNED_BYTES - 1)) == []


async def test_slow_statements_are_listed_by_environment(tmp_path: Path) -> None:
    async with open_engine(tmp_path / "data") as engine:
        assert await engine.run(act.DatabaseSlow(environment=DEV)) == []


async def test_an_environment_that_cannot_be_tidied_up_holds_up_no_other(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file may be locked by another process for as long as that likes."""
    swept = []

    async def sweep(_: float) -> int:
        raise StorageError("the file is locked")

    for name, place in core.opened.serving.items():

        async def noted(name: str = name) -> None:
            swept.append(name)

        monkeypatch.setattr(place.queue.schedules, "tick", noted)
        monkeypatch.setattr(place.queue.retention, "sweep", sweep)
    await core.ticker.sweep(due=True)
    assert swept == list(core.opened.serving)


async def test_upkeep_goes_on_after_a_disk_error(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else sends what schedules have due, measures, probes and deletes what has expired."""
    looked = asyncio.Event()

    async def fail() -> None:
        if looks:
            looked.set()
        looks.append(1)
        raise OSError(28, "No space left on device")

    looks: list[int] = []
    monkeypatch.setattr("swarmdeck.engine.ticker.TICK_S", 0)
    monkeypatch.setattr(core.swarms, "sample", fail)
    running = asyncio.create_task(core.ticker.run())
    try:
        async with asyncio.timeout(5):
            await asyncio.wait(
                {running, woken := asyncio.create_task(looked.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert woken.done()
    finally:
        running.cancel()
        await asyncio.wait({running})
