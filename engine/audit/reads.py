"""Reads in the audit trail of one environment.

Where all reads are audited a value is released after its row is committed, and not at all when it
cannot be. Elsewhere one read in so many leaves a row, nobody waits for it, and what is refused is
always noted, yet never so often that refusals are worth sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, Self

from ..clock import Clock
from ..errors import OutcomeUnknown, StorageError, SwarmDeckError, Unavailable
from ..model import Principal
from ..store.database import Database, Operation, Transaction

Mode = Literal["all", "sampled", "none"]

GET: Final = "memory.get"
MISSING: Final = "missing"
NEVER: Final = 1 << 62
PENDING_ROWS: Final = 1_000  # of reads nobody waits for
MINUTE_S: Final = 60.0
REMEMBERED: Final = 10_000  # listings and actors of the last minute
DENIALS_A_MINUTE: Final = 20  # rows of one actor

_HINT: Final = "free the disk or look at swarmdeck db stats; reads here are always audited"


class Looked(NamedTuple):
    """One read: who, what was done to what, and whether it was allowed."""

    actor: str
    action: str
    object: str
    allowed: bool = True
    detail: str = ""


class Note(Operation):
    """Rows of reads, put into the trail with whatever else is committed."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Looked]) -> None:
        self.rows = rows

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[None]:
        for operation in operations:
            for actor, action, object_, allowed, detail in operation.rows:
                tx.audit(actor, action, object_, allowed=allowed, detail=detail)
        return [None] * len(operations)


