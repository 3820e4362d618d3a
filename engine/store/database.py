"""One database file: a single writer with group commit, and readers beside it.

Callers put operations on a list. One hop to the writer's thread runs BEGIN IMMEDIATE, all of
them, their audit rows and COMMIT; then each caller's future resolves. While a batch is on the
thread the next one gathers, so the batch size follows the load. Nothing is pipelined: row
versions are decided from what the batch before has committed. What is read is in `queries.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar, cast

import msgspec

from ..clock import Clock
from ..errors import Corrupt, OutcomeUnknown, StorageError, SwarmDeckError, Unavailable
from ..model import Durability
from . import driver
from .batch import checkpoint, rebuild, run_batch, runs
from .chain import Chain
from .commits import Commits
from .copying import LONG_PAGES, Copier
from .disk import Disk, blame
from .migrate import Series, schema_version
from .pins import Pinned, Pins
from .prepare import StoreOptions, granted, prepare_again, prepare_writer
from .queries import Queries
from .reader import Reader
from .reserve import Reserve
from .slow import Slow, plan_of
from .transaction import Change, Operation, Transaction
from .verify import verify
from .volatile import is_volatile

__all__ = [
    "Database",
    "DatabaseStats",
    "Operation",
    "Reader",
    "StoreOptions",
    "Transaction",
    "open_database",
]

T = TypeVar("T")

CLOSE_WAIT_S: Final = 30.0
MOST_LOGS: Final = 4  # as long as a log that is to be copied; then writers wait for it


class DatabaseStats(msgspec.Struct, frozen=True):
    batches: int
    operations: int
    waiting: int
    largest_batch: int


class Database:
    """A database file in use. Made by `open_database`; all methods belong to its event loop."""

    def __init__(
        self,
        disk: Disk,
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
        self.disk = disk
        self.path = disk.path
        self.env = env
        self.options = options
        self.clock = clock
        self.sequence = 0
        self.pins = Pins(clock)
        self.commits = Commits()
        self.slow = Slow(env, clock, options.slow_statement_ms)
        self.slow.quiet = brief  # one command says what it is asked, no more
        self._explaining: set[asyncio.Task[None]] = set()
        self.on_damage: Callable[[Corrupt], object] | None = None
        self._refusal: SwarmDeckError | None = None
        self._writer = writer
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Operation] = []
        self._batch: list[Operation] = []
        self._before: list[Callable[[], None]] = []
        self._draining: asyncio.Task[None] | None = None
        self._queries = Queries(self, lambda: self._writer)
        self._checkpoint: asyncio.TimerHandle | None = None
        self._verifying: asyncio.Task[None] | None = None
        self._flush_wanted = False
        self._copier = Copier(disk.path, options, lambda: self._closed or bool(self.disk.trouble))
        self._copied = False  # beside the writer, which has yet to copy the rest
        self._tending = 0  # steps of upkeep under way: the log is theirs
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
            operation.fail(self._over())
            return future
        self._waiting.append(operation)
        self._start_draining()
        return future

    def before_batch(self, call: Callable[[], None]) -> None:
        """Call this on the loop just before the next batch is taken, so that what it submits is
        part of that batch. It must not raise."""
        if not self._closed:
            self._before.append(call)
            self._start_draining()

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
        return cast("T", await self.submit(Change(change, topic, then)))

    async def _drain(self) -> None:
        limit = self.options.batch_limit
        try:
            while self._waiting or self._flush_wanted or self._before:
                if self._flush_wanted:
                    self._flush_wanted = False
                    await self._flush()
                before, self._before = self._before, []
                for call in before:
                    call()
                self._batch = self._waiting[:limit]
                del self._waiting[:limit]
                if self._batch:
                    await self._commit(self._batch)
                    self._batch = []
                # Callers of this turn join the next batch. Those of the turn that began all this
                # have: a task starts after it.
                await asyncio.sleep(0)
        finally:
            self._draining = None
            self._fail_unanswered()

    def _fail_unanswered(self) -> None:
        """Whatever broke the writer, nobody may be left waiting for it."""
        for operation in (*self._batch, *self._waiting):
            operation.fail(OutcomeUnknown(f"the {self.env} writer has stopped"))
        self._batch = []
        self._waiting.clear()

    async def _flush(self) -> None:
        """Copy the log into the file, a long one beside the writer first; where the disk refuses,
        again after a while."""
        if self._refusal is not None:
            return
        pages, limit = self.disk.log_pages, self.options.autocheckpoint_pages
        if self._copier.is_copying:
            if pages >= MOST_LOGS * limit:  # written faster than it is copied
                await self._copier.wait()
            return
        direct = self._copied or self._tending or self.disk.trouble
        if pages >= min(limit, LONG_PAGES) and not direct:
            self._copier.begin(self._flush_rest)
            return
        self._copied = False
        try:
            await self._mend()
            await self._writer.run(checkpoint, self.chain, self.disk)
        except SwarmDeckError as error:
            self._heed(error)
        except driver.Error as error:
            self._heed(blame(error, self.env, committing=False))
        if self.disk.trouble:
            self._flush_later()

    def _flush_rest(self, refused: Exception | None) -> None:
        """The log was copied beside the writer, or that has failed."""
        if isinstance(refused, OSError):
            self.disk.failed = str(refused)
        elif refused is not None and driver.is_io_error(refused):
            self.disk.note(refused)
        if not self._closed:
            self._copied = True
            self._flush_wanted = True
            self._start_draining()

    def _heed(self, error: SwarmDeckError) -> None:
        if type(error) is Corrupt:
            self.damaged(error)

    async def _mend(self) -> None:
        """Replace a writer whose disk has failed, once the disk takes writes again. Raises
        StorageError while it does not, Corrupt when the file is damaged."""
        if not self.disk.failed:
            return
        await self._copier.close()
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
                operation.fail(error.again())
            self._flush_later()
            return
        now_us = self.clock.wall_us()
        began_s = self._loop.time()
        outcomes = await self._writer.run(run_batch, self.env, self.chain, self.disk, now_us, batch)
        self.commits.note(self._loop.time() - began_s)
        if type(outcomes[0]) is Corrupt:  # one that damage has failed fails whole
            self.damaged(outcomes[0])
        self.sequence += 1
        self._batches += 1
        self._operations += len(batch)
        self._largest = max(self._largest, len(batch))
        topics: set[str] = set()
        start = 0
        for run in runs(batch):
            end = start + len(run)
            topics.update([operation.topic for operation in run])
            type(run[0]).settle(run, outcomes[start:end])
            start = end
        self._after_commit(_words(" ".join(topics)))

    def _after_commit(self, topics: frozenset[str]) -> None:
        if self._checkpoint is None and (
            self.options.durability is Durability.NORMAL or self.disk.trouble
        ):
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
            return self._queries.here(query)
        return await self._queries.ask(query)

    def ask(self, query: Callable[[Reader], T]) -> asyncio.Future[T]:
        """The same for who goes on meanwhile: raises only where nothing is asked any more."""
        if self._closed:
            raise self._over()
        if not self._loading:
            return self._queries.ask(query)
        future: asyncio.Future[T] = self._loop.create_future()
        try:
            future.set_result(self._queries.here(query))
        except SwarmDeckError as error:
            future.set_exception(error)
        return future

    def loaded(self) -> None:
        """What lives in this database has been read; from now on every call takes its time."""
        self._loading = False

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
    def is_brief(self) -> bool:
        """Whether one connection does everything. In memory nobody reads beside a writer."""
        return self._brief or self.is_volatile

    @property
    def is_volatile(self) -> bool:
        """Whether it is kept in memory alone."""
        return is_volatile(self.path)

    async def size_bytes(self) -> int:
        """How large the file is without its log."""
        if not self.is_volatile:
            return self.path.stat().st_size
        return await self.read(_pages) * self.options.page_size

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
            checkpoint(raw, self.chain, self.disk)
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
        await self.tend(rebuild)

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
            operation.fail(self._over())
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
            async with self._upkeep() as writer:
                return await writer.run(step)
        except driver.Error as error:
            self.disk.note(error)
            if self.disk.trouble:
                self._flush_later()
            found = driver.translate(error, f"the {self.env} database")
            self._heed(found)
            raise found from error
        except StorageError:
            if self.disk.trouble:
                self._flush_later()
            raise

    @asynccontextmanager
    async def _upkeep(self) -> AsyncIterator[driver.Connection]:
        """The writer, and nothing is copied beside it meanwhile. Raises StorageError."""
        self._tending += 1
        try:
            await self._copier.wait()
            if self._closed:
                raise self._over()
            yield self._usable()
        finally:
            self._tending -= 1

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
        """Finish what was submitted, then close all connections; those of a damaged file, or on a
        disk that has failed, without writing the log back into it."""
        guard: driver.Connection | None = None
        try:
            if type(self._refusal) is Corrupt or self.disk.failed:
                with suppress(SwarmDeckError):  # what cannot be opened is not written to either
                    guard = await driver.guard(self.path)
        finally:
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
            stack.push_async_callback(self._close_writer)
            stack.push_async_callback(self._queries.close)
            stack.push_async_callback(self._copier.close)
            for task in (self._draining, self._verifying, *self._explaining):
                if task is not None:
                    await asyncio.wait([task])
            await self._queries.finish()

    async def _close_writer(self) -> None:
        """The one there is in the end: the last batch may have met a disk that failed."""
        await self._writer.close()


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
    if not is_volatile(path):
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
        database = Database(disk, env, options, clock, writer, chain, on_commit, brief=brief)
        database.keep_slow(slow)
        stack.pop_all()
    if disk.unverified:
        database.begin_verifying()
    try:
        yield database
    finally:
        await database.close()


@lru_cache(maxsize=256)
def _words(topics: str) -> frozenset[str]:
    """Each once: some operations change what is shown under several topics, some nothing."""
    return frozenset(topics.split())


def _pages(reader: Reader) -> int:
    row = reader.execute("PRAGMA page_count").fetchone()
    return int(row[0]) if row else 0
