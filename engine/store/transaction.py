"""What is asked of a writer: operations, and the transaction in which they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, Generic, Self, TypeVar

from ..errors import SwarmDeckError
from . import driver
from .chain import INSERT_AUDIT, MAX_DETAIL, Head, Row, follow

T = TypeVar("T")

_TOGETHER: Final = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
"""Rows that one statement inserts, which is prepared once: no more than three for up to 64."""


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

    def insert_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run an INSERT of one row for many, in as few steps as can be: after each the interpreter
        goes to whoever else wants it, and a busy loop takes a millisecond to give it back."""
        at, left = 0, len(rows)
        for count in _TOGETHER:
            while left >= count:
                values = list(chain.from_iterable(rows[at : at + count]))
                self.execute(_of_many(sql, count), values)
                at, left = at + count, left - count

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
        *others, last = rows
        self.insert_many(INSERT_AUDIT, [*((*row, None) for row in others), (*last, head.hash)])
        return head


@cache
def _of_many(sql: str, count: int) -> str:
    """An INSERT of one row as one of so many."""
    before, _, rest = sql.partition("VALUES (")
    row, _, after = rest.partition(")")
    return f"{before}VALUES {', '.join([f'({row})'] * count)}{after}"


class Operation:
    """One caller's change. Consecutive operations of one class are applied together. One that
    `grows` stores a value, and waits for nobody on a full disk: it is refused there. `topic` names
    what is shown of it, several with spaces between."""

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

    def fail(self, error: Exception) -> None:
        """Run on the loop when nothing was committed, or nobody knows: answer the caller."""
        answer(self.future, error)

    @classmethod
    def settle(cls, operations: Sequence[Self], outcomes: Sequence[Any]) -> None:
        """Take over the outcomes of a run of operations, and answer their callers. A hot
        operation does this for the whole run at once."""
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Exception):
                operation.fail(outcome)
            else:
                answer(operation.future, operation.committed(outcome))


class Change(Operation, Generic[T]):
    """A function as an operation: the control plane's form."""

    __slots__ = ("change", "then", "topic")

    def __init__(
        self, change: Callable[[Transaction], T], topic: str, then: Callable[[T], None] | None
    ) -> None:
        self.change = change
        self.topic = topic
        self.then = then

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Change[Any]]) -> list[Any]:
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


def answer(future: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401
    """Give a caller its result or error. One that was cancelled has stopped listening."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
