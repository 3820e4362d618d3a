"""The one place that names SQLite.

aiosqlite runs the connection's thread; the library behind it is pysqlite3, whose bundled SQLite
has the fix for the WAL-reset corruption (SQLite 3.7.0 to 3.51.2). Its exceptions are not those
of the standard library, so the classes to catch are exported here. What runs on a thread of its own
can run elsewhere: `CARRIER` says where, and a simulation of the engine sets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import stat
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from pysqlite3 import dbapi2

from ..errors import Corrupt, Defect, OutcomeUnknown, StorageError, SwarmDeckError, Unavailable
from .descriptor import Inode, closed, opened
from .volatile import is_volatile

Error: Final[type[Exception]] = dbapi2.Error
DatabaseError: Final[type[Exception]] = dbapi2.DatabaseError
OperationalError: Final[type[Exception]] = dbapi2.OperationalError
LIBRARY_VERSION: Final[str] = dbapi2.sqlite_version

T = TypeVar("T")

_FIXED_SINCE: Final = (3, 51, 3)
_BACKPORTED: Final = frozenset({(3, 50, 7), (3, 44, 6)})
_execute: Final = dbapi2.Connection.execute
_executemany: Final = dbapi2.Connection.executemany
_CALL: Final = "\0call"  # never valid SQL
_CACHED_STATEMENTS: Final = 256
_IO_ERROR: Final = 10
_FULL: Final = 13
_CORRUPT_WORDS: Final = ("malformed", "not a database", "corrupt")


# SQLite takes these as they are, but the driver does not know it: for every parameter that is not
# exactly an int, float, str or bytearray it searches for ways to adapt it, 2 us each. An adapter
# that gives the value back ends the search at the first step.
dbapi2.register_adapter(bytes, bytes)
dbapi2.register_adapter(bool, int)
dbapi2.register_adapter(type(None), {None: None}.get)


class Cursor(Protocol):
    """The part of a cursor the engine uses."""

    rowcount: int
    lastrowid: int | None

    def fetchone(self) -> tuple[Any, ...] | None: ...
    def fetchall(self) -> list[tuple[Any, ...]]: ...
    def fetchmany(self, size: int) -> list[tuple[Any, ...]]: ...
    def close(self) -> None: ...
    def __iter__(self) -> Any: ...  # noqa: ANN401 - an iterator of rows


class Raw(Protocol):
    """The part of a connection that functions on its thread use."""

    in_transaction: bool

    def execute(self, sql: str, parameters: Sequence[object] = ...) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> Cursor: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class _Answer:
    """Looks like a cursor to aiosqlite, carries a Python value."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def fetchall(self) -> object:
        return self.value

    def close(self) -> None:
        pass


class Timing(Protocol):
    """Who is told of statements that took longer than `threshold_s`, on the connection's thread."""

    threshold_s: float

    def note(self, sql: str, elapsed_s: float, parameters: int) -> None: ...


class _CallableConnection(dbapi2.Connection):  # type: ignore[misc]  # pysqlite3 has no types
    """A connection whose thread can run a whole function in one hop, and that may be timed."""

    slow_s: float = math.inf
    timing: Timing | None = None
    inode: Inode | None = None

    def close(self) -> None:
        super().close()
        inode, self.inode = self.inode, None
        if inode is not None:
            closed(inode)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        if sql == _CALL:
            function, arguments = parameters
            return _Answer(function(self, *arguments))
        began_s = perf_counter()
        cursor = _execute(self, sql, parameters)
        if perf_counter() - began_s > self.slow_s:
            self._tell(sql, perf_counter() - began_s, len(parameters))
        return cursor

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Any:  # noqa: ANN401
        began_s = perf_counter()
        cursor = _executemany(self, sql, rows)
        if perf_counter() - began_s > self.slow_s:
            self._tell(sql, perf_counter() - began_s, sql.count("?"))
        return cursor

    def timed_by(self, timing: Timing | None) -> None:
        if timing is not None:
            self.timing, self.slow_s = timing, timing.threshold_s

    def _tell(self, sql: str, elapsed_s: float, parameters: int) -> None:
        if self.timing is not None:
            self.timing.note(sql, elapsed_s, parameters)


class Carried(Protocol):
    """An open connection, and what runs its calls one after the other."""

    def execute_fetchall(
        self,
        sql: str,
        parameters: Any,  # noqa: ANN401 - what the call takes
        /,
    ) -> Awaitable[Any]:
        """What the connection's `execute` gives, and of that all rows."""
        ...

    async def close(self) -> None: ...


_Call: TypeAlias = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Calls: TypeAlias = "SimpleQueue[_Call | None]"
Carrier: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Carried]]


