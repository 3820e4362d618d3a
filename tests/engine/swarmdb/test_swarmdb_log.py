"""The log: copied beside who writes, kept and mended on a disk that fails."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.store.dbapi import Link
from swarmdeck.engine.store.descriptor import descriptor
from swarmdeck.engine.store.driver import look
from swarmdeck.engine.store.kin import DiskError
from swarmdeck.engine.store.log import log_of
from swarmdeck.engine.swarmdb import SwarmDB
from swarmdeck.engine.swarmdb import log as log_module

from ..store.lost import Lost

Spawn = Callable[..., dict[str, Any]]

COPIER = "swarmdb copier"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are long sooner."""
    monkeypatch.setattr(log_module, "COPY_FROM_PAGES", 60)
    monkeypatch.setattr(log_module, "LOOK_AFTER", 4)


class Held:
    """A sync of the file on the copier's thread that waits until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self._patch = monkeypatch
        self._patch.setattr(log_module, "descriptor", self._held)

    def _held(self, path: Path) -> int:
        self.begun.set()
        assert self.goes_on.wait(20)
        return descriptor(path)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found = Held(monkeypatch)
    yield found
    found.goes_on.set()


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the disk refuse to lend a descriptor, which stands for any call of it."""

    def refused(_: Path) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(log_module, "descriptor", refused)


def copiers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == COPIER]


