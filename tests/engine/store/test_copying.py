"""A long log is copied beside the writer; what counts as copied is copied again after a failure."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Corrupt, StorageError
from swarmdeck.engine.model import Durability
from swarmdeck.engine.store import batch, driver, prepare
from swarmdeck.engine.store import copying as copying_module
from swarmdeck.engine.store import database as database_module
from swarmdeck.engine.store.database import (
    MOST_LOGS,
    Database,
    StoreOptions,
    open_database,
)
from swarmdeck.engine.store.descriptor import descriptor
from swarmdeck.engine.store.log import copy_again, log_of

from .lost import Lost
from .teams import add, alone, names

OPTIONS = StoreOptions(durability=Durability.FULL, autocheckpoint_pages=100)
PATIENCE_S = 20.0
PAGE = 4096
LONG = "x" * 3_000  # one to a page


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(
        tmp_path / "d.db", "development", options=OPTIONS, clock=FakeClock()
    ) as opened:
        yield opened


class Held:
    """Copying beside the writer that waits until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self._copy = copying_module._copy_log
        monkeypatch.setattr(copying_module, "_copy_log", self._held)

    def _held(self, *arguments: Any) -> None:
        self.begun.set()
        assert self.goes_on.wait(PATIENCE_S)
        self._copy(*arguments)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def is_left(raw: Any) -> bool:
    """Whether anything of the log is not copied."""
    _, pages, done = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return bool(pages != done)


async def add_until(database: Database, done: Callable[[], bool]) -> int:
    """Add teams until something happens; how many."""
    number = 0
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            number += 1
            await add(database, f"t{number}")
    return number


async def test_a_long_log_is_copied_while_writers_go_on(database: Database, held: Held) -> None:
    """Held up in the middle of copying, it holds up nobody; then the log is begun anew."""
    number = await add_until(database, held.begun.is_set)
    for beyond in range(50):
        await add(database, f"beyond{beyond}")
    assert len(alone(database)) < number + 50
    held.goes_on.set()
    async with asyncio.timeout(PATIENCE_S):
        while len(alone(database)) < number + 50:
            await asyncio.sleep(0.01)
    longest = database.wal_bytes
    async with asyncio.timeout(PATIENCE_S):
        while await database.tend(is_left):
            await asyncio.sleep(0.01)
    await add(database, "anew")
    assert database.wal_bytes == longest


async def test_upkeep_waits_for_what_is_copied_beside_the_writer(
    database: Database, held: Held
) -> None:
    await add_until(database, held.begun.is_set)
    tending = asyncio.create_task(database.tend(lambda _: held.goes_on.is_set()))
    await add(database, "beside")
    assert not tending.done()
    held.goes_on.set()
    assert await tending is True


async def test_upkeep_asks_again_after_it_has_waited(database: Database, held: Held) -> None:
    await add_until(database, held.begun.is_set)
    tending = asyncio.create_task(database.tend(lambda _: "done"))
    await asyncio.sleep(0)
    database.damaged(Corrupt("planted"))
    held.goes_on.set()
    with pytest.raises(Corrupt, match="planted"):
        await tending


async def test_a_writer_that_outruns_the_copy_waits_for_it(database: Database, held: Held) -> None:
    async def adding() -> None:
        for number in range(1_000):
            await add(database, f"t{number}")

    writing = asyncio.create_task(adding())
    longest = 0
    while database.wal_bytes > longest or longest == 0:
        longest = database.wal_bytes
        await asyncio.sleep(0.2)
    assert not writing.done()
    assert longest < 2 * MOST_LOGS * OPTIONS.autocheckpoint_pages * PAGE
    held.goes_on.set()
    await writing
    assert len(await database.read(names)) == 1_000


def of_the_driver() -> Exception:
    error = driver.dbapi2.OperationalError("the disk says no")
    error.sqlite_errorcode = 10
    return error


@pytest.mark.parametrize("error", [of_the_driver(), OSError(errno.EIO, "the disk says no")])
async def test_a_disk_that_fails_beside_the_writer_finishes_its_connection_too(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any) -> None:
        raise error

    writer = database._writer
    monkeypatch.setattr(copying_module, "_copy_log", broken)
    for number in range(400):
        await add(database, f"t{number}")
    assert database._writer is not writer
    assert len(await database.read(names)) == 400


