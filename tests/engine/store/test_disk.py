"""A disk that fails or is full: what the file, its log and the space held back are good for."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Corrupt, OutcomeUnknown, StorageError
from swarmdeck.engine.model import Durability
from swarmdeck.engine.store import database as database_module
from swarmdeck.engine.store import driver, prepare
from swarmdeck.engine.store import log as log_module
from swarmdeck.engine.store.database import (
    Database,
    StoreOptions,
    Transaction,
    open_database,
)
from swarmdeck.engine.store.log import log_of, rewrite_log
from swarmdeck.engine.store.reserve import Reserve

from .teams import add, alone, names

OPTIONS = StoreOptions(durability=Durability.FULL, autocheckpoint_pages=100)
PATIENCE_S = 20.0


class Failing:
    """Fails the statements that begin with a word, as the disk would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.word = ""
        self.code = 0
        self.seen = 0
        execute = driver._CallableConnection.execute

        def failing(connection: Any, sql: str, parameters: Any = ()) -> Any:
            if self.word and sql.startswith(self.word):
                self.seen += 1
                error = driver.dbapi2.OperationalError("the disk says no")
                error.sqlite_errorcode = self.code
                error.sqlite_errorname = "SQLITE_PLANTED"
                raise error
            return execute(connection, sql, parameters)

        monkeypatch.setattr(driver._CallableConnection, "execute", failing)

    def begin(self, word: str, code: int) -> None:
        self.word, self.code = word, code

    def end(self) -> None:
        self.word = ""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "reserve", 1 << 20)


@pytest.fixture
async def database(tmp_path: Path, reserve: Reserve) -> AsyncIterator[Database]:
    reserve.make()
    async with open_database(
        tmp_path / "d.db", "development", options=OPTIONS, clock=FakeClock(), reserve=reserve
    ) as opened:
        yield opened


async def test_a_connection_whose_disk_failed_is_replaced(
    database: Database, failing: Failing
) -> None:
    await add(database, "a")
    first = database._writer
    failing.begin("COMMIT", 10)
    with pytest.raises(OutcomeUnknown, match="SQLITE_PLANTED") as caught:
        await add(database, "b")
    assert "read it back" in caught.value.hint
    assert "the disk failed" in database.disk.trouble
    with pytest.raises(StorageError):
        await add(database, "c")  # its replacement meets the same disk
    with pytest.raises(StorageError, match="the disk failed"):
        await database.pragmas()
    with pytest.raises(StorageError, match="the disk failed"):
        await database.tend(lambda raw: raw.in_transaction)
    failing.end()
    assert await database.read(names) == ["a"]
    await add(database, "d")
    assert database._writer is not first
    assert database.disk.trouble == ""
    assert await database.read(names) == ["a", "d"]


async def test_a_replaced_connection_has_the_settings_of_the_first(
    database: Database, failing: Failing
) -> None:
    before = await database.pragmas()
    failing.begin("COMMIT", 10)
    with pytest.raises(OutcomeUnknown):
        await add(database, "a")
    failing.end()
    await add(database, "b")
    assert await database.pragmas() == before


async def test_a_disk_that_is_well_again_is_noticed_without_a_write(
    tmp_path: Path, failing: Failing
) -> None:
    options = StoreOptions(durability=Durability.FULL, checkpoint_interval_s=0.02)
    path, clock = tmp_path / "d.db", FakeClock()
    async with open_database(path, "development", options=options, clock=clock) as database:
        failing.begin("COMMIT", 10)
        with pytest.raises(OutcomeUnknown):
            await add(database, "a")
        failing.end()
        async with asyncio.timeout(10):
            while database.disk.trouble:
                await asyncio.sleep(0.01)


async def test_a_checkpoint_that_fails_takes_no_caller_with_it(
    tmp_path: Path, failing: Failing
) -> None:
    options = StoreOptions(durability=Durability.NORMAL, checkpoint_interval_s=0.02)
    path, clock = tmp_path / "d.db", FakeClock()
    async with open_database(path, "development", options=options, clock=clock) as database:
        failing.begin("PRAGMA wal_checkpoint(PASSIVE)", 10)
        await add(database, "a")
        async with asyncio.timeout(10):
            while not failing.seen:
                await asyncio.sleep(0.01)
        await add(database, "b")
        failing.end()
        await add(database, "c")
        assert await database.read(names) == ["a", "b", "c"]


