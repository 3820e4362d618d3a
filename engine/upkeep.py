"""What an operator asks of the databases: size, settings, schema, integrity, tidying up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from .environment import Place
from .errors import Corrupt
from .model import format_size
from .store import driver
from .store.database import Database, Reader
from .store.disk import ROOM_PAGES
from .store.volatile import shown
from .views import CheckView, DatabaseView, PragmaView

if TYPE_CHECKING:
    from .backup.pace import Progress
    from .vault import Ring

T = TypeVar("T")

SLICE_PAGES: Final = 256  # given back at once: below 1 ms on the writer
SLICES_A_CHECKPOINT: Final = 4
SMALL_BYTES: Final = 4 << 20  # a file that is rewritten whole within 20 ms
WORTH: Final = 0.05  # of a file that is unused before it is worth giving back
INCREMENTAL: Final = 2  # SQLite's number for giving pages back a few at a time

_SELECT_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
_SELECT_SCHEMA: Final = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"
_RESTORE: Final = "swarmdeck backup restore {} NAME (see swarmdeck backup list)"


async def statistics(place: Place) -> DatabaseView:
    """Size, rows, unused pages and write-ahead log of an environment's database, and who keeps
    that log from being used anew."""
    database = place.database
    stats, pinned = database.stats, database.pins.pinned
    return DatabaseView(
        environment=place.environment,
        path=shown(database.path),
        schema_version=await database.schema_version(),
        size_bytes=await database.size_bytes(),
        wal_bytes=database.wal_bytes,
        page_size=database.options.page_size,
        tables=tuple(await database.read(_names)),
        records=place.memory.records,
        messages=await database.read(_count_messages),
        batches=stats.batches,
        operations=stats.operations,
        free_bytes=await database.read(_free_pages) * database.options.page_size,
        pinned_readers=pinned.readers,
        pinned_s=pinned.oldest_s,
    )


async def pragmas(place: Place) -> list[PragmaView]:
    """Each setting as requested and as SQLite granted it."""
    return [
        PragmaView(environment=place.environment, name=name, requested=wanted, granted=granted)
        for name, wanted, granted in await place.database.pragmas()
    ]


async def schema(place: Place) -> list[str]:
    """The statements that made the tables, indexes and triggers."""
    rows = await place.database.read(lambda reader: reader.execute(_SELECT_SCHEMA).fetchall())
    return [row[0] for row in rows]


# --- checking ---------------------------------------------------------------------------------


async def check(
    place: Place,
    *,
    full: bool = False,
    ring: Ring | None = None,
    progress: Progress = lambda _, __: None,
) -> CheckView:
    """SQLite's quick check, or with `full` its integrity check, our schema, every record's seal and
    the audit chain: on a connection of its own, so that nobody waits for it. A file whose pages
    are damaged is quarantined. Raises StorageError."""
    name = place.environment.value
    if place.refusal is not None:
        return _found(name, place.refusal.message)
    try:
        if full:
            return await _check_all(place, ring, progress)
        return await _check_pages(place.database)
    except Corrupt as error:
        return _found(name, error.message)


async def _check_pages(database: Database) -> CheckView:
    found = await _beside(database, _quick_check, "a check")
    if found != ["ok"]:
        raise _pages_damaged(database, "; ".join(found[:5]))
    return CheckView(name=database.env, status="ok", detail="ok")


async def _check_all(place: Place, ring: Ring | None, progress: Progress) -> CheckView:
    from .backup import service, verify  # noqa: PLC0415 - only asked for now and then
    from .backup.pace import Pace  # noqa: PLC0415

    database = place.database
    sealed = ring is None or bool(ring.reason)
    records = None if ring is None or sealed else service.records_of(ring, database.env)
    pace, report = Pace(), service.from_thread(progress)

    def look(raw: driver.Raw) -> verify.Found:
        raw.execute("BEGIN")
        return verify.examine(raw, records, pace, report)

    try:
        found = await _beside(database, look, "a full check")
    except verify.PagesDamaged as error:
        raise _pages_damaged(database, error.message) from error
    finally:
        pace.over = True
    counts = f"{found.records:,} records, {found.messages:,} messages"
    read = "records and messages not read: sealed" if sealed else counts
    return CheckView(
        name=database.env,
        status="warning" if sealed else "ok",
        detail=f"schema, pages, {read}, {found.audit_rows:,} audit rows",
        hint="swarmdeck vault unseal" if sealed else "",
    )


async def _beside(database: Database, look: Callable[[driver.Raw], T], what: str) -> T:
    connection = await driver.connect(database.path, read_only=True)
    try:
        with database.pins.reading(what):
            return await connection.run(look)
    except driver.Error as error:
        found = driver.translate(error, database.path.name)
        if type(found) is Corrupt:
            database.damaged(found)
        raise found from error
    finally:
        await connection.close()


def _pages_damaged(database: Database, detail: str) -> Corrupt:
    error = Corrupt(f"the {database.env} database is damaged: {detail}", hint="restore it")
    database.damaged(error)
    return error


def _found(name: str, detail: str) -> CheckView:
    return CheckView(name=name, status="failed", detail=detail, hint=_RESTORE.format(name))


# --- tidying up -------------------------------------------------------------------------------


class _Held:
    """How long callers were held up, at most, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 0.0

    def timed(self, step: Callable[[driver.Raw], object]) -> Callable[[driver.Raw], object]:
        def run(raw: driver.Raw) -> object:
            began_s = time.perf_counter()
            try:
                return step(raw)
            finally:
                self.note(time.perf_counter() - began_s)

        return run

    def note(self, elapsed_s: float) -> None:
        self.ms = max(self.ms, elapsed_s * 1000)


