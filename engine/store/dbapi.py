"""Synchronous connections, for code that runs on threads of its own.

They behave as those of Python's sqlite3 module do: a cursor's INSERT begins a transaction by
itself, `commit` ends it, rows are read by position and by name. What differs: errors are those of
`kin.py`, and another thread may close a connection, which then waits for the call that runs.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from pysqlite3 import dbapi2

from ..errors import SwarmDeckError
from .descriptor import Inode, closed, opened
from .driver import require_sound_library
from .kin import DiskError, ProgrammingError, kin

Error: Final[type[Exception]] = dbapi2.Error

Values: TypeAlias = Sequence[object] | Mapping[str, object]
Statement: TypeAlias = tuple[str, Values]

_CACHED_STATEMENTS: Final = 128
_PAGE_BYTES: Final = 2048
"""Of a new file. A commit of one row writes each page that it touches, one for each index, so small
pages make a shorter log."""
_JOINED: Final = "joined"


class Outcome(NamedTuple):
    """What became of statements: rows that the last one changed, the number of the row that was
    inserted last."""

    changed: int
    row: int


class Place(msgspec.Struct, frozen=True):
    """Where a database is: a file, or memory that all connections of that name share."""

    name: str
    path: Path | None
    timeout_s: float = 10.0
    synchronous: str = "normal"

    @property
    def uri(self) -> str:
        if self.path is None:
            return f"file:/{self.name}?vfs=memdb"
        return f"{self.path.absolute().as_uri()}?mode=rwc"


class Guard:
    """Around each call of a connection: one at a time, and errors of both families."""

    __slots__ = ("lock", "what")

    def __init__(self) -> None:
        self.lock = RLock()
        self.what = "the database"

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lock.release()
        if isinstance(error, (dbapi2.Error, dbapi2.Warning)):
            raise kin(error, self.what) from error
        if isinstance(error, OverflowError | UnicodeEncodeError):
            raise ProgrammingError(f"{self.what}: {error}", hint="store it as text") from error


class Cursor(dbapi2.Cursor):  # type: ignore[misc]  # pysqlite3 has no types
    """A cursor whose errors are those of `kin.py`."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:  # noqa: ANN401 - any binding
        with self.connection.guard:
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, rows: Iterable[Any]) -> Cursor:
        with self.connection.guard:
            super().executemany(sql, rows)
        return self

    def executescript(self, script: str) -> Cursor:
        with self.connection.guard:
            super().executescript(script)
        return self

    def fetchone(self) -> Any:  # noqa: ANN401 - a row, or None
        with self.connection.guard:
            return super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        with self.connection.guard:
            return list(super().fetchmany(self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        with self.connection.guard:
            return list(super().fetchall())

    def __next__(self) -> Any:  # noqa: ANN401 - a row
        with self.connection.guard:
            return super().__next__()

    def close(self) -> None:
        with self.connection.guard:
            super().close()


class Connection(dbapi2.Connection):  # type: ignore[misc]  # pysqlite3 has no types
    """What users get to see of a thread's connection."""

    inode: Inode | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the driver's
        self.guard = Guard()
        super().__init__(*arguments, **options)
        self.row_factory = dbapi2.Row

    def cursor(self, factory: Any = Cursor) -> Any:  # noqa: ANN401 - as the driver's
        with self.guard:
            return super().cursor(factory)

    def commit(self) -> None:
        with self.guard:
            super().commit()

    def rollback(self) -> None:
        with self.guard:
            super().rollback()

    def close(self) -> None:
        with self.guard:
            super().close()
            inode, self.inode = self.inode, None
            if inode is not None:
                closed(inode)

    def __del__(self) -> None:  # of a thread that ended: nobody else knew it
        if self.inode is not None:
            with suppress(SwarmDeckError):
                self.close()

    def __exit__(self, *error: Any) -> bool:  # noqa: ANN401 - the driver's
        with self.guard:
            return bool(super().__exit__(*error))


class Link:
    """A thread's connection as our own code uses it. `held`: a block of this thread will end the
    transaction, whether or not SQLite has begun one at the moment."""

    __slots__ = ("_cursor", "connection", "held")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.held = False
        # Kept here and not by the connection, which would keep both for longer than the thread.
        self._cursor = dbapi2.Cursor(connection)
        self._cursor.row_factory = dbapi2.Row

    @property
    def joined(self) -> bool:
        """Whether what runs now belongs to a transaction that somebody else will end."""
        return self.held or bool(self.connection.in_transaction)

    def ask(self, sql: str, parameters: Values = ()) -> list[Any]:
        """All rows of a query."""
        with self.connection.guard:
            return list(self._cursor.execute(sql, parameters).fetchall())

    def run(self, statements: Iterable[Statement]) -> Outcome:
        """Run statements in the transaction that is open."""
        cursor = self._cursor
        with self.connection.guard:
            for sql, parameters in statements:
                cursor.execute(sql, parameters)
            return Outcome(cursor.rowcount, cursor.lastrowid or 0)

    def begin(self) -> None:
        """Begin to write: at once, so that nothing later can find it too late."""
        with self.connection.guard:
            self._cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit what is open. A disk that fails here leaves unknown whether it is stored."""
        guard = self.connection.guard
        with guard:
            if not self.connection.in_transaction:
                return
            try:
                self._cursor.execute("COMMIT")
            except Error as error:
                raise kin(error, guard.what, committing=True) from error

    def undo(self) -> None:
        """Roll back what is open. A disk that failed has done it already."""
        with self.connection.guard:
            if self.connection.in_transaction:
                self.connection.rollback()

    @contextmanager
    def nested(self) -> Iterator[None]:
        """A part of the open transaction that is undone alone when it fails."""
        if not self.connection.in_transaction:
            self.begin()
        self.run([(f"SAVEPOINT {_JOINED}", ())])
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self.run([(f"ROLLBACK TO {_JOINED}", ()), (f"RELEASE {_JOINED}", ())])
            raise
        if self.connection.in_transaction:
            self.run([(f"RELEASE {_JOINED}", ())])


def open_link(place: Place) -> Link:
    """A connection for this thread. Raises errors of `kin.py`; Unavailable on a SQLite that can
    corrupt a file with a log."""
    require_sound_library()
    what = str(place.path or ":memory:")
    try:
        connection: Connection = dbapi2.connect(
            place.uri,
            uri=True,
            timeout=place.timeout_s,
            isolation_level="IMMEDIATE",
            factory=Connection,
            cached_statements=_CACHED_STATEMENTS,
            check_same_thread=False,
        )
    except Error as error:
        raise kin(error, what) from error
    connection.guard.what = what
    link = Link(connection)
    try:
        if place.path is not None:
            connection.inode = opened(place.path)
        _prepare(link, place)
    except OSError as error:
        connection.close()
        raise DiskError(
            f"{what} cannot be used: {error.strerror}", hint="check the disk and its rights"
        ) from error
    except SwarmDeckError:
        connection.close()
        raise
    return link


def _prepare(link: Link, place: Place) -> None:
    if place.path is not None:
        _set_log(link, place.path)
    for setting in (
        f"synchronous = {place.synchronous}",
        # Checkpoints are our own: those SQLite makes by itself pass over a disk that fails.
        "wal_autocheckpoint = 0",
        # What flushes a disk's own cache on macOS. Elsewhere they do nothing.
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "trusted_schema = 0",
    ):
        link.ask(f"PRAGMA {setting}")


def _set_log(link: Link, path: Path) -> None:
    if path.stat().st_size == 0:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        link.ask(f"PRAGMA page_size = {_PAGE_BYTES}")
    if link.ask("PRAGMA journal_mode")[0][0] == "wal":
        return
    if link.ask("PRAGMA journal_mode = wal")[0][0] != "wal":
        raise DiskError(f"{path} can have no write-ahead log", hint="use a local disk")
