"""Records that are not in the cache: all that one turn asks for are read with one statement.

What is as it should be is answered together. A record with anything about it, such as a seal that
does not match, is read again alone, so that it fails nobody but who asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from ..acl import Access
from ..errors import Damaged, SwarmDeckError, Unavailable
from ..model import Principal
from ..store import driver
from ..store.database import Database, Reader
from .records import COLUMNS, Cache, Entry, Place, Row
from .staging import Keys, may_know, read_row, standing_of

AT_ONCE: Final = 100  # read with one statement
_REST: Final = [name.strip() for name in COLUMNS.split(",")[2:]]  # all but namespace and key
_KEY_ID: Final = 1 + _REST.index("key_id")
# The joins are cross ones so that the list drives them, however few records there are.
SELECT_ENTRIES: Final = f"""
SELECT asked.key, {", ".join(f"memory.{name}" for name in _REST)}
FROM json_each(?) AS asked CROSS JOIN memory
WHERE memory.env = ? AND memory.namespace = ? AND memory.key = asked.value"""  # noqa: S608 - a constant
SELECT_SCATTERED: Final = SELECT_ENTRIES.replace(
    "memory.namespace = ? AND memory.key = asked.value",
    "memory.namespace = asked.value ->> 0 AND memory.key = asked.value ->> 1",
)

Shown: TypeAlias = Callable[[Principal, Entry, str, str], Any]
Open: TypeAlias = Callable[[Row], Entry]
Miss: TypeAlias = tuple[Place, Principal | None, Shown | None, asyncio.Future[Any]]
"""Whose record somebody waits for, who that is, what makes of it what is answered (None: it is
answered as it is), and where."""

_encode = msgspec.json.Encoder().encode
_ALONE: Final = object()  # what is found of a record that has to be read again alone
_BROKEN: Final = "a record could not be shown"  # only where an answer itself broke
_UNREAD: Final = (driver.Error, UnicodeError)


class Misses:
    """Reads from the file for those who find nothing in the cache, and fills that. Belongs to the
    engine's loop."""

    def __init__(self, database: Database, cache: Cache, ring: Keys, access: Access) -> None:
        self._database = database
        self._cache = cache
        self._ring = ring
        self._access = access
        self._waiting: list[Miss] = []

    def ask(
        self, place: Place, principal: Principal | None = None, shown: Shown | None = None
    ) -> asyncio.Future[Any]:
        """The record that is stored there, verified, and kept unless it has been written
        meanwhile; None where there is none. Raises Sealed, and Damaged; to a principal that may
        not read it, a damaged record is missing."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((place, principal, shown, future))
        return future

    def _send(self) -> None:
        """One query for all that was asked for in this turn."""
        misses, self._waiting = self._waiting, []
        query = partial(_read_all, places=[miss[0] for miss in misses], open_=self._ring.open)
        try:
            self._ring.require()
            asked = self._database.ask(query)
        except SwarmDeckError as error:
            _fail(misses, error)
            return
        ticket = self._cache.begin_load(len(misses))
        asked.add_done_callback(partial(self._settle, misses, ticket))

    def _settle(self, misses: list[Miss], ticket: int, asked: asyncio.Future[list[Any]]) -> None:
        error = Unavailable(_BROKEN) if asked.cancelled() else asked.exception()
        if error is not None:
            self._cache.end_load(ticket)
            _fail(misses, error)
            return
        found = asked.result()
        try:
            self._answer(misses, found, ticket)
        finally:
            self._cache.end_load(ticket)
            for miss, entry in zip(misses, found, strict=True):
                if entry is _ALONE:
                    self._ask_alone(miss)
                elif not miss[3].done():
                    _fail([miss], Unavailable(_BROKEN))

    def _answer(self, misses: list[Miss], found: list[Any], ticket: int) -> None:
        fill = self._cache.fill
        for (place, principal, shown, future), entry in zip(misses, found, strict=True):
            if entry is _ALONE or future.done():  # its caller was cancelled
                continue
            if entry is not None:
                fill(place, entry, ticket)
                if shown is not None and principal is not None:
                    future.set_result(shown(principal, entry, *place))
                    continue
            future.set_result(entry)

    # --- alone ------------------------------------------------------------------------------

    def _ask_alone(self, miss: Miss) -> None:
        query = partial(_read_alone, place=miss[0], open_=self._ring.open)
        try:
            self._ring.require()
            asked = self._database.ask(query)
        except SwarmDeckError as error:
            _fail([miss], error)
            return
        ticket = self._cache.begin_load(0)  # it was counted with the others
        asked.add_done_callback(partial(self._settle_alone, miss, ticket))

    def _settle_alone(self, miss: Miss, ticket: int, asked: asyncio.Future[Any]) -> None:
        place, principal, *_ = miss
        try:
            row, entry = asked.result()
            if isinstance(entry, Damaged):
                standing = standing_of(row) if row is not None else None
                if principal is None or may_know(self._access, principal, standing, place):
                    raise entry
                entry = None
            self._answer([miss], [entry], ticket)
        except SwarmDeckError as error:
            _fail([miss], error)
        finally:
            self._cache.end_load(ticket)
            _fail([miss], Unavailable(_BROKEN))


def _fail(misses: Sequence[Miss], error: BaseException) -> None:
    """Tell all who wait why there is no answer, each with an error of its own."""
    for *_, future in misses:
        if not future.done():
            again = (
                error.again() if isinstance(error, SwarmDeckError) and len(misses) > 1 else error
            )
            future.set_exception(again)


def _read_all(reader: Reader, places: Sequence[Place], open_: Open) -> list[Any]:
    """Of each place its record, None where there is none, or that it has to be read alone. On the
    reader's thread."""
    found: list[Any] = []
    for start in range(0, len(places), AT_ONCE):
        found += _read_part(reader, places[start : start + AT_ONCE], open_)
    return found


def _read_part(reader: Reader, places: Sequence[Place], open_: Open) -> list[Any]:
    found: list[Any] = [None] * len(places)
    namespace = places[0][0]
    try:
        if all(place[0] == namespace for place in places):
            keys = _encode([key for _, key in places]).decode()
            rows = reader.execute(SELECT_ENTRIES, (keys, reader.env, namespace))
        else:
            rows = reader.execute(SELECT_SCATTERED, (_encode(places).decode(), reader.env))
        for row in rows:
            found[row[0]] = _opened(row, places[row[0]], open_)
    except _UNREAD:  # which of them it is, each finds out for itself
        return [_ALONE] * len(places)
    return found


def _opened(row: Row, place: Place, open_: Open) -> object:
    """The record, opened under the names it was asked by: one that a damaged index has led to does
    not match its seal under them. One without a seal may be anybody's."""
    if row[_KEY_ID] is None:
        return _ALONE
    try:
        return open_((*place, *row[1:]))
    except SwarmDeckError:
        return _ALONE


def _read_alone(
    reader: Reader, place: Place, open_: Open
) -> tuple[Row | None, Entry | Damaged | None]:
    row: Row | None = None
    try:
        row = read_row(reader, place)
        return row, (open_(row) if row is not None else None)
    except Damaged as error:
        return row, error
