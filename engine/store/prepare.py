"""What a connection is told when it opens, and what is asked of its file. Run on its thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import Corrupt
from . import driver
from .migrate import Series, migrate, require_known

if TYPE_CHECKING:
    from .chain import Chain
    from .database import StoreOptions

QUICK_CHECK_BYTES: Final = 64 << 20  # a larger file is checked by `db check`, not while opening
_SPOKEN: Final = {
    "synchronous": {"0": "off", "1": "normal", "2": "full", "3": "extra"},
    "temp_store": {"0": "default", "1": "file", "2": "memory"},
}


def prepare_writer(
    raw: driver.Raw, options: StoreOptions, series: Series, path: Path, chain: Chain
) -> None:
    """Set the writer up, look whether a file that was left in use is whole, migrate it and find
    the end of its audit chain. Raises Corrupt, StorageError."""
    try:
        _inspect(raw, series, path)
        for name, value in _requested(options).items():
            raw.execute(f"PRAGMA {name} = {value}").fetchall()
        migrate(raw, series, path.name)
        chain.load(raw)
    except driver.Error as error:
        raise driver.translate(error, path.name) from error


def prepare_reader(raw: driver.Raw, options: StoreOptions) -> None:
    """Set a connection up that can only read and leaves checkpoints to the writer."""
    raw.execute("PRAGMA query_only = 1")
    raw.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    raw.execute("PRAGMA trusted_schema = 0")
    raw.execute(f"PRAGMA busy_timeout = {options.busy_timeout_ms}").fetchall()
    raw.execute(f"PRAGMA cache_size = {-(options.cache_bytes // 1024)}")


def granted(raw: driver.Raw, options: StoreOptions) -> list[tuple[str, str, str]]:
    """Name, requested and granted value of each setting of a writer."""
    answers = []
    for name, wanted in _requested(options).items():
        row = raw.execute(f"PRAGMA {name}").fetchone()
        value = str(row[0]) if row else "unknown"
        answers.append((name, wanted, _SPOKEN.get(name, {}).get(value, value)))
    return answers


def _requested(options: StoreOptions) -> dict[str, str]:
    """Settings of the writer, page size first: once the log exists it is ignored."""
    return {
        "page_size": str(options.page_size),
        "journal_mode": "wal",
        "synchronous": options.durability.value,
        "busy_timeout": str(options.busy_timeout_ms),
        "cache_size": str(-(options.cache_bytes // 1024)),
        "mmap_size": str(options.mmap_bytes),
        "wal_autocheckpoint": str(options.autocheckpoint_pages),
        "foreign_keys": "1",
        "temp_store": "memory",
        "trusted_schema": "0",
    }


def _inspect(raw: driver.Raw, series: Series, path: Path) -> None:
    """Look at a file before anything is written to it. One that was left in use is looked at on
    a connection that cannot write: closing another would write the log back into the file."""
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    if not any(log.exists() and log.stat().st_size > 0 for log in logs):
        require_known(raw, series, path.name)
        return
    looking = driver.look(path)
    try:
        require_known(looking, series, path.name)
        if path.stat().st_size < QUICK_CHECK_BYTES:
            _quick_check(looking, path)
    finally:
        looking.close()


def _quick_check(raw: driver.Raw, path: Path) -> None:
    found = raw.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        detail = found[0] if found else "no answer"
        raise Corrupt(f"{path.name} is damaged: {detail}", hint="restore it from a backup")
