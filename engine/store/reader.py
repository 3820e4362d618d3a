"""What is asked of a reader: queries, all that wait answered from one snapshot, on its thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final

from ..errors import Damaged, InvalidInput, SwarmDeckError
from . import driver
from .disk import blame

UNHELD: Final = (UnicodeEncodeError, OverflowError)  # what a parameter raises that none can be


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


def answer_all(
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
        return [blame(error, env, committing=False) for _ in queries]
    return outcomes


def _answered(reader: Reader, query: Callable[[Reader], Any], env: str) -> Any:  # noqa: ANN401
    """The answer of one query, or the error that fails its caller alone."""
    try:
        answer = query(reader)
        reader.lap()
    except SwarmDeckError as error:
        return error
    except driver.Error as error:
        return blame(error, env, committing=False)
    except UnicodeDecodeError as error:
        return _no_text(error, env)
    except UNHELD as error:
        return unheld(error)
    return answer


def unheld(error: Exception) -> InvalidInput:
    """What is looked for can be in no column."""
    found = InvalidInput("half characters and numbers beyond 64 bits are nowhere stored")
    found.__cause__ = error
    return found


def answer_beside_writes(
    raw: driver.Raw, env: str, queries: Sequence[Callable[[Reader], Any]]
) -> list[Any]:
    """Answer queries on the connection that writes; they themselves cannot."""
    raw.execute("PRAGMA query_only = 1")
    try:
        return answer_all(raw, env, queries)
    finally:
        raw.execute("PRAGMA query_only = 0")


def _no_text(error: UnicodeDecodeError, env: str) -> Damaged:
    """What a flipped bit in a name makes of the row."""
    found = Damaged(
        f"a row of the {env} database has a text that is none", hint="swarmdeck db check"
    )
    found.__cause__ = error
    return found
