"""One database of its own: opening and closing it, transactions, reading, writing, upkeep."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ..clock import Clock, SystemClock
from ..model import Durability
from ..store.dbapi import Connection, Outcome, Statement, Values
from ..store.kin import InvalidValue, ProgrammingError, StatementError
from . import values
from .log import Log
from .pool import MEMORY, Pool
from .retention import Retention, Tables
from .turns import Turns

VARIABLE: Final = "SWARMDB_PATH"
DEFAULT: Final = Path(".moai", "memory", "swarm.db")
TIMEOUT_S: Final = 10.0
AT_OPENING_S: Final = 0.25
"""How long opening deletes what is old; the writes that follow delete the rest."""


def default_path(environ: Mapping[str, str]) -> Path:
    """Where a database is whose path nobody named: SWARMDB_PATH, or below the directory in which
    the program runs, as where a project keeps what belongs to it."""
    named = environ.get(VARIABLE, "")
    return Path(named) if named else Path.cwd() / DEFAULT


class Database:
    """What `SwarmDB` is made on. All methods may be called from any thread."""

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability | str = Durability.NORMAL,
        retention_days: float | None = 30,
        timeout_s: float = TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        self.db_path = default_path(os.environ) if db_path is None else Path(db_path)
        self.durability = _durability(durability)
        self._clock: Clock = clock or SystemClock()
        path = self.db_path if str(self.db_path) == MEMORY else self.db_path.absolute()
        if retention_days is not None:
            values.number("retention_days", retention_days)
        self._pool = Pool(path, self.durability.value, timeout_s, self._clock)
        file = None if self._pool.in_memory else path
        self._log = Log(file, self.durability.value, self._pool.apart)
        self._turns = Turns(timeout_s, self._log)
        self._tables = Tables(self._ask, self._step)
        self._retention = Retention(self._clock, retention_days, self._tables)
        self._pool.link()
        self._sweep()

    # --- its life ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close all connections, once what others write is written. A later call opens the
        database again; one in memory is empty then. Raises ProgrammingError within a transaction
        of this thread, Locked when another's does not end."""
        link = self._pool.link()
        if link.joined:
            raise ProgrammingError(
                "a transaction of this thread is open", hint="close the database after it"
            )
        with self._turns.quiet(), self._log.closing(link):
            self._pool.close()

    def vacuum(self) -> None:
        """Write the file anew without the room of what was deleted. Raises StatementError within a
        transaction."""
        link = self._pool.link()
        if link.joined:
            raise StatementError(
                "a transaction of this thread is open", hint="vacuum the database after it"
            )
        with self._turns.transaction(link):
            self._log.settle(link)
            link.ask("VACUUM")
            if not self._pool.in_memory:
                link.ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- transactions -----------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A block whose changes are all stored at its end, or none when it raises. What this
        thread calls within it belongs to it; an inner block that fails is undone alone. Other
        threads write before or after it. Raises Locked when the turn does not come in time."""
        link = self._pool.link()
        if link.joined:
            with link.nested():
                yield link.connection
            return
        with self._turns.transaction(link):
            link.held = True
            try:
                link.begin()
                yield link.connection
                link.commit()
            finally:
                link.held = False
                link.undo()
        self._keep_up()

    def _get_connection(self) -> Connection:
        """This thread's connection, as `transaction` gives it. What it changes outside of such a
        block is stored with its own `commit`, and what this thread calls before joins that."""
        return self._pool.link().connection

    # --- reading and writing ----------------------------------------------------------------

    def _ask(self, sql: str, parameters: Values = ()) -> list[Any]:
        link = self._pool.link()
        if self._pool.in_memory and not link.joined:
            with self._turns.quiet():  # there nobody can read beside one who writes
                return link.ask(sql, parameters)
        return link.ask(sql, parameters)

    def _write(self, *statements: Statement) -> Outcome:
        """Run statements as one transaction, or as part of the one that is open."""
        link = self._pool.link()
        if link.joined:
            with link.nested():
                return link.run(statements)
        outcome = self._turns.write(link, statements)
        self._keep_up()
        return outcome

    def _keep_up(self) -> None:
        if self._retention.due:
            self._retention.step()

    def _step(self, sql: str, parameters: Values) -> Outcome:
        """A write that is not followed by upkeep: it is the upkeep."""
        link = self._pool.link()
        if link.joined:
            return link.run([(sql, parameters)])
        return self._turns.write(link, [(sql, parameters)])

    def _sweep(self) -> None:
        """Delete what is old, for a moment. The writes that follow go on with it."""
        until_s = self._clock.monotonic_s() + AT_OPENING_S
        while self._retention.step() and self._clock.monotonic_s() < until_s:
            pass


def _durability(value: Durability | str) -> Durability:
    try:
        return Durability(value)
    except ValueError as error:
        raise InvalidValue(
            f"durability is {str(value)[:40]!r}", hint="it is one of normal, full"
        ) from error
