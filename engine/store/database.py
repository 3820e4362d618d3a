"""One database file: a single writer with group commit, and readers beside it.

Callers put operations on a list. One hop to the writer's thread runs BEGIN IMMEDIATE, all of
them, their audit rows and COMMIT; then each caller's future resolves. While a batch is on the
thread the next one gathers, so the batch size follows the load. Nothing is pipelined: row
versions are decided from what the batch before has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Generic, Self, TypeVar, cast

import msgspec

from ..clock import Clock
from ..errors import (
    Corrupt,
    Damaged,
    Defect,
    InvalidInput,
    OutcomeUnknown,
    StorageError,
    SwarmDeckError,
    Unavailable,
)
from ..model import Durability
from . import driver
from .chain import INSERT_AUDIT, INSERT_LAST, MAX_DETAIL, Chain, Head, Row, follow
from .disk import Disk
from .migrate import Series, schema_version
from .pins import Pinned, Pins
from .prepare import granted, prepare_again, prepare_reader, prepare_writer
from .reserve import Reserve
from .slow import Slow, plan_of
from .verify import verify

T = TypeVar("T")

CLOSE_WAIT_S: Final = 30.0


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


class Transaction:
    """What a change sees on the writer's thread, between BEGIN and COMMIT."""

    __slots__ = (
        "_audit", "_head", "_overlays", "_raw", "_sequence",
        "env", "execute", "executemany", "now_us",
    )  # fmt: skip

    def __init__(self, raw: driver.Raw, env: str, now_us: int, head: Head) -> None:
        self._raw = raw
        self._audit: list[Row] = []
        self._head = head
        self._sequence = head.sequence
        self._overlays: dict[object, dict[Any, Any]] = {}
        self.env = env
        self.now_us = now_us
        self.execute: Callable[..., driver.Cursor] = raw.execute
        self.executemany: Callable[..., driver.Cursor] = raw.executemany

    def audit(
        self, actor: str, action: str, object_: str, *, allowed: bool = True, detail: str = ""
    ) -> None:
        """Record who did what, in the same transaction as the change. A long detail is cut."""
        self._sequence = sequence = self._sequence + 1
        if len(detail) > MAX_DETAIL:
            detail = detail[: MAX_DETAIL - 1] + "…"
        self._audit.append(
            (sequence, self.env, self.now_us, actor, action, object_, 1 if allowed else 0, detail)
        )

    def overlay(self, owner: object) -> dict[Any, Any]:
        """What `owner` has staged in this transaction so far, for its later operations to see
        before the commit is known to its caches. Dies with the transaction."""
        return self._overlays.setdefault(owner, {})

    def write_audit(self) -> Head:
        """Write what was recorded, chained to what is there; the head once it is committed."""
        rows = self._audit
        if not rows:
            return self._head
        head = follow(self._head, rows)
        self._raw.executemany(INSERT_AUDIT, rows[:-1])
        self._raw.execute(INSERT_LAST, (*rows[-1], head.hash))
        return head


class Reader:
    """What a query sees on the reader's thread, inside one read transaction. `slow` is told of
    statements that take long; one lasts until the next, for its rows are taken meanwhile."""

    __slots__ = ("_execute", "_parameters", "_since_s", "_slow", "_sql", "env")

    def __init__(self, raw: driver.Raw, env: str, slow: driver.Timing | None = None) -> None:
        self.env = env
        self._execute: Callable[..., driver.Cursor] = raw.execute
        self._slow = slow
        self._sql = ""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> driver.Cursor:
        self.lap()
        self._sql, self._parameters, self._since_s = sql, len(parameters), perf_counter()
        return self._execute(sql, parameters)

    def lap(self) -> None:
        """The statement of before is over."""
        if self._sql and self._slow is not None:
            elapsed_s = perf_counter() - self._since_s
            if elapsed_s > self._slow.threshold_s:
                self._slow.note(self._sql, elapsed_s, self._parameters)
        self._sql = ""


