"""Long looks: beside the reader, bounded, and over when nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.errors import StorageError, Unavailable
from swarmdeck.engine.store import aside
from swarmdeck.engine.store.aside import Aside
from swarmdeck.engine.store.contains import containing
from swarmdeck.engine.store.database import Database, Reader, StoreOptions, open_database

ENDLESS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"""


class HastyClock(FakeClock):
    """Every look at it takes a second."""

    def monotonic_s(self) -> float:
        self.advance(1)
        return super().monotonic_s()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(
        tmp_path / "d.db", "development", options=StoreOptions(), clock=SystemClock()
    ) as opened:
        yield opened


def endless(reader: Reader) -> object:
    return reader.execute(ENDLESS).fetchone()


async def test_a_look_that_takes_too_long_is_ended_with_a_clear_error(database: Database) -> None:
    database.clock = HastyClock()
    with pytest.raises(Unavailable, match="took longer than 3 s") as ended:
        await Aside(database, limit_s=3).read(endless)
    assert "a prefix" in ended.value.hint
    assert await Aside(database).read(lambda reader: reader.env) == "development"


async def test_readers_do_not_wait_for_a_long_look(database: Database) -> None:
    started = threading.Event()

    def long(reader: Reader) -> object:
        started.set()
        return endless(reader)

    looking = asyncio.ensure_future(Aside(database, limit_s=60).read(long))
    await asyncio.to_thread(started.wait, 10)
    row = await database.read(lambda reader: reader.execute("SELECT 1").fetchone())
    assert row == (1,)
    assert not looking.done()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 100])
async def test_a_caller_that_leaves_ends_its_look(database: Database, turns: int) -> None:
    """At whatever point: no connection is left, and the next one gets in."""
    threads = threading.active_count()
    looks = Aside(database, limit_s=600)
    waiting = [asyncio.ensure_future(looks.read(endless)) for _ in range(aside.LOOKS_AT_ONCE)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await looks.read(lambda reader: reader.env) == "development"
    async with asyncio.timeout(10):  # a thread that has been told to stop takes a moment
        while threading.active_count() > threads:
            await asyncio.sleep(0.01)


async def test_a_light_look_uses_the_reader_that_is_there(database: Database) -> None:
    names: list[str] = []

    def noted(_: Reader) -> None:
        names.append(threading.current_thread().name)

    await Aside(database).read(noted, rows=aside.LIGHT_ROWS)
    await database.read(noted)
    await Aside(database).read(noted, rows=aside.LIGHT_ROWS + 1)
    assert names[0] == names[1] != names[2]


async def test_a_look_changes_nothing_and_fails_as_ours(database: Database) -> None:
    with pytest.raises(StorageError):
        await Aside(database).read(lambda reader: reader.execute("DELETE FROM memory"))


@pytest.mark.parametrize(
    ("text", "stored", "found"),
    [
        ("ab", "xABx", True),
        ("AB", "xabx", True),
        ("ä", "Ä", True),
        ("GRÖSSE b", "grösse B", True),
        ("grösse B", "GRÖSSE b", True),
        ("%", "abc", False),
        ("_", "abc", False),
        ("ab", "a", False),
    ],
)
async def test_a_text_is_found_in_any_case(
    database: Database, text: str, stored: str, found: bool
) -> None:
    condition, parameters = containing(text, ("key", "''"))
    row = await database.read(
        lambda reader: reader.execute(
            f"SELECT {condition} FROM (SELECT ? AS key)", (*parameters, stored)
        ).fetchone()
    )
    assert row == (found,)
