"""What a connection is told when it opens, and what is asked of its file. Run on its thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import Corrupt, StorageError
from ..model import Durability
from . import driver
from .log import copy_again, log_bytes, rewrite_log, sync_directories
from .migrate import Series, migrate, require_known, schema_version
from .volatile import is_volatile

if TYPE_CHECKING:
    from .chain import Chain
    from .disk import Disk

QUICK_CHECK_BYTES: Final = 64 << 20  # a larger file is looked at once it is open
_NEW_NAMES: Final = 3  # a file, its directory, and the one all of them are in
_SPOKEN: Final = {
    "synchronous": {"0": "off", "1": "normal", "2": "full", "3": "extra"},
    "auto_vacuum": {"0": "none", "1": "full", "2": "incremental"},
    "temp_store": {"0": "default", "1": "file", "2": "memory"},
}


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a database file is opened. Sizes are bytes."""

    durability: Durability = Durability.NORMAL
    page_size: int = 4096
    cache_bytes: int = 16 << 20
    mmap_bytes: int = 0
    autocheckpoint_pages: int = 8000
    busy_timeout_ms: int = 5000
    batch_limit: int = 500
    checkpoint_interval_s: float = 1.0
    slow_statement_ms: float = 100.0


def prepare_writer(raw: driver.Raw, options: StoreOptions, disk: Disk, chain: Chain) -> None:
    """Set the writer up, look whether a file that was left in use is whole, migrate it and find
    the end of its audit chain. Raises Corrupt, StorageError."""
    path = disk.path
    try:
        disk.unverified = not _inspect(raw, disk.series, path)
        fresh = not is_volatile(path) and path.stat().st_size == 0
        _set(raw, options)
        migrate(raw, disk.series, path.name)
        chain.load(raw)
        if fresh:
            sync_directories(path, _NEW_NAMES)
    except driver.Error as error:
        raise driver.translate(error, path.name) from error
    except OSError as error:
        raise _unusable(path, error) from error


def prepare_again(raw: driver.Raw, options: StoreOptions, disk: Disk) -> None:
    """Set up the writer that follows one whose disk has failed: what the log holds and what was
    copied from it is written once more, the file is looked at, and a commit proves that the disk
    takes writes and covers what was half-written. Raises Corrupt, StorageError."""
    path = disk.path
    try:
        rewrite_log(path)
        _copy_again(path)
        disk.unverified = not _inspect(raw, disk.series, path) or disk.unverified
        _set(raw, options)
        raw.execute("PRAGMA synchronous = full")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(f"PRAGMA user_version = {schema_version(raw)}")
        raw.execute("COMMIT")
        raw.execute(f"PRAGMA synchronous = {options.durability.value}")
    except driver.Error as error:
        raise driver.translate(error, path.name) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _copy_again(path: Path) -> None:
    """Before anybody else looks: what was copied may have got lost on the way to the disk. Asking
    how much that is reads the file as it is, so who asks is gone before the new writer reads.
    Raises StorageError, OSError."""
    looking = driver.look(path)
    try:
        found = looking.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    except driver.DatabaseError as error:
        if type(driver.translate(error, path.name)) is not Corrupt:
            raise
        raise StorageError(  # no damage yet: whoever opens the file anew reads all of its log
            f"{path.name} cannot be mended while it is in use: {driver.describe(error)}",
            hint="close the engine and open it again",
        ) from error
    finally:
        looking.close()
    if found is not None and found[2] > 0:
        copy_again(path, found[2])


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path.name} cannot be used: {error.strerror}", hint="check the disk and its rights"
    )


def _set(raw: driver.Raw, options: StoreOptions) -> None:
    for name, value in _requested(options).items():
        raw.execute(f"PRAGMA {name} = {value}").fetchall()


def prepare_reader(raw: driver.Raw, options: StoreOptions) -> None:
    """Set a connection up that can only read and leaves checkpoints to the writer."""
    raw.execute("PRAGMA query_only = 1")
    raw.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    raw.execute("PRAGMA trusted_schema = 0")
    raw.execute(f"PRAGMA busy_timeout = {options.busy_timeout_ms}").fetchall()
    raw.execute(f"PRAGMA cache_size = {-(options.cache_bytes // 1024)}")


def prepare_copier(raw: driver.Raw, options: StoreOptions) -> None:
    """Set a connection up that only copies the log, and syncs what it copies."""
    settings = _requested(options) | {"synchronous": "full", "cache_size": "0"}
    for name in ("synchronous", "busy_timeout", "cache_size", "wal_autocheckpoint",
                 "fullfsync", "checkpoint_fullfsync", "trusted_schema"):  # fmt: skip
        raw.execute(f"PRAGMA {name} = {settings[name]}").fetchall()


def granted(raw: driver.Raw, options: StoreOptions) -> list[tuple[str, str, str]]:
    """Name, requested and granted value of each setting of a writer."""
    answers = []
    for name, wanted in _requested(options).items():
        row = raw.execute(f"PRAGMA {name}").fetchone()
        value = str(row[0]) if row else "unknown"
        answers.append((name, wanted, _SPOKEN.get(name, {}).get(value, value)))
    return answers


def _requested(options: StoreOptions) -> dict[str, str]:
    """Settings of the writer, those of the file first: once the log exists they are ignored."""
    return {
        "page_size": str(options.page_size),
        "auto_vacuum": "incremental",
        "journal_mode": "wal",
        "synchronous": options.durability.value,
        "busy_timeout": str(options.busy_timeout_ms),
        "cache_size": str(-(options.cache_bytes // 1024)),
        "mmap_size": str(options.mmap_bytes),
        # Checkpoints are our own: those SQLite makes by itself pass over a disk that fails.
        "wal_autocheckpoint": "0",
        # What flushes a disk's own cache on macOS. Elsewhere they do nothing.
        "fullfsync": "1",
        "checkpoint_fullfsync": "1",
        "foreign_keys": "1",
        "temp_store": "memory",
        "trusted_schema": "0",
    }


def _inspect(raw: driver.Raw, series: Series, path: Path) -> bool:
    """Look at a file before anything is written to it; whether it is known to be whole. One that
    was left in use is looked at on a connection that cannot write, as closing another would write
    the log back into the file. Then its log is put on the disk, where it may never have got."""
    if _is_there(path, "-journal"):  # a first opening was cut short: who cannot write cannot read
        raw.execute("SELECT 1 FROM sqlite_schema").fetchone()
    if not _is_there(path, "-wal"):
        require_known(raw, series, path.name)
        return True
    looking = driver.look(path)
    try:
        require_known(looking, series, path.name)
        small = path.stat().st_size + log_bytes(path) < QUICK_CHECK_BYTES
        if small:
            _quick_check(looking, path)
    finally:
        looking.close()
    rewrite_log(path)
    return small


def _is_there(path: Path, suffix: str) -> bool:
    """Whether a database file has a log of this kind with something in it."""
    log = path.with_name(path.name + suffix)
    return log.exists() and log.stat().st_size > 0


def _quick_check(raw: driver.Raw, path: Path) -> None:
    found = raw.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        detail = found[0] if found else "no answer"
        raise Corrupt(f"{path.name} is damaged: {detail}", hint="restore it from a backup")