async def test_upkeep_that_meets_a_failed_disk_finishes_the_connection_too(
    database: Database, failing: Failing
) -> None:
    failing.begin("PRAGMA optimize", 10)
    with pytest.raises(StorageError):
        await database.tend(lambda raw: raw.execute("PRAGMA optimize"))
    assert database.disk.trouble
    failing.end()
    await add(database, "a")
    assert database.disk.trouble == ""


async def test_the_log_is_copied_when_it_is_long_and_used_anew(database: Database) -> None:
    sizes = []
    for number in range(400):
        await add(database, f"t{number}")
        sizes.append(database.wal_bytes)
    assert max(sizes) < 3 * OPTIONS.autocheckpoint_pages * 4096
    await database.close()
    assert database.path.stat().st_size > 0


async def test_closing_after_the_disk_has_failed_leaves_the_log_to_the_next_opening(
    database: Database,
) -> None:
    await add(database, "a")
    database.disk.failed = "planted"
    await database.close()
    assert log_of(database.path).stat().st_size > 0
    assert alone(database) == []


async def test_a_writer_that_is_replaced_while_all_is_closed_is_closed_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, "a")
    before = set(threading.enumerate())
    mending, goes_on = threading.Event(), threading.Event()

    def prepare_again(raw: Any, *rest: Any) -> None:
        mending.set()
        assert goes_on.wait(PATIENCE_S)
        prepare.prepare_again(raw, *rest)

    monkeypatch.setattr(database_module, "prepare_again", prepare_again)
    database.disk.failed = "planted"
    writing = asyncio.create_task(add(database, "b"))
    await asyncio.to_thread(mending.wait, PATIENCE_S)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0.1)
    goes_on.set()
    await asyncio.wait([writing, closing])
    left = {each for each in threading.enumerate() if "_connection_worker" in each.name} - before
    for thread in left:
        await asyncio.to_thread(thread.join, 5)
    assert [thread for thread in left if thread.is_alive()] == []


async def test_a_full_disk_stores_nothing_and_lets_go_of_what_is_there(
    database: Database, reserve: Reserve, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, "a")
    monkeypatch.setattr(database_module.Change, "grows", True)
    monkeypatch.setattr(reserve, "_allocate", lambda: False)
    failing.begin("INSERT INTO team", 13)
    with pytest.raises(StorageError, match="the disk says no") as caught:
        await add(database, "b")
    assert "free some disk space" in caught.value.hint
    assert reserve.emergency
    assert not reserve.path.exists()
    assert "full" in database.disk.trouble
    failing.end()
    with pytest.raises(StorageError, match="the disk is full"):
        await add(database, "c")
    monkeypatch.setattr(database_module.Change, "grows", False)
    await database.write(lambda tx: tx.execute("DELETE FROM team"))
    assert await database.read(names) == []
    assert "full" in database.disk.trouble


async def test_a_full_disk_stores_again_once_the_reserve_is_back(
    database: Database, reserve: Reserve, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module.Change, "grows", True)
    failing.begin("INSERT INTO team", 13)
    with pytest.raises(StorageError):
        await add(database, "a")
    failing.end()
    await add(database, "b")
    assert reserve.held
    assert not reserve.emergency
    assert database.disk.trouble == ""


