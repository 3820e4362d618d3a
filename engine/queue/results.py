"""What has become of a message, for those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from ..errors import Busy, NotFound, Unavailable
from ..store.database import Reader
from ..vault import Ring, letters
from .counters import Move
from .crowd import Crowd
from .statements import DELAYED, LEASED, READY, STATES

MOST_WAITING: Final = 10_000  # callers of one queue

SELECT: Final = """
SELECT state, sender, attempt, spent + max_attempts, error, result FROM message
WHERE id = ? AND env = ?"""


class Outcome(NamedTuple):
    """State, result (a JSON text) and last error of a message."""

    state: str
    sender: str
    attempt: int
    max_attempts: int
    error: str
    result: bytes | None

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN

    @property
    def wire(self) -> list[object]:
        """As it crosses the wire."""
        return [self.state, self.result, self.error, self.attempt, self.max_attempts]


_OPEN: Final = frozenset(STATES[state].value for state in (READY, DELAYED, LEASED))


def outcome(ident: int, shown: str, ring: Ring) -> Callable[[Reader], Outcome]:
    """What has become of a message so far. Raises NotFound, Sealed, Damaged."""

    def query(reader: Reader) -> Outcome:
        row = reader.execute(SELECT, (ident, reader.env)).fetchone()
        if row is None:
            raise NotFound(f"no message {shown}")
        state, sender, attempt, most, error, stored = row
        text = stored and letters.unprotect(ring, letters.of_result(ident), stored)
        return Outcome(STATES[state].value, sender, attempt, most, error, text)

    return query


class Awaited:
    """Who waits for which message to end. Belongs to the engine's loop."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        self._callers = Crowd()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return self._callers.total

    def wait(self, ident: int, caller: str) -> asyncio.Future[None]:
        """Resolves when the message ends or is deleted. Whoever asks says `leave` afterwards, in
        any case. Raises Busy when too many wait, or too many of this caller's."""
        if not self._callers.takes(caller, 1, MOST_WAITING):
            raise Busy(
                f"{len(self):,} calls wait for results already", hint="await some of yours first"
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ident, set()).add(future)
        self._callers.join(caller)
        return future

    def leave(self, ident: int, caller: str, future: asyncio.Future[None]) -> None:
        """Wait no longer."""
        self._callers.leave(caller)
        waiting = self._waiting.get(ident, set())
        waiting.discard(future)
        if not waiting:
            self._waiting.pop(ident, None)
        if not future.cancel() and not future.cancelled():
            future.exception()  # whoever was told that the queue closes may have gone before

    def ended(self, ident: int) -> None:
        """A message has ended."""
        for future in self._waiting.pop(ident, ()):
            if not future.done():
                future.set_result(None)

    def moved(self, moves: Iterable[Move]) -> None:
        """Messages have changed state."""
        for move in moves:
            if move.after not in {READY, DELAYED, LEASED}:
                self.ended(move.ident)

    def close(self) -> None:
        """Tell those who wait that the queue closes."""
        waiting, self._waiting = self._waiting, {}
        for future in (each for futures in waiting.values() for each in futures):
            if not future.done():
                future.set_exception(Unavailable(f"the queue of {self._environment} is closed"))