def insert(db: SwarmDB, spawn: Spawn, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        db.insert_event(spawn(), event_id=f"e{number:03}")


def stored(db: SwarmDB) -> list[str]:
    return sorted(event["event_id"] for event in db.get_events(limit=None))


def expected(count: int) -> list[str]:
    return [f"e{number:03}" for number in range(count)]


def pages(db: SwarmDB) -> tuple[int, int]:
    """Of the log: how many there are, and how many of them count as copied."""
    row = db._pool.link().ask("PRAGMA wal_checkpoint(NOOP)")[0]
    return row[1], row[2]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Somebody who sees the file as it is now, for as long as the block lasts."""
    with closing(look(path)) as reader:
        reader.execute("BEGIN").fetchall()
        reader.execute("SELECT count(*) FROM agent_events").fetchall()
        yield


# --- the copy beside who writes -----------------------------------------------------------------


def test_a_long_log_is_copied_while_others_write(db: SwarmDB, spawn: Spawn, held: Held) -> None:
    insert(db, spawn, 20)
    assert held.begun.wait(20)
    insert(db, spawn, 5, 20)  # with a copy under way that does not end
    assert copiers()
    held.goes_on.set()
    insert(db, spawn, 20, 25)
    assert stored(db) == expected(45)


def test_a_log_is_used_anew_once_it_is_copied(db: SwarmDB, path: Path, spawn: Spawn) -> None:
    insert(db, spawn, 600)
    assert pages(db)[0] < 600
    size = log_of(path).stat().st_size
    insert(db, spawn, 600, 600)
    assert log_of(path).stat().st_size < 2 * size


def test_who_writes_waits_for_a_copy_that_does_not_keep_up(
    db: SwarmDB, spawn: Spawn, held: Held
) -> None:
    writer = threading.Thread(target=insert, args=(db, spawn, 400))
    writer.start()
    writer.join(1)
    assert writer.is_alive()
    held.goes_on.set()
    writer.join(20)
    assert not writer.is_alive()
    assert stored(db) == expected(400)


def test_a_reader_that_stays_does_not_have_the_log_copied_all_the_time(
    db: SwarmDB, path: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    begin = log_module.Log._begin
    monkeypatch.setattr(
        log_module.Log, "_begin", lambda *arguments: (begun.append(1), begin(*arguments))
    )
    insert(db, spawn, 4)
    with reading(path):
        insert(db, spawn, 300, 4)
        length = pages(db)[0]
        assert length > 300
        assert 2 <= len(begun) <= length // 60 + 1
    insert(db, spawn, 100, 304)
    assert pages(db)[0] < length


def test_closing_waits_for_the_copy_and_leaves_no_thread(
    path: Path, spawn: Spawn, held: Held
) -> None:
    db = SwarmDB(path)
    insert(db, spawn, 20)
    assert held.begun.wait(20)
    closer = threading.Thread(target=db.close)
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    held.goes_on.set()
    closer.join(20)
    assert not copiers()
    assert not log_of(path).exists()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM agent_events").fetchone() == (20,)


def test_a_vacuum_waits_for_the_copy(db: SwarmDB, spawn: Spawn, held: Held) -> None:
    insert(db, spawn, 20)
    assert held.begun.wait(20)
    threading.Timer(0.1, held.goes_on.set).start()
    db.vacuum()
    assert stored(db) == expected(20)


def test_without_a_thread_to_be_had_the_writer_copies(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    insert(db, spawn, 100)
    assert pages(db)[0] < 200
    assert stored(db) == expected(100)


def test_without_a_descriptor_left_the_log_is_copied_all_the_same(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, errno.EMFILE)
    insert(db, spawn, 300)
    assert not db._log.failed
    assert pages(db)[0] < 300


# --- a disk that fails --------------------------------------------------------------------------


def test_a_sync_that_fails_beside_is_mended_by_the_next_write(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "the disk says no")

    with monkeypatch.context() as patched:
        patched.setattr(log_module.os, "fsync", broken)
        with caplog.at_level(logging.WARNING), pytest.raises(DiskError, match="says no"):
            insert(db, spawn, 100)
    assert "could not be copied" in caplog.text
    count = len(stored(db))
    insert(db, spawn, 10, count)
    assert not db._log.failed
    assert stored(db) == expected(count + 10)


def test_a_disk_that_is_well_again_refuses_nobody(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor may still have to tell of a sync that failed before."""
    told: list[Path] = []
    rewrite = log_module.rewrite_log

    def once(path: Path) -> None:
        told.append(path)
        if len(told) == 1:
            raise OSError(errno.EIO, "the disk said no")
        rewrite(path)

    insert(db, spawn, 1)
    db._log.failed = "planted"
    monkeypatch.setattr(log_module, "rewrite_log", once)
    insert(db, spawn, 1, 1)
    assert len(told) == 2
    assert stored(db) == expected(2)


def test_a_file_that_is_gone_is_told_as_a_disk(db: SwarmDB, path: Path, spawn: Spawn) -> None:
    insert(db, spawn, 1)
    db._log.failed = "planted"
    others = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    for each in others:
        each.rename(each.with_name(f"away-{each.name}"))
    with pytest.raises(DiskError):
        insert(db, spawn, 1, 1)
    for each in others:
        each.with_name(f"away-{each.name}").rename(each)
    insert(db, spawn, 1, 1)
    assert stored(db) == expected(2)


def test_what_was_copied_in_part_and_lost_is_copied_again(
    db: SwarmDB, path: Path, spawn: Spawn
) -> None:
    """SQLite does not sync what it has copied of a log until it has copied all of it."""
    lost = copied_in_part(db, path, spawn)
    lost.happen()
    db._log.failed = "planted"
    insert(db, spawn, 1, 50)
    db._pool.link().ask("PRAGMA wal_checkpoint(PASSIVE)")
    with closing(look(path, immutable=True)) as alone:
        found = alone.execute("SELECT agent_type = 'changed' FROM agent_events ORDER BY id")
        assert [each for (each,) in found.fetchall()] == [1] * 19 + [0] * 32
        assert alone.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def copied_in_part(db: SwarmDB, path: Path, spawn: Spawn) -> Lost:
    """A log of which a part is copied and counts as that, and what the file held before."""
    link = db._pool.link()
    insert(db, spawn, 40)
    link.ask("PRAGMA wal_checkpoint(PASSIVE)")
    db._log._unseen = -1000  # nothing is copied but here
    lost = Lost(path)
    with db.transaction() as connection:
        connection.execute("UPDATE agent_events SET agent_type = 'changed' WHERE id < 20")
    with reading(path):
        insert(db, spawn, 10, 40)
        link.ask("PRAGMA wal_checkpoint(PASSIVE)")
    length, done = pages(db)
    assert 0 < done < length
    return lost


def changed(db: SwarmDB) -> int:
    return sum(event["agent_type"] == "changed" for event in db.get_events(limit=None))


def test_what_was_read_before_the_disk_was_mended_is_forgotten(
    db: SwarmDB, path: Path, spawn: Spawn
) -> None:
    lost = copied_in_part(db, path, spawn)
    lost.happen()
    db._pool.link().ask("PRAGMA shrink_memory")
    assert changed(db) == 0  # as the file has it that never got the pages
    db._log.failed = "planted"
    insert(db, spawn, 1, 50)
    assert changed(db) == 19
    assert db._pool.link().ask("PRAGMA integrity_check")[0][0] == "ok"


def test_closed_on_a_disk_that_fails_the_log_stays(
    path: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "the disk says no")

    db = SwarmDB(path)
    lost = copied_in_part(db, path, spawn)
    lost.happen()
    db._log.failed = "planted"
    with monkeypatch.context() as patched:
        patched.setattr(log_module, "rewrite_log", broken)
        with caplog.at_level(logging.WARNING):
            db.close()
    assert "a disk that fails" in caplog.text
    assert log_of(path).exists()
    with SwarmDB(path) as again:
        assert changed(again) == 19


def test_a_file_that_cannot_be_asked_is_not_condemned(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is lost may be where SQLite begins to read; opening the file again reads its log."""

    def damaged(path: Path) -> Any:
        path.with_name("other.db").write_bytes(b"no database" * 1000)
        return look(path.with_name("other.db"))

    insert(db, spawn, 1)
    db._log.failed = "planted"
    with monkeypatch.context() as patched:
        patched.setattr(log_module, "look", damaged)
        with pytest.raises(DiskError, match="while it is in use") as caught:
            insert(db, spawn, 1, 1)
    assert "open it again" in caught.value.hint
    insert(db, spawn, 1, 1)
    assert stored(db) == expected(2)


# --- files and connections ----------------------------------------------------------------------


def test_a_new_file_has_small_pages_and_another_keeps_its_own(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as made:
        made.execute("PRAGMA page_size = 8192")
        made.execute("CREATE TABLE t (a)")
    for file, size in ((path, 2048), (other, 8192)):
        with SwarmDB(file) as db:
            assert db._pool.link().ask("PRAGMA page_size")[0][0] == size


def test_a_thread_that_ends_gives_its_connection_back(
    db: SwarmDB, path: Path, spawn: Spawn
) -> None:
    """Not so: the descriptor beside SQLite's would never be closed."""
    worker = threading.Thread(target=insert, args=(db, spawn, 1))
    worker.start()
    worker.join()
    lent = descriptor(path)
    db.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lent)


def test_a_link_that_nobody_closed_is_closed(path: Path) -> None:
    link: Link | None = SwarmDB(path)._pool.link()
    lent = descriptor(path)
    assert link is not None
    del link
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lent)
