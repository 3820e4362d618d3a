"""Writing an audit trail to a file of its own, for whoever examines it elsewhere."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from ..clock import Clock
from ..errors import InvalidInput, StorageError
from ..store import driver
from ..store.chain import Head
from ..store.database import Database
from ..views import Done
from .checkpoints import Checkpoint, Signer

_CHUNK_ROWS: Final = 5_000
_ROWS: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail, hash FROM audit
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"""

_line = msgspec.json.Encoder().encode


class ExportedRow(msgspec.Struct, frozen=True):
    """A line of an export. The hash stands on the last row of each commit."""

    sequence: int
    environment: str
    at_us: int
    actor: str
    action: str
    object: str
    allowed: bool
    detail: str
    hash: str | None


class ExportedHead(msgspec.Struct, frozen=True):
    """The last line: the head the rows before it lead to, signed where the vault is open."""

    rows: int
    head: Checkpoint


async def export(
    database: Database,
    path: Path,
    vault: Signer,
    clock: Clock,
    progress: Callable[[float, str], object],
) -> Done:
    """Write all rows up to now to a new file that only its owner can read. Nothing is left of one
    that was not finished. Raises InvalidInput where there is such a file, StorageError."""
    file = _created(path)
    connection = await driver.connect(database.path, read_only=True)
    try:
        rows = await _written(connection, file, database.chain.head, progress)
        last = ExportedHead(rows, _signed(database, vault, clock))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, _finish, file, _line(last) + b"\n")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        if isinstance(error, driver.Error):
            raise driver.translate(error, database.path.name) from error
        raise
    finally:
        await connection.close()
        os.close(file)
    return Done(detail=f"{rows:,} rows of {database.env} in {path}")


def _created(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError as error:
        raise InvalidInput(f"{path} is there already", hint="name a new file") from error
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be made: {error.strerror}", hint="name a file in a directory of yours"
        ) from error


async def _written(
    connection: driver.Connection,
    file: int,
    until: Head,
    progress: Callable[[float, str], object],
) -> int:
    """Copy the rows, a chunk at a time; how many."""
    rows, after = 0, 0
    while True:
        count, after = await connection.run(_copy, file, after, until.sequence)
        rows += count
        progress(after / max(1, until.sequence), f"{rows:,} rows")
        if count < _CHUNK_ROWS:
            return rows


def _copy(raw: driver.Raw, file: int, after: int, until: int) -> tuple[int, int]:
    """Write one chunk; how many rows, and the last one's sequence."""
    found = raw.execute(_ROWS, (after, until, _CHUNK_ROWS)).fetchall()
    if not found:
        return 0, after
    lines = [_line(_exported(row)) for row in found]
    _write(file, b"\n".join(lines) + b"\n")
    return len(found), found[-1][0]


def _exported(row: tuple[Any, ...]) -> ExportedRow:
    sequence, environment, at_us, actor, action, object_, allowed, detail, hash_ = row
    shown = hash_.hex() if isinstance(hash_, bytes) else None
    return ExportedRow(
        sequence, environment, at_us, actor, action, object_, bool(allowed), detail, shown
    )


def _signed(database: Database, vault: Signer, clock: Clock) -> Checkpoint:
    head = database.chain.head
    point = Checkpoint(
        environment=database.env,
        kind="checkpoint",
        sequence=head.sequence,
        hash=head.hash.hex(),
        anchor=database.chain.anchor.sequence,
        at_us=clock.wall_us(),
    )
    return point.signed(vault) if vault.state == "open" else point


def _write(file: int, body: bytes) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(file, view) :]


def _finish(file: int, line: bytes) -> None:
    _write(file, line)
    os.fsync(file)