class Operation:
    """One caller's change. Consecutive operations of one class are applied together. One that
    `grows` stores a value, and waits for nobody on a full disk: it is refused there."""

    __slots__ = ("future",)

    topic: str = ""
    grows: bool = False
    future: asyncio.Future[Any]

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        """Run on the writer's thread. One outcome an operation: its result, or a SwarmDeckError
        that fails that caller alone. An SQL exception rolls the whole batch back and every
        operation is run again in a transaction of its own."""
        raise NotImplementedError

    def committed(self, outcome: Any) -> Any:  # noqa: ANN401 - each operation has its own
        """Run on the loop after the commit, in commit order: update what is in memory. Returns
        what the caller gets."""
        return outcome

    @classmethod
    def settle(cls, operations: Sequence[Self], outcomes: Sequence[Any]) -> None:
        """Take over the outcomes of a run of operations, and answer their callers. A hot
        operation does this for the whole run at once."""
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Exception):
                _answer(operation.future, outcome)
            else:
                _answer(operation.future, operation.committed(outcome))


class _Change(Operation, Generic[T]):
    """A function as an operation: the control plane's form."""

    __slots__ = ("change", "then", "topic")

    def __init__(
        self, change: Callable[[Transaction], T], topic: str, then: Callable[[T], None] | None
    ) -> None:
        self.change = change
        self.topic = topic
        self.then = then

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[_Change[Any]]) -> list[Any]:
        return [_outcome(tx, operation.change) for operation in operations]

    def committed(self, outcome: T) -> T:
        if self.then is not None:
            self.then(outcome)
        return outcome


def _outcome(tx: Transaction, change: Callable[[Transaction], Any]) -> Any:  # noqa: ANN401
    """The result of a change, or its error with nothing of it left in the transaction."""
    tx.execute("SAVEPOINT change")
    try:
        result = change(tx)
    except SwarmDeckError as error:
        tx.execute("ROLLBACK TO change")
        result = error
    tx.execute("RELEASE change")
    return result


