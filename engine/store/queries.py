"""The queries of one database that wait for an answer, and the connection that gives it.

All queries of one turn share one hop to the reader's thread and one read transaction. While they
are there the next ones gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from ..errors import Corrupt, Unavailable
from . import driver
from .pins import Pins
from .prepare import StoreOptions, prepare_reader
from .reader import Reader, answer_all, answer_beside_writes
from .slow import Slow
from .transaction import answer

T = TypeVar("T")


class Source(Protocol):
    """What is read."""

    path: Path
    env: str
    options: StoreOptions
    pins: Pins
    slow: Slow

    @property
    def is_brief(self) -> bool:
        """Whether one connection does everything."""
        ...

    def damaged(self, error: Corrupt, /) -> None:
        """The file was found damaged."""
        ...


class Queries:
    """Belongs to the loop of its database. `writer` gives the connection that writes, on which a
    brief one is read. The reader's own is opened with the first query."""

    def __init__(self, source: Source, writer: Callable[[], driver.Connection]) -> None:
        self._source = source
        self._writer = writer
        self._reader: driver.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Callable[[Reader], Any], asyncio.Future[Any]]] = []
        self._answering: asyncio.Task[None] | None = None

    def ask(self, query: Callable[[Reader], T]) -> asyncio.Future[T]:
        """Run `query` on the reader's thread, with the others of this turn."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((query, future))
        if self._answering is None:
            self._answering = self._loop.create_task(self._answer())
        return future

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        queries: list[tuple[Callable[[Reader], Any], asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                queries, self._waiting = self._waiting, []
                outcomes = await self._outcomes([query for query, _ in queries])
                for (_, future), outcome in zip(queries, outcomes, strict=True):
                    answer(future, outcome)
        finally:
            self._answering = None
            for _, future in (*queries, *self._waiting):  # left over only if the reader broke
                answer(future, Unavailable(f"the {self._source.env} reader has stopped"))

    async def _outcomes(self, queries: list[Callable[[Reader], Any]]) -> list[Any]:
        source = self._source
        if source.is_brief:
            outcomes = await self._writer().run(answer_beside_writes, source.env, queries)
        else:
            reader = self._reader or await self._open_reader()
            with source.pins.reading("queries"):
                outcomes = await reader.run(answer_all, source.env, queries, source.slow)
        for outcome in outcomes:
            if type(outcome) is Corrupt:
                source.damaged(outcome)
        return outcomes

    def here(self, query: Callable[[Reader], T]) -> T:
        """Answer a query of a brief opening at once: a thread would cost more than the answer."""
        source = self._source
        outcome = self._writer().here(answer_beside_writes, source.env, [query])[0]
        if isinstance(outcome, Exception):
            if type(outcome) is Corrupt:
                source.damaged(outcome)
            raise outcome
        return cast("T", outcome)

    async def _open_reader(self) -> driver.Connection:
        reader = await driver.connect(self._source.path)
        try:
            await reader.run(prepare_reader, self._source.options)
        except BaseException:
            await reader.close()
            raise
        self._reader = reader
        return reader

    async def finish(self) -> None:
        """Wait until nothing waits for an answer any more."""
        if self._answering is not None:
            await asyncio.wait([self._answering])

    async def close(self) -> None:
        """Close the reader's connection, where there is one."""
        if self._reader is not None:
            await self._reader.close()