async def optimize(place: Place) -> CheckView:
    """Renew the planner's statistics, give unused pages back, empty the write-ahead log: in short
    steps between the batches of the writer. Raises StorageError, Corrupt."""
    database, held = place.database, _Held()
    done = []
    before_bytes = await database.size_bytes()
    await database.tend(held.timed(_renew_statistics))
    await _give_back(database, held)
    held.note(await database.checkpoint())
    emptied = await database.tend(held.timed(_empty_log))
    freed_bytes = max(0, before_bytes - await database.size_bytes())
    left_bytes = await database.read(_free_pages) * database.options.page_size
    done.append(f"{format_size(freed_bytes)} given back, {format_size(left_bytes)} unused")
    done.append("log emptied" if emptied else "a reader keeps the log")
    return CheckView(
        name=database.env,
        status="ok" if emptied else "warning",
        detail=f"{', '.join(done)}; callers waited {held.ms:.1f} ms at most",
        hint="" if emptied else "swarmdeck db stats says who reads; repeat it later",
    )


async def _give_back(database: Database, held: _Held) -> None:
    """Give unused pages back to the disk, if that is worth it; what a full disk needs is kept."""
    pages, free, incremental = await database.read(_pages)
    if free <= max(ROOM_PAGES, pages * WORTH):
        return
    if not incremental:  # made by a release that did not ask for it
        if pages * database.options.page_size <= SMALL_BYTES:
            await database.tend(held.timed(_rewrite))
        return
    for number in range((free - ROOM_PAGES) // SLICE_PAGES):
        await database.tend(held.timed(_slice))
        if number % SLICES_A_CHECKPOINT == 0:  # a long log takes long to copy
            held.note(await database.checkpoint())


def _renew_statistics(raw: driver.Raw) -> None:
    raw.execute("PRAGMA analysis_limit = 200").fetchall()
    raw.execute("PRAGMA optimize").fetchall()


def _slice(raw: driver.Raw) -> None:
    raw.execute(f"PRAGMA incremental_vacuum({SLICE_PAGES})").fetchall()


def _rewrite(raw: driver.Raw) -> None:
    raw.execute("PRAGMA auto_vacuum = 2")
    raw.execute("VACUUM")


def _empty_log(raw: driver.Raw) -> bool:
    """Cut the log to nothing, without waiting for a reader. Whether it could be."""
    row = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        found = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(row[0]) if row else 0}").fetchall()
    return found is not None and found[0] == 0


# --- queries ----------------------------------------------------------------------------------


def _names(reader: Reader) -> list[str]:
    return [row[0] for row in reader.execute(_SELECT_TABLES)]


def _count_messages(reader: Reader) -> int:
    row = reader.execute("SELECT count(*) FROM message WHERE env = ?", (reader.env,)).fetchone()
    return int(row[0]) if row else 0


def _free_pages(reader: Reader) -> int:
    return _pragma(reader, "freelist_count")


def _pages(reader: Reader) -> tuple[int, int, bool]:
    """Pages, how many are unused, and whether they can be given back a few at a time."""
    names = ("page_count", "freelist_count", "auto_vacuum")
    pages, free, mode = (_pragma(reader, name) for name in names)
    return pages, free, mode == INCREMENTAL


def _pragma(reader: Reader, name: str) -> int:
    row = reader.execute(f"PRAGMA {name}").fetchone()
    return int(row[0]) if row else 0


def _quick_check(raw: driver.Raw) -> list[str]:
    return [str(row[0]) for row in raw.execute("PRAGMA quick_check(20)").fetchall()]