def _answer(future: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401
    """Give a caller its result or error. One that was cancelled has stopped listening."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class DatabaseStats(msgspec.Struct, frozen=True):
    batches: int
    operations: int
    waiting: int
    largest_batch: int


class Database:
    """A database file in use. Made by `open_database`; all methods belong to its event loop."""

    def __init__(
        self,
        path: Path,
        env: str,
        options: StoreOptions,
        clock: Clock,
        writer: driver.Connection,
        chain: Chain,
        on_commit: Callable[[str, frozenset[str], int], None] | None,
        *,
        brief: bool = False,
    ) -> None:
        self.chain = chain
        self.disk = Disk(path, "environment", None)
        self.path = path
        self.env = env
        self.options = options
        self.clock = clock
        self.sequence = 0
        self.pins = Pins(clock)
        self.slow = Slow(env, clock, options.slow_statement_ms)
        self.slow.quiet = brief  # one command says what it is asked, no more
        self._explaining: set[asyncio.Task[None]] = set()
        self.on_damage: Callable[[Corrupt], object] | None = None
        self._refusal: SwarmDeckError | None = None
        self._writer = writer
        self._reader: driver.Connection | None = None
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Operation] = []
        self._batch: list[Operation] = []
        self._draining: asyncio.Task[None] | None = None
        self._queries: list[tuple[Callable[[Reader], Any], asyncio.Future[Any]]] = []
        self._answering: asyncio.Task[None] | None = None
        self._checkpoint: asyncio.TimerHandle | None = None
        self._verifying: asyncio.Task[None] | None = None
        self._flush_wanted = False
        self._closed = False
        self._brief = brief
        self._loading = brief
        self._batches = 0
        self._operations = 0
        self._largest = 0

    # --- writing ----------------------------------------------------------------------------

    def submit(self, operation: Operation) -> asyncio.Future[Any]:
        """Queue an operation; the future resolves after its commit. Never blocks. A caller that
        is cancelled is simply not answered."""
        future = operation.future = self._loop.create_future()
        if self._closed:
            future.set_exception(self._over())
            return future
        self._waiting.append(operation)
        self._start_draining()
        return future

    def _start_draining(self) -> None:
        if self._draining is None:
            self._loading = False  # the connection is its thread's from here on
            self._draining = self._loop.create_task(self._drain())

    async def write(
        self,
        change: Callable[[Transaction], T],
        *,
        topic: str = "",
        then: Callable[[T], None] | None = None,
    ) -> T:
        """Run `change` in a transaction and `then` on the loop after its commit."""
        return cast("T", await self.submit(_Change(change, topic, then)))

    async def _drain(self) -> None:
        limit = self.options.batch_limit
        try:
            while self._waiting or self._flush_wanted:
                await asyncio.sleep(0)  # let the callers of this turn join the batch
                if self._flush_wanted:
                    self._flush_wanted = False
                    await self._flush()
                self._batch = self._waiting[:limit]
                del self._waiting[:limit]
                if self._batch:
                    await self._commit(self._batch)
                    self._batch = []
        finally:
            self._draining = None
            self._fail_unanswered()

    def _fail_unanswered(self) -> None:
        """Whatever broke the writer, nobody may be left waiting for it."""
        for operation in (*self._batch, *self._waiting):
            _answer(operation.future, OutcomeUnknown(f"the {self.env} writer has stopped"))
        self._batch = []
        self._waiting.clear()

    async def _flush(self) -> None:
        """Copy the log into the file; where the disk refuses, again after a while."""
        try:
            await self._mend()
            await self._writer.run(_checkpoint, self.chain, self.disk)
        except SwarmDeckError as error:
            self._heed(error)
        except driver.Error as error:
            self._heed(_blame(error, self.env, committing=False))
        if self.disk.trouble:
            self._flush_later()

    def _heed(self, error: SwarmDeckError) -> None:
        if type(error) is Corrupt:
            self.damaged(error)

    async def _mend(self) -> None:
        """Replace a writer whose disk has failed, once the disk takes writes again. Raises
        StorageError while it does not, Corrupt when the file is damaged."""
        if not self.disk.failed:
            return
        # The last connection to close would sync the log, and believe what it is told.
        keeper = await driver.guard(self.path)
        try:
            await self._writer.close()
            writer = await driver.connect(self.path, timing=self.slow)
            try:
                await writer.run(prepare_again, self.options, self.disk)
            except BaseException:
                await writer.close()
                raise
        except driver.Error as error:
            raise driver.translate(error, f"the {self.env} database") from error
        finally:
            await keeper.close()
        self._writer = writer
        self.disk.failed = ""

    async def _commit(self, batch: list[Operation]) -> None:
        try:
            await self._mend()
        except SwarmDeckError as error:
            self._heed(error)
            for operation in batch:
                _answer(operation.future, error.again())
            self._flush_later()
            return
        now_us = self.clock.wall_us()
        outcomes = await self._writer.run(
            _run_batch, self.env, self.chain, self.disk, now_us, batch
        )
        if type(outcomes[0]) is Corrupt:  # one that damage has failed fails whole
            self.damaged(outcomes[0])
        self.sequence += 1
        self._batches += 1
        self._operations += len(batch)
        self._largest = max(self._largest, len(batch))
        topics: set[str] = set()
        start = 0
        for run in _runs(batch):
            end = start + len(run)
            topics.update(operation.topic for operation in run)
            type(run[0]).settle(run, outcomes[start:end])
            start = end
        topics.discard("")  # what changes nothing that is shown
        self._after_commit(frozenset(topics))

    def _after_commit(self, topics: frozenset[str]) -> None:
        if self.options.durability is Durability.NORMAL or self.disk.trouble:
            self._flush_later()
        if self.disk.log_pages >= self.options.autocheckpoint_pages:
            self._flush_wanted = True
        if self._on_commit is not None and topics:
            self._on_commit(self.env, topics, self.sequence)

    def _flush_later(self) -> None:
        if self._checkpoint is None and not self._closed:
            wait_s = self.options.checkpoint_interval_s
            self._checkpoint = self._loop.call_later(wait_s, self._flush_soon)

    def _flush_soon(self) -> None:
        """Bound what NORMAL can lose at power loss: a checkpoint is what syncs the log."""
        self._checkpoint = None
        if not self._closed:
            self._flush_wanted = True
            self._start_draining()

    # --- reading ----------------------------------------------------------------------------

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Run `query` on the reader's thread. Queries of one turn share one hop and one read
        transaction. Raises StorageError or Corrupt."""
        if self._closed:
            raise self._over()
        if self._loading:
            return self._read_here(query)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queries.append((query, future))
        if self._answering is None:
            self._answering = self._loop.create_task(self._answer())
        return await future

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        queries: list[tuple[Callable[[Reader], Any], asyncio.Future[Any]]] = []
        try:
            while self._queries:
                queries, self._queries = self._queries, []
                outcomes = await self._outcomes([query for query, _ in queries])
                for (_, future), outcome in zip(queries, outcomes, strict=True):
                    _answer(future, outcome)
        finally:
            self._answering = None
            for _, future in (*queries, *self._queries):  # left over only if the reader broke
                _answer(future, Unavailable(f"the {self.env} reader has stopped"))

    async def _outcomes(self, queries: list[Callable[[Reader], Any]]) -> list[Any]:
        if self._brief:
            outcomes = await self._writer.run(_run_queries_beside_writes, self.env, queries)
        else:
            reader = self._reader or await self._open_reader()
            with self.pins.reading("queries"):
                outcomes = await reader.run(_run_queries, self.env, queries, self.slow)
        for outcome in outcomes:
            if type(outcome) is Corrupt:
                self.damaged(outcome)
        return outcomes

    def _read_here(self, query: Callable[[Reader], T]) -> T:
        """Answer a query of a brief opening at once: a thread would cost more than the answer."""
        outcome = self._writer.here(_run_queries_beside_writes, self.env, [query])[0]
        if isinstance(outcome, Exception):
            if type(outcome) is Corrupt:
                self.damaged(outcome)
            raise outcome
        return cast("T", outcome)

    def loaded(self) -> None:
        """What lives in this database has been read; from now on every call takes its time."""
        self._loading = False

    async def _open_reader(self) -> driver.Connection:
        reader = await driver.connect(self.path)
        try:
            await reader.run(prepare_reader, self.options)
        except BaseException:
            await reader.close()
            raise
        self._reader = reader
        return reader

    # --- upkeep -----------------------------------------------------------------------------

    @property
    def stats(self) -> DatabaseStats:
        return DatabaseStats(self._batches, self._operations, len(self._waiting), self._largest)

    def keep_slow(self, slow: Slow) -> None:
        """Keep the slow statements that its connections tell of."""
        self.slow = slow
        slow.found = self._explain_soon

    def _explain_soon(self, sql: str, parameters: int) -> None:
        """Ask for the plan of a slow statement. On the thread that ran it."""
        self._loop.call_soon_threadsafe(self._explain, sql, parameters)

    def _explain(self, sql: str, parameters: int) -> None:
        if not self._closed:
            task = self._loop.create_task(self._keep_plan(sql, parameters), name="plan")
            self._explaining.add(task)
            task.add_done_callback(self._explaining.discard)

    async def _keep_plan(self, sql: str, parameters: int) -> None:
        try:
            self.slow.explained(sql, await plan_of(self.path, sql, parameters))
        except (SwarmDeckError, driver.Error) as error:
            self.slow.explained(sql, f"not known: {error}")

    @property
    def wal_bytes(self) -> int:
        return self.disk.log_bytes

    async def flush(self) -> None:
        """Put on the disk what was committed with NORMAL durability. Raises StorageError."""
        if self.options.durability is Durability.NORMAL:
            await self.checkpoint()

    async def checkpoint(self) -> float:
        """Copy the log into the file as far as no reader holds it back; for how many seconds
        writers waited. Raises StorageError."""

        def copy(raw: driver.Raw) -> float:
            began_s = perf_counter()
            _checkpoint(raw, self.chain, self.disk)
            return perf_counter() - began_s

        return await self.tend(copy)

    def pinned(self) -> Pinned:
        """Who keeps the log from being used anew."""
        found = self.pins.pinned
        if not found.readers:
            return found
        return msgspec.structs.replace(found, log_bytes=self.wal_bytes)

    async def pragmas(self) -> list[tuple[str, str, str]]:
        """Name, requested and granted value of each setting of the writer."""
        return await self._usable().run(granted, self.options)

    async def rebuild(self) -> None:
        """Write the file anew without its free pages and empty its log, so that what was deleted
        is in neither. Writers wait. Raises StorageError, Corrupt."""
        try:
            await self._usable().run(_rebuild)
        except driver.Error as error:
            raise driver.translate(error, self.path.name) from error

    async def schema_version(self) -> int:
        return await self._usable().run(schema_version)

    def damaged(self, error: Corrupt) -> None:
        """The file was found damaged in use: nothing more is asked of it. Says so once."""
        if self._refusal is None:
            self.condemn(error)
            if self.on_damage is not None:
                self._loop.call_soon(self.on_damage, error)

    def condemn(self, error: SwarmDeckError) -> None:
        """Answer every call from now on with this error."""
        self._refusal = error
        self._closed = True
        for operation in self._waiting:
            _answer(operation.future, self._over())
        self._waiting.clear()

    def _over(self) -> SwarmDeckError:
        """Why there is no answer any more: each caller gets an error of its own to raise."""
        if self._refusal is None:
            return Unavailable(f"{self.env} is closed")
        return self._refusal.again()

    async def tend(self, step: Callable[[driver.Raw], T]) -> T:
        """Run a short step of upkeep on the writer's thread, between two batches. Raises
        StorageError, Corrupt."""
        if self._closed:
            raise self._over()
        self._loading = False
        try:
            return await self._usable().run(step)
        except driver.Error as error:
            self.disk.note(error)
            if self.disk.trouble:
                self._flush_later()
            found = driver.translate(error, f"the {self.env} database")
            self._heed(found)
            raise found from error

    def _usable(self) -> driver.Connection:
        """The writer, for what does not go with a batch. Raises StorageError while its disk has
        failed: it is about to be replaced."""
        if self.disk.failed:
            raise StorageError(
                f"the {self.env} database cannot be used: {self.disk.trouble}",
                hint="check the disk and its rights",
            )
        return self._writer

    def begin_verifying(self) -> None:
        """Look whether a large file that was left in use is whole, while it is used."""
        self._verifying = self._loop.create_task(self._verify())

    async def _verify(self) -> None:
        try:
            found = await verify(self.path, lambda: self._closed)
        except driver.Error as error:
            if self._closed:
                return
            self._heed(driver.translate(error, f"the {self.env} database"))
        except SwarmDeckError as error:
            self._heed(error)
        else:
            self.disk.unverified = False
            if found:
                text = f"the {self.env} database is damaged: {found}"
                self.damaged(Corrupt(text, hint="restore it from a backup"))

    async def close(self) -> None:
        """Finish what was submitted, then close both connections; those of a damaged file without
        writing its log back into it."""
        guard = await driver.guard(self.path) if type(self._refusal) is Corrupt else None
        try:
            await self._close()
        finally:
            if guard is not None:
                await guard.close()

    async def _close(self) -> None:
        self._closed = True
        if self._checkpoint is not None:
            self._checkpoint.cancel()
        async with asyncio.timeout(CLOSE_WAIT_S), AsyncExitStack() as stack:
            stack.push_async_callback(self._writer.close)
            if self._reader is not None:
                stack.push_async_callback(self._reader.close)
            for task in (self._draining, self._answering, self._verifying, *self._explaining):
                if task is not None:
                    await asyncio.wait([task])


@asynccontextmanager
async def open_database(
    path: Path,
    env: str,
    *,
    options: StoreOptions,
    clock: Clock,
    series: Series = "environment",
    on_commit: Callable[[str, frozenset[str], int], None] | None = None,
    reserve: Reserve | None = None,
    brief: bool = False,
) -> AsyncIterator[Database]:
    """Open (or create) a database file, migrated, and close it at the end.

    `on_commit(env, topics, sequence)` is called on the loop after each commit. `brief` is for
    one command: one connection for everything, opened and read on the caller's thread until
    `loaded`; its own thread begins when something is asked after that. Raises Corrupt for a
    damaged, foreign or newer file, StorageError when the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    disk = Disk(path, series, reserve)
    async with AsyncExitStack() as stack:
        slow = Slow(env, clock, options.slow_statement_ms)
        slow.quiet = brief  # one command says what it is asked, no more
        if brief:
            writer = driver.connect_here(path, timing=slow)
        else:
            writer = await driver.connect(path, timing=slow)
        stack.push_async_callback(writer.close)
        chain = Chain(options.durability)
        if brief:
            writer.here(prepare_writer, options, disk, chain)
        else:
            await writer.run(prepare_writer, options, disk, chain)
        database = Database(path, env, options, clock, writer, chain, on_commit, brief=brief)
        database.keep_slow(slow)
        database.disk = disk
        stack.pop_all()
    if disk.unverified:
        database.begin_verifying()
    try:
        yield database
    finally:
        await database.close()


# --- on the writer's thread -------------------------------------------------------------------


def _run_batch(
    raw: driver.Raw,
    env: str,
    chain: Chain,
    disk: Disk,
    now_us: int,
    batch: Sequence[Operation],
) -> list[Any]:
    """Commit a batch; one outcome an operation. On a full disk what stores a value is refused and
    the others use the reserve."""
    if disk.is_short and not disk.has_room(raw):
        outcomes: list[Any] = [disk.refusal(env) for _ in batch]
    else:
        disk.full = False
        outcomes = _attempt_all(raw, env, chain, disk, now_us, batch)
        if not disk.full:
            with suppress(driver.Error):
                disk.log_pages = _log_pages(raw)
            return outcomes
    _make_room(raw, env, chain, disk, now_us, batch, outcomes)
    return outcomes


def _make_room(
    raw: driver.Raw,
    env: str,
    chain: Chain,
    disk: Disk,
    now_us: int,
    batch: Sequence[Operation],
    outcomes: list[Any],
) -> None:
    """Run what a full disk has refused and stores no value, in the room of the reserve."""
    waiting = [
        number
        for number, outcome in enumerate(outcomes)
        if isinstance(outcome, StorageError) and not batch[number].grows
    ]
    chosen = [batch[number] for number in waiting]
    if chosen and not disk.failed:
        again = _attempt_all(raw, env, chain, disk, now_us, chosen)
        for number, outcome in zip(waiting, again, strict=True):
            outcomes[number] = outcome
    disk.full = True
    with suppress(driver.Error):  # the disk knows of it
        _checkpoint(raw, chain, disk)


def _attempt_all(
    raw: driver.Raw,
    env: str,
    chain: Chain,
    disk: Disk,
    now_us: int,
    batch: Sequence[Operation],
) -> list[Any]:
    """Commit a batch; one outcome an operation. A batch that one bad value broke is rolled back
    and its operations run singly, so that each caller answers for its own."""
    outcomes = _attempt(raw, env, chain, disk, now_us, batch)
    if outcomes is not None:
        return outcomes
    found: list[Any] = []
    for operation in batch:
        if disk.failed:
            found.append(StorageError(f"the {env} database was not changed: {disk.trouble}"))
            continue
        single = _attempt(raw, env, chain, disk, now_us, [operation], last=True)
        found.extend(single or ())
    return found


def _attempt(
    raw: driver.Raw,
    env: str,
    chain: Chain,
    disk: Disk,
    now_us: int,
    batch: Sequence[Operation],
    *,
    last: bool = False,
) -> list[Any] | None:
    """Outcomes of a batch in one transaction, or None when it should be run singly."""
    committing = False
    try:
        raw.execute("BEGIN IMMEDIATE")
        tx = Transaction(raw, env, now_us, chain.current(raw))
        outcomes: list[Any] = []
        for run in _runs(batch):
            outcomes.extend(type(run[0]).apply(tx, run))
        head = tx.write_audit()
        committing = True
        raw.execute("COMMIT")
        chain.moved(head)
    except Exception as error:  # noqa: BLE001 - one caller's fault must not fail the others
        chain.forget()
        disk.note(error)
        with suppress(driver.Error):  # a failed disk may refuse that too
            raw.rollback()
        if last or len(batch) == 1 or _is_disk_trouble(error):
            return [_blame(error, env, committing=committing) for _ in batch]
        return None
    return outcomes


def _runs(batch: Sequence[Operation]) -> Iterable[list[Operation]]:
    """The batch cut where the class of operation changes; order is kept."""
    run: list[Operation] = []
    kind: type[Operation] | None = None
    for operation in batch:
        if type(operation) is not kind:
            if run:
                yield run
            run, kind = [], type(operation)
        run.append(operation)
    if run:
        yield run


def _is_disk_trouble(error: Exception) -> bool:
    """Whether running again, singly, could only meet the same trouble."""
    if driver.is_io_error(error) or driver.is_full(error):
        return True
    words = ("disk", "full", "readonly", "malformed", "not a database", "locked")
    return isinstance(error, driver.DatabaseError) and any(word in str(error) for word in words)


def _blame(error: Exception, env: str, *, committing: bool) -> SwarmDeckError:
    if isinstance(error, SwarmDeckError):
        return error
    if isinstance(error, driver.OperationalError) or _is_disk_trouble(error):
        found = driver.translate(error, f"the {env} database", committing=committing)
    else:
        found = Defect(f"the {env} database refused a change: {error}")
    found.__cause__ = error
    return found


def _no_text(error: UnicodeDecodeError, env: str) -> Damaged:
    """What a flipped bit in a name makes of the row."""
    found = Damaged(
        f"a row of the {env} database has a text that is none", hint="swarmdeck db check"
    )
    found.__cause__ = error
    return found


def _run_queries(
    raw: driver.Raw,
    env: str,
    queries: Sequence[Callable[[Reader], Any]],
    slow: driver.Timing | None = None,
) -> list[Any]:
    """Answer all queries from one snapshot. A query that fails answers for itself; a snapshot
    that cannot even be given up, as of a damaged file, fails them all."""
    reader = Reader(raw, env, slow)
    raw.execute("BEGIN")
    try:
        outcomes = [_answered(reader, query, env) for query in queries]
    except BaseException:  # a defect of one query must not end the reading of all
        raw.rollback()
        raise
    try:
        raw.execute("COMMIT")
    except driver.Error as error:
        raw.rollback()
        return [_blame(error, env, committing=False) for _ in queries]
    return outcomes


def _answered(reader: Reader, query: Callable[[Reader], Any], env: str) -> Any:  # noqa: ANN401
    """The answer of one query, or the error that fails its caller alone."""
    try:
        answer = query(reader)
        reader.lap()
    except SwarmDeckError as error:
        return error
    except driver.Error as error:
        return _blame(error, env, committing=False)
    except UnicodeDecodeError as error:
        return _no_text(error, env)
    except (UnicodeEncodeError, OverflowError) as error:  # what no column can hold
        found = InvalidInput("half characters and numbers beyond 64 bits are nowhere stored")
        found.__cause__ = error
        return found
    return answer


def _run_queries_beside_writes(
    raw: driver.Raw, env: str, queries: Sequence[Callable[[Reader], Any]]
) -> list[Any]:
    """Answer queries on the connection that writes; they themselves cannot."""
    raw.execute("PRAGMA query_only = 1")
    try:
        return _run_queries(raw, env, queries)
    finally:
        raw.execute("PRAGMA query_only = 0")


def _log_pages(raw: driver.Raw) -> int:
    """How many pages the log holds since it was last begun anew."""
    found = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return 0 if found is None else max(0, int(found[1]))


def _rebuild(raw: driver.Raw) -> None:
    raw.execute("VACUUM")
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _checkpoint(raw: driver.Raw, chain: Chain, disk: Disk) -> None:
    """Copy the log into the file as far as no reader holds it back. Once all of it is copied, all
    of it is on the disk. Never left to SQLite, which would pass over a disk that fails."""
    try:
        found = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except driver.Error as error:
        disk.note(error)
        raise
    disk.log_pages = 0
    if found is not None and found[0] == 0 and found[1] == found[2]:
        chain.flushed()