async def _on_own_thread(connector: Callable[[], Any]) -> Carried:
    """A connection on a thread of its own."""
    import aiosqlite  # noqa: PLC0415 - what only looks at a moment needs no thread

    refused: list[BaseException] = []

    def connecting() -> Any:  # noqa: ANN401 - pysqlite3 has no types
        try:
            return connector()
        except BaseException as error:  # noqa: BLE001 - raised below, once the thread is over
            refused.append(error)
            return _Answer(None)  # can be closed

    inner = aiosqlite.Connection(connecting, 64)
    await inner
    if refused:
        await inner.close()
        raise refused[0]
    served = _Served(inner)
    try:
        await asyncio.sleep(0)  # it serves from here on, whatever becomes of its task
    except BaseException:
        await served.close()
        raise
    return served


class _Served:
    """A connection of aiosqlite whose thread is in one call for as long as it is open, which takes
    ours from a queue: the way there and back is shorter by a fifth than with a call for each."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - aiosqlite's, loaded when needed
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._calls: _Calls = SimpleQueue()
        self._closing: asyncio.Future[None] | None = None
        serving = inner.execute_fetchall(_CALL, (_serve, (self._calls.get, self._tell)))
        self._serving = asyncio.ensure_future(serving)

    def execute_fetchall(self, _: str, parameters: Any, /) -> asyncio.Future[Any]:  # noqa: ANN401
        if self._closing is not None:
            raise ValueError("the connection is closed")
        future = self._loop.create_future()
        self._calls.put((future, *parameters))
        return future

    async def close(self) -> None:
        """Finish what was asked, then close, also where whoever waits for it is cancelled."""
        if self._closing is None:
            self._calls.put(None)
            self._closing = asyncio.ensure_future(self._end())
        await asyncio.shield(self._closing)

    def abandon(self) -> None:
        if self._closing is None:
            self._calls.put(None)
            self._inner.stop()

    async def _end(self) -> None:
        try:
            await asyncio.wait([self._serving])
        finally:
            await self._inner.close()

    def _tell(
        self, future: asyncio.Future[Any], answer: object, error: BaseException | None
    ) -> None:
        """On the thread. A loop that is closed has nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_give, future, answer, error)


def _serve(raw: Raw, take: Callable[[], _Call | None], tell: Callable[..., None]) -> None:
    """Run calls on the connection's thread, one after the other, until there is none."""
    while _run(raw, take(), tell):
        pass


def _run(raw: Raw, call: _Call | None, tell: Callable[..., None]) -> bool:
    """Run one call; False where there is none. Of what was asked and answered nothing stays on the
    thread until the next one: values are in it."""
    if call is None:
        return False
    future, function, arguments = call
    try:
        answer = function(raw, *arguments)
    except BaseException as error:  # noqa: BLE001 - it is the caller's
        tell(future, None, error)
    else:
        tell(future, answer, None)
    return True


def _give(future: asyncio.Future[Any], answer: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


# Who opens connections and runs their calls. Set it before the engine is opened, in its context.
CARRIER: Final[ContextVar[Carrier]] = ContextVar("carrier", default=_on_own_thread)


class Connection:
    """One database connection. `run` calls on a thread of its own, which begins with the first
    call; until then `here` calls on the caller's. At the end `close`."""

    def __init__(self, connector: Callable[[], Any], opened: Any = None) -> None:  # noqa: ANN401
        self._connector = connector
        self._opened = opened  # by the caller's thread, and not yet on its own
        self._inner: Carried | None = None
        self._starting = asyncio.Lock()

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call `function(raw, *arguments)` on the connection's thread: one hop there and back."""
        inner = self._inner or await self.start()
        answer = await inner.execute_fetchall(_CALL, (function, arguments))
        return cast("T", answer)

    def here(self, function: Callable[..., T], *arguments: object) -> T:
        """Call `function(raw, *arguments)` at once. Only before the first `run`."""
        if self._opened is None:
            raise Defect("a connection was used beside its own thread")
        return function(self._opened, *arguments)

    async def start(self) -> Carried:
        """Begin the thread, unless somebody has."""
        async with self._starting:
            if self._inner is None:
                self._inner, self._opened = await CARRIER.get()(self._connector), None
        return self._inner

    async def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        elif self._inner is not None:
            await self._inner.close()

    def abandon(self) -> None:
        """Let go of the connection without waiting: its thread ends after what it was asked."""
        if isinstance(self._inner, _Served):
            self._inner.abandon()

    def __del__(self) -> None:
        """A connection that nobody has closed keeps no process from ending."""
        self.abandon()


async def connect(
    path: Path,
    *,
    read_only: bool = False,
    existing: bool = False,
    timing: Timing | None = None,
) -> Connection:
    """Open a connection in autocommit mode. Transactions are begun by their owner. An `existing`
    file is not made anew where it is gone.

    Raises Unavailable on a SQLite that can corrupt a shared file, StorageError when the file
    cannot be opened.
    """
    require_sound_library()
    opening = partial(_open, path, read_only=read_only, existing=existing, timing=timing)
    connection = Connection(opening)
    try:
        await connection.start()
        if not read_only:
            _close_to_others(path)
    except (Error, OSError) as error:
        await connection.close()
        raise _not_opened(path, error) from error
    return connection


def _close_to_others(path: Path) -> None:
    if not is_volatile(path):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)