async def test_nothing_is_copied_beside_a_writer_whose_disk_has_failed(
    database: Database, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused() -> None:
        raise StorageError("still failed")

    held.goes_on.set()
    await add(database, "a")
    monkeypatch.setattr(database, "_mend", refused)
    database.disk.failed = "planted"
    database.disk.log_pages = 10 * OPTIONS.autocheckpoint_pages
    database._flush_soon()
    while database._draining is not None:
        await asyncio.sleep(0)
    assert not held.begun.is_set()


async def test_closing_waits_for_what_is_copied(database: Database, held: Held) -> None:
    number = await add_until(database, held.begun.is_set)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    held.goes_on.set()
    await closing
    assert len(alone(database)) == number


# --- once more ----------------------------------------------------------------------------------


@asynccontextmanager
async def looking(database: Database) -> AsyncIterator[None]:
    """Somebody who reads what the file holds now, so that what follows stays in the log."""
    connection = await driver.connect(database.path, read_only=True)
    try:
        await connection.run(lambda raw: raw.execute("BEGIN"))
        await connection.run(lambda raw: raw.execute("SELECT count(*) FROM team").fetchall())
        yield
        await connection.run(lambda raw: raw.rollback())
    finally:
        await connection.close()


def copied(raw: Any) -> int:
    """How many pages of the log count as copied into the file."""
    return int(raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[2])


async def copied_in_part(database: Database) -> Lost:
    """A log of which a part is copied and counts as that, and what the file held before."""
    for number in range(20):
        await add(database, f"t{number:02}", LONG)
    await database.checkpoint()
    lost = Lost(database.path)
    for number in range(20, 30):
        await add(database, f"t{number:02}", LONG)
    async with looking(database):
        await add(database, "u", LONG)
        await database.checkpoint()
    assert await database.tend(copied) > 0
    return lost


EXPECTED = [*(f"t{number:02}" for number in range(30)), "u"]


async def test_what_was_copied_in_part_and_lost_is_copied_again(database: Database) -> None:
    """SQLite does not sync what it has copied of a log until it has copied all of it."""
    (await copied_in_part(database)).happen()
    database.disk.failed = "planted"
    await add(database, "v")
    assert await database.read(names) == [*EXPECTED, "v"]
    await database.checkpoint()
    assert alone(database) == [*EXPECTED, "v"]


async def test_who_reads_while_a_disk_is_mended_sees_what_it_saw(database: Database) -> None:
    lost = await copied_in_part(database)
    connection = await driver.connect(database.path, read_only=True)
    await connection.run(lambda raw: raw.execute("BEGIN"))
    seen = await connection.run(lambda raw: raw.execute("SELECT id FROM team").fetchall())
    lost.happen()
    database.disk.failed = "planted"
    await add(database, "v")
    again = await connection.run(lambda raw: raw.execute("SELECT id FROM team").fetchall())
    assert again == seen
    await connection.close()


async def test_a_mended_file_is_what_its_log_says_and_not_what_was_lost(database: Database) -> None:
    """A page of its own, the first of the file, is in no later commit: the lost one of before has
    another list of free pages."""
    for number in range(60):
        await add(database, f"t{number:02}", LONG)
    await add(database, "u")
    await database.write(lambda tx: tx.execute("DELETE FROM team WHERE id < 't40'"))
    await database.checkpoint()
    lost = Lost(database.path)
    for number in range(20):
        await add(database, f"v{number:02}", LONG)
    async with looking(database):
        await database.write(lambda tx: tx.execute("UPDATE team SET updated_at = 7 WHERE id = 'u'"))
        await database.checkpoint()
    free = await database.tend(free_pages)
    lost.happen()
    database.disk.failed = "planted"
    await database.write(lambda tx: tx.execute("UPDATE team SET updated_at = 8 WHERE id = 'u'"))
    assert await database.tend(free_pages) == free
    found = await database.tend(lambda raw: raw.execute("PRAGMA integrity_check").fetchall())
    assert found == [("ok",)]


def free_pages(raw: Any) -> int:
    return int(raw.execute("PRAGMA freelist_count").fetchone()[0])


async def test_a_file_that_cannot_be_asked_is_not_condemned(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is lost may be where SQLite begins to read; opening the file again reads its log. A disk
    that still fails is told as what it is."""

    class Broken:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def execute(self, _: str) -> None:
            raise self._error

        def close(self) -> None:
            pass

    await add(database, "a")
    database.disk.failed = "planted"
    for error, words in (
        (driver.DatabaseError("database disk image is malformed"), "mended while it is in use"),
        (of_the_driver(), "the disk says no"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(prepare.driver, "look", lambda _, error=error: Broken(error))
            with pytest.raises(StorageError, match=words) as caught:
                await add(database, "b")
        assert ("close the engine" in caught.value.hint) == ("malformed" in str(error))
    await add(database, "b")
    assert await database.read(names) == ["a", "b"]


async def test_upkeep_that_rewrites_the_file_finishes_the_connection_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise of_the_driver()

    monkeypatch.setattr(database_module, "rebuild", broken)
    with pytest.raises(StorageError):
        await database.rebuild()
    assert database.disk.failed


# --- the descriptor beside SQLite's -------------------------------------------------------------


async def mended(database: Database) -> int:
    """A file that was copied again in part, and the descriptor for that."""
    async with looking(database):
        await add(database, "v")
        await database.checkpoint()
        database.disk.failed = "planted"
        await add(database, "w")
    return descriptor(database.path)


def is_locked(path: Path) -> bool:
    """Whether this process has SQLite's lock on a file."""
    wanted = f"{os.getpid()} ", f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any(all(part in f"{line} " for part in wanted) for line in lines)


async def test_the_descriptor_is_closed_after_the_last_connection(database: Database) -> None:
    lent = await mended(database)
    assert await mended_again(database) == lent
    async with looking(database):
        await database.close()
        assert os.fstat(lent).st_ino == database.path.stat().st_ino
        assert is_locked(database.path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lent)


async def mended_again(database: Database) -> int:
    await database.write(lambda tx: tx.execute("DELETE FROM team"))
    return await mended(database)


async def test_a_process_without_a_descriptor_left_copies_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(_: Path) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(copying_module, "descriptor", too_many)
    writer = database._writer
    for number in range(400):
        await add(database, f"t{number}")
    assert database._writer is writer


# --- what a flush promises ----------------------------------------------------------------------


async def test_a_flush_syncs_the_log_where_a_reader_holds_the_copy_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(batch, "sync_log", synced.append)
    await add(database, "a")
    await database.checkpoint()
    assert synced == []
    async with looking(database):
        await add(database, "b")
        await database.checkpoint()
    assert synced == [database.path]


async def test_a_log_that_cannot_be_synced_finishes_the_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "the disk says no")

    await add(database, "a")
    async with looking(database):
        await add(database, "b")
        with monkeypatch.context() as patched:
            patched.setattr(batch, "sync_log", broken)
            with pytest.raises(StorageError, match="was not synced"):
                await database.checkpoint()
        assert database.disk.failed
    await add(database, "c")
    assert await database.read(names) == ["a", "b", "c"]


# --- the log that is read -----------------------------------------------------------------------


@pytest.mark.parametrize("place", [4, 20, 32 + 8, 32 + 24 + 100, -1])
async def test_a_log_that_is_not_whole_is_not_copied_again(database: Database, place: int) -> None:
    """A wrong byte in its header, a frame or a page, or an end that is missing."""
    await copied_in_part(database)
    frames = await database.tend(copied)
    log = bytearray(log_of(database.path).read_bytes())[: 32 + frames * (24 + PAGE)]
    if place < 0:
        del log[place:]
    else:
        log[place] ^= 1
    path = database.path.with_name("e.db")
    path.write_bytes(b"file")
    log_of(path).write_bytes(log)
    with pytest.raises(OSError, match="does not hold"):
        copy_again(path, frames)
    assert path.read_bytes() == b"file"


async def test_pages_that_the_file_has_no_more_are_not_copied_again(database: Database) -> None:
    for number in range(50):
        await add(database, f"l{number}", LONG)
    await database.checkpoint()
    full = database.path.stat().st_size
    await database.write(lambda tx: tx.execute("DELETE FROM team"))
    async with looking(database):
        await add(database, "pinned")
    await database.tend(lambda raw: raw.execute("PRAGMA incremental_vacuum").fetchall())
    async with looking(database):
        await add(database, "a")
        await database.checkpoint()
        database.disk.failed = "planted"
        await add(database, "b")
    await database.checkpoint()
    assert database.path.stat().st_size < full
    assert await database.read(names) == ["a", "b", "pinned"]