async def test_a_file_with_unused_pages_stores_on_a_full_disk(
    database: Database, reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(tx: Transaction) -> None:
        tx.execute("CREATE TABLE large AS SELECT zeroblob(2000000) AS body")

    await database.write(grow)
    await database.write(lambda tx: tx.execute("DROP TABLE large"))
    monkeypatch.setattr(database_module.Change, "grows", True)
    monkeypatch.setattr(reserve, "_allocate", lambda: False)
    reserve.spend()
    await add(database, "a")
    assert await database.read(names) == ["a"]


def test_a_reserve_takes_its_share_of_a_small_disk_and_not_the_last_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk:
        f_blocks, f_frsize = 1_000, 4096
        f_bavail = 100

    monkeypatch.setattr("swarmdeck.engine.store.reserve.os.statvfs", lambda _: Disk)
    small = Reserve(tmp_path / "reserve", 64 << 20)
    assert small.size_bytes == 1_000 * 4096 // 16
    assert not small.make()
    Disk.f_bavail = 200
    assert small.make()
    assert small.held


def test_a_reserve_that_cannot_be_made_breaks_nothing(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing" / "reserve", 1 << 20)
    assert not reserve.make()
    reserve.spend()
    assert not reserve.regain()


# --- opening ------------------------------------------------------------------------------------


async def left_in_use(path: Path) -> None:
    """A file as a kill leaves it: its log is there."""
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        await add(database, "a")
        log, content = log_of(path), log_of(path).read_bytes()
    log.write_bytes(content)


async def test_the_log_of_a_file_left_in_use_is_written_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that failed before the end has dropped pages; the next one says yes without them."""
    path = tmp_path / "d.db"
    await left_in_use(path)
    written: list[str] = []
    pwrite, fsync = os.pwrite, os.fsync
    monkeypatch.setattr(log_module.os, "pwrite", lambda *a: written.append("write") or pwrite(*a))
    monkeypatch.setattr(log_module.os, "fsync", lambda fd: written.append("sync") or fsync(fd))
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        assert await database.read(names) == ["a"]
    assert written[:2] == ["write", "sync"]


CUT_SHORT = """
import os, sys
from pysqlite3 import dbapi2
raw = dbapi2.connect(sys.argv[1], isolation_level=None)
raw.execute("PRAGMA cache_size = 1")
raw.execute("BEGIN")
raw.execute("CREATE TABLE half (text)")
raw.executemany("INSERT INTO half VALUES (?)", [("x" * 3000,)] * 50)
os._exit(0)
"""


@pytest.mark.parametrize("log", [b"", b"half a header"])
async def test_a_first_opening_that_was_cut_short_is_taken_back_and_done_again(
    tmp_path: Path, log: bytes
) -> None:
    path = tmp_path / "d.db"
    cut = await asyncio.create_subprocess_exec(sys.executable, "-c", CUT_SHORT, str(path))
    assert await cut.wait() == 0
    log_of(path).write_bytes(log)
    assert path.stat().st_size > 0
    assert path.with_name("d.db-journal").stat().st_size > 0
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as opened:
        await add(opened, "a")
        assert await opened.read(names) == ["a"]
        assert not path.with_name("d.db-journal").exists()


def test_writing_a_log_once_more_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    content = os.urandom(3 * log_module.CHUNK_BYTES + 17)
    log_of(path).write_bytes(content)
    rewrite_log(path)
    assert log_of(path).read_bytes() == content
    rewrite_log(tmp_path / "without a log")


async def test_a_new_file_is_known_to_its_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(log_module.os, "fsync", noted)
    path = tmp_path / "data" / "instances" / "development" / "development.db"
    for _ in range(2):
        async with open_database(path, "development", options=OPTIONS, clock=FakeClock()):
            pass
    assert synced == [str(each) for each in list(path.parents)[:3]]


async def test_a_large_file_left_in_use_is_looked_at_while_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.db"
    await left_in_use(path)
    monkeypatch.setattr(prepare, "QUICK_CHECK_BYTES", 0)
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        assert "unverified" in database.disk.condition
        assert await database.read(names) == ["a"]
        await add(database, "b")
        assert database._verifying is not None
        await database._verifying
        assert database.disk.condition == ""


async def test_a_large_file_left_in_use_and_damaged_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.db"
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        pages = await database.read(
            lambda r: r.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'message_ready'"
            ).fetchall()
        )
    await left_in_use(path)
    log_of(path).write_bytes(b"")  # what is in the log would cover it
    with path.open("r+b") as file:
        file.seek((pages[0][0] - 1) * 4096)
        file.write(b"\xa5" * 4096)
    log_of(path).write_bytes(bytes(32))
    monkeypatch.setattr(prepare, "QUICK_CHECK_BYTES", 0)
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        assert database._verifying is not None
        await database._verifying
        with pytest.raises(Corrupt, match="development database is damaged"):
            await add(database, "b")


async def test_closing_ends_a_look_that_is_not_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.db"
    await left_in_use(path)
    monkeypatch.setattr(prepare, "QUICK_CHECK_BYTES", 0)
    async with open_database(path, "development", options=OPTIONS, clock=FakeClock()) as database:
        pass
    assert database._verifying is not None
    assert database._verifying.done()