async def guard(path: Path) -> Connection:
    """A connection that only reads, held open while others close: the last one to close writes
    the log back into the file, and this one cannot."""
    connection = await connect(path, read_only=True)
    try:
        with contextlib.suppress(Error):  # it may be too damaged even for that
            await connection.run(lambda raw: raw.execute("SELECT 1 FROM sqlite_schema").fetchone())
    except BaseException:
        await connection.close()
        raise
    return connection


def connect_here(path: Path, *, timing: Timing | None = None) -> Connection:
    """Open a connection on the caller's thread, like `connect`, for a command that is over in a
    moment. It gets its own thread with its first `run`."""
    require_sound_library()
    try:
        raw = _open(path, read_only=False, timing=timing)
    except Error as error:
        raise _not_opened(path, error) from error
    _close_to_others(path)
    return Connection(lambda: raw, raw)


def look(path: Path, *, immutable: bool = False) -> Raw:
    """A connection on the caller's thread that cannot write. The caller closes it. `immutable`:
    nobody writes to the file, so it is read as it is, without a lock or a log. Raises Error."""
    return cast("Raw", _open(path, read_only=True, immutable=immutable))


def scratch() -> Raw:
    """An empty database in memory, on the caller's thread. The caller closes it."""
    return cast("Raw", dbapi2.connect(":memory:", isolation_level=None))


def _open(
    path: Path,
    *,
    read_only: bool,
    existing: bool = False,
    immutable: bool = False,
    timing: Timing | None = None,
) -> Any:  # noqa: ANN401 - pysqlite3 has no types
    if is_volatile(path):
        parameters = "vfs=memdb"  # there for as long as somebody has it open
    else:
        mode = "ro" if read_only else "rw" if existing else "rwc"
        parameters = f"mode={mode}" + ("&immutable=1" if immutable else "")
    connection = dbapi2.connect(
        f"{path.absolute().as_uri()}?{parameters}",
        uri=True,
        isolation_level=None,
        factory=_CallableConnection,
        cached_statements=_CACHED_STATEMENTS,
        check_same_thread=False,
    )
    connection.timed_by(timing)
    if not is_volatile(path):
        try:
            connection.inode = opened(path)
        except BaseException:
            connection.close()
            raise
    return connection


def _not_opened(path: Path, error: Exception) -> StorageError:
    return StorageError(f"cannot open {path.name}: {error}", hint="check its rights")


def require_sound_library(version: str = LIBRARY_VERSION) -> None:
    """Raise Unavailable on a SQLite with the WAL-reset corruption."""
    if not is_sound(version):
        raise Unavailable(
            f"SQLite {version} can corrupt a database with a write-ahead log",
            hint="reinstall swarmdeck so that pysqlite3 0.6.1 or later comes with it",
        )


def is_complete(sql: str) -> bool:
    """Whether a text ends a statement (a trigger is one statement)."""
    return bool(dbapi2.complete_statement(sql))


def is_sound(version: str) -> bool:
    parts = tuple(int(part) for part in version.split("."))
    return parts >= _FIXED_SINCE or parts in _BACKPORTED


def is_io_error(error: BaseException | None) -> bool:
    """Whether the disk failed: the connection that met this is finished."""
    return _result_code(error) == _IO_ERROR


def is_full(error: BaseException | None) -> bool:
    """Whether the disk has no room. Nothing of the transaction is stored."""
    return _result_code(error) == _FULL


def describe(error: BaseException) -> str:
    """The text of an error with SQLite's name for it."""
    name = getattr(error, "sqlite_errorname", "")
    return f"{error} ({name})" if name else str(error)


def _result_code(error: BaseException | None) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF  # the bits above tell the kinds of one code apart


def translate(error: Exception, what: str, *, committing: bool = False) -> SwarmDeckError:
    """The error of ours that stands for one of SQLite's.

    `committing`: the failure came out of COMMIT itself, so that the change may or may not be
    on the disk.
    """
    text = str(error)
    if any(word in text for word in _CORRUPT_WORDS):
        return Corrupt(f"{what} is damaged: {text}", hint="restore it from a backup")
    if committing and not is_full(error):
        return OutcomeUnknown(
            f"{what} failed while committing: {describe(error)}",
            hint="the change may be stored or not: read it back before you repeat it",
        )
    hint = "free some disk space" if is_full(error) else "check the disk and its rights"
    return StorageError(f"{what} was not changed: {describe(error)}", hint=hint)
