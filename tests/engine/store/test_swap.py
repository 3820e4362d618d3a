"""Whatever ends a process while a file is replaced: afterwards there is the old one or the new."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from pysqlite3 import dbapi2

from swarmdeck.engine.errors import Corrupt, StorageError
from swarmdeck.engine.store.swap import Reason, Swap

NAME: Final = "development.db"
REASON: Final = Reason("a-backup", "operator", "replaced-1")
ROWS: Final = {"old": 3, "new": 5}

# Dies at the k-th step of a replacement: each is one call that changes the disk.
CHILD: Final = """
import os, signal, sys
from pathlib import Path
from swarmdeck.engine.store.swap import Reason, Swap

database, content, last = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
steps = 0

def mortal(kind, name):
    real = getattr(kind, name)
    def step(*args, **kwargs):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(kind, name, step)

for name in ("link", "fsync", "write", "open"):
    mortal(os, name)
for name in ("rename", "replace", "unlink", "mkdir"):
    mortal(Path, name)
swap = Swap(database)
file = swap.begin()
os.write(file, content)
os.fsync(file)
os.close(file)
swap.commit(Reason("a-backup", "operator", "replaced-1"))
"""


def make(path: Path, rows: int, *, in_use: bool) -> None:
    """A database with so many rows; `in_use`: some of them only in its log."""
    writer = dbapi2.connect(str(path), isolation_level=None)
    writer.execute("PRAGMA journal_mode = wal").fetchall()
    writer.execute("CREATE TABLE row (number)")
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for number in range(rows):
        writer.execute("INSERT INTO row VALUES (?)", (number,))
    if in_use:
        guard = dbapi2.connect(f"file:{path}?mode=ro", uri=True)
        guard.execute("SELECT count(*) FROM row").fetchone()
        writer.close()
        guard.close()
    writer.close()


def rows_of(path: Path) -> int:
    raw = dbapi2.connect(str(path))
    try:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = raw.execute("SELECT count(*) FROM row").fetchone()
    finally:
        raw.close()
    return int(found[0])


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """What is to be there: closed, without a log."""
    path = tmp_path / "new.db"
    make(path, ROWS["new"], in_use=False)
    return path


def replace(database: Path, content: Path) -> Swap:
    swap = Swap(database)
    file = swap.begin()
    os.write(file, content.read_bytes())
    os.close(file)
    swap.commit(REASON)
    return swap


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_the_new_file_takes_the_place_and_the_old_one_is_kept(
    tmp_path: Path, content: Path
) -> None:
    database = tmp_path / "home" / NAME
    database.parent.mkdir()
    make(database, ROWS["old"], in_use=True)
    old = database.read_bytes()
    log = database.with_name(f"{NAME}-wal").read_bytes()
    assert log
    swap = replace(database, content)
    assert rows_of(database) == ROWS["new"]
    kept = database.with_name(REASON.kept)
    assert (kept / NAME).read_bytes() == old
    assert (kept / f"{NAME}-wal").read_bytes() == log
    assert rows_of(kept / NAME) == ROWS["old"]
    assert Swap(database).settle() == REASON
    swap.settled()
    assert Swap(database).settle() is None


def test_what_was_given_up_leaves_nothing(tmp_path: Path) -> None:
    database = tmp_path / NAME
    make(database, ROWS["old"], in_use=False)
    before = names(tmp_path)
    swap = Swap(database)
    os.close(swap.begin())
    swap.abandon()
    assert names(tmp_path) == before


def test_a_first_file_needs_no_old_one(tmp_path: Path, content: Path) -> None:
    database = tmp_path / "home" / NAME
    replace(database, content)
    assert rows_of(database) == ROWS["new"]


def test_a_directory_that_refuses_changes_nothing(tmp_path: Path, content: Path) -> None:
    database = tmp_path / "home" / NAME
    database.parent.mkdir()
    make(database, ROWS["old"], in_use=False)
    (database.parent / REASON.kept).mkdir()  # so that the old one cannot be kept there
    with pytest.raises(StorageError):
        replace(database, content)
    Swap(database).abandon()
    assert rows_of(database) == ROWS["old"]


def test_a_damaged_reason_is_said(tmp_path: Path) -> None:
    database = tmp_path / NAME
    make(database, ROWS["old"], in_use=False)
    database.with_suffix(".restore").write_text("{")
    with pytest.raises(Corrupt, match="is damaged"):
        Swap(database).settle()


@pytest.mark.parametrize("in_use", [False, True])
def test_killed_at_any_step_there_is_one_of_both(
    tmp_path: Path, content: Path, *, in_use: bool
) -> None:
    seen = set()
    for last in range(1, 100):
        home = tmp_path / f"home{last}"
        home.mkdir()
        database = home / NAME
        make(database, ROWS["old"], in_use=in_use)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(database), str(content), str(last)], check=False
        )
        assert database.exists(), last
        reason = Swap(database).settle()
        found = rows_of(database)
        assert found == ROWS["old" if reason is None else "new"], last
        assert not {n for n in names(home) if n.endswith((".part", ".ready"))}, last
        assert ((home / REASON.kept).exists()) == (reason is not None), last
        seen.add(found)
        shutil.rmtree(home)
        if done.returncode == 0:
            assert last > 10
            assert seen == set(ROWS.values())
            return
        assert done.returncode == -signal.SIGKILL
    pytest.fail("it never came to its end")