class Reads:
    """What is noted of reads. `strict`: all of them, before the value is given. `left` counts down
    to the next sampled one; a hot path may count for itself while it is above 1. Belongs to the
    engine's loop."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        mode: Mode = "none",
        sample_every: int = 100,
        wait_s: float = 2.0,
    ) -> None:
        self.strict = mode == "all"
        self.lost = 0
        self._every = sample_every if mode == "sampled" else NEVER
        self.left = 0 if self.strict else self._every
        self._counted = 0
        self._database = database
        self._clock = clock
        self._wait_s = wait_s
        self._pending = 0
        self._lists: dict[tuple[str, ...], float] = {}
        self._denials = _Denials()

    # --- noting -----------------------------------------------------------------------------

    def note(
        self,
        principal: Principal,
        action: str,
        object_: str,
        allowed: bool = True,
        detail: str = "",
    ) -> Awaitable[None] | None:
        """Note a read. Where all are audited, await the answer before the value is released: it
        raises Unavailable after `audit.wait_s` or when the disk refuses. Else there is nothing to
        wait for, and a sampled read may leave no row."""
        row = Looked(principal.id, action, object_, allowed, detail)
        if self.strict:
            return self.keep([row])
        if not allowed:
            self._deny(row)
        elif self.due():
            self._send([row])
        return None

    async def look(
        self, principal: Principal, action: str, object_: str, mark: Iterable[str] = ()
    ) -> None:
        """Note a look that somebody repeats, a list or a panel: once a minute for the same actor,
        object and `mark`. Raises Unavailable as above."""
        key = (principal.id, action, object_, *mark)
        now_s = self._clock.monotonic_s()
        if now_s - self._lists.get(key, -MINUTE_S) < MINUTE_S:
            return
        waiting = self.note(principal, action, object_)
        if waiting is not None:
            await waiting
        self._remember(key, now_s)  # not before it is in the trail

    async def refuse(
        self, principal: Principal, action: str, object_: str, detail: str = ""
    ) -> None:
        """Note a look that is refused. Raises Unavailable as above."""
        waiting = self.note(principal, action, object_, allowed=False, detail=detail)
        if waiting is not None:
            await waiting

    @property
    def total(self) -> int:
        """How many reads there were since the environment was opened."""
        return self._counted + (0 if self.strict else self._every - self.left)

    def due(self) -> bool:
        """Count one read; whether it is one that leaves a row."""
        self.left -= 1
        if self.left > 0:
            return False
        self._counted += 0 if self.strict else self._every
        self.left = 0 if self.strict else self._every
        return True

    def found(self, principal: Principal, namespace: str, key: str) -> None:
        """Note a sampled read of a record, without waiting."""
        self._send([Looked(principal.id, GET, f"{namespace}/{key}")])

    def opened(self, principal: Principal, namespace: str, key: str) -> None:
        """Note that somebody but its owner read a private record, by a grant or by breaking the
        glass: always, without waiting."""
        if not self.strict:  # where it is in the trail already
            self._send([Looked(principal.id, GET, f"{namespace}/{key}", detail="private")])

    def denied(self, principal: Principal, namespace: str, key: str) -> None:
        """Note a refused read of a record, without waiting."""
        self._deny(Looked(principal.id, GET, f"{namespace}/{key}", allowed=False))

    async def keep(self, rows: Sequence[Looked]) -> None:
        """Put rows into the trail and wait until they are committed. Raises Unavailable."""
        self._counted += len(rows) if self.strict else 0
        try:
            async with asyncio.timeout(self._wait_s):
                await self._database.submit(Note(rows))
        except TimeoutError:
            raise Unavailable(
                f"the read could not be audited within {self._wait_s:g} s", hint=_HINT
            ) from None
        except (StorageError, OutcomeUnknown) as error:
            raise Unavailable(f"the read could not be audited: {error}", hint=_HINT) from error

    def tick(self) -> None:
        """Once a second: say what was left out, forget what is over."""
        now_s = self._clock.monotonic_s()
        if self._denials.any:
            self._send(list(self._denials.over(now_s)))
        while self._lists and now_s - next(iter(self._lists.values())) >= MINUTE_S:
            del self._lists[next(iter(self._lists))]

    # --- how it gets there ------------------------------------------------------------------

    def _deny(self, row: Looked) -> None:
        now_s = self._clock.monotonic_s()
        self._send([*self._denials.over(now_s), *self._denials.kept(row, now_s)])

    def _send(self, rows: Sequence[Looked]) -> None:
        """Hand rows to the writer. Nobody waits, so there is an end to how many wait."""
        if not rows:
            return
        if self._pending + len(rows) > PENDING_ROWS:
            self.lost += len(rows)
            return
        self._pending += len(rows)
        future = self._database.submit(Note(rows))
        future.add_done_callback(lambda done: self._sent(done, len(rows)))

    def _sent(self, future: asyncio.Future[None], rows: int) -> None:
        self._pending -= rows
        if not future.cancelled() and isinstance(future.exception(), SwarmDeckError):
            self.lost += rows

    def _remember(self, key: tuple[str, ...], now_s: float) -> None:
        self._lists.pop(key, None)
        self._lists[key] = now_s
        if len(self._lists) > REMEMBERED:
            del self._lists[next(iter(self._lists))]


class _Window:
    """A minute of one actor's refusals."""

    __slots__ = ("left_out", "objects", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.objects: set[str] = set()
        self.left_out = 0


class _Denials:
    """Which refusals leave a row of their own; the others are counted, and the count leaves one
    when their minute is over. Windows are in the order they began."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    @property
    def any(self) -> bool:
        return bool(self._windows)

    def kept(self, row: Looked, now_s: float) -> list[Looked]:
        window = self._windows.get(row.actor)
        if window is None:
            window = self._windows[row.actor] = _Window(now_s)
        if row.object in window.objects or len(window.objects) >= DENIALS_A_MINUTE:
            window.left_out += 1
            return []
        window.objects.add(row.object)
        return [row]

    def over(self, now_s: float) -> Iterable[Looked]:
        """One row for each minute that is over and in which refusals were left out."""
        while self._windows:
            actor, window = next(iter(self._windows.items()))
            if now_s - window.since_s < MINUTE_S and len(self._windows) <= REMEMBERED:
                return
            del self._windows[actor]
            if window.left_out:
                detail = f"{window.left_out} more refused reads within a minute"
                yield Looked(actor, GET, "", allowed=False, detail=detail)
