"""How much a queue takes in, and whether it is stopped.

A queue has a limit over its open messages: ready, delayed, leased and on their way into the store.
Who sends beyond it is told so, or waits in line for room, first come first served; who wants more
than a quarter of the limit at once waits beside the line and holds nobody up. What is on its way is
counted from the moment it is handed to the store until that has decided, whatever became of it, so
that the limit holds exactly.

running   everything goes
paused    nothing is handed out; what is sent is taken in, up to the limit
draining  nothing new is taken in; what is there is handed out and finished
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from ..clock import Clock
from ..errors import Busy, InvalidInput, SwarmDeckError, Unavailable
from ..store.database import Reader, Transaction
from ..store.transaction import Change, answer
from .alarm import Alarm
from .crowd import Crowd

T = TypeVar("T")

Mode = Literal["running", "paused", "draining"]

MAX_WAITING: Final = 10_000  # senders in line
LARGE: Final = 0.25  # of the limit: who wants more at once waits beside the line
MAX_WAITING_BYTES: Final = 64 << 20  # that they bring: it is held until there is room

SELECT_STATE: Final = """
SELECT mode, reason, changed_at, changed_by FROM queue_state WHERE env = ?"""
STORE_STATE: Final = """
INSERT INTO queue_state (env, mode, reason, changed_at, changed_by) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (env) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,
    changed_at = excluded.changed_at, changed_by = excluded.changed_by"""

_VERBS: Final = {"running": "queue.resume", "paused": "queue.pause", "draining": "queue.drain"}


class State(NamedTuple):
    """Whether a queue is stopped, and by whom; `changed_us` is 0 if nobody ever stopped it."""

    mode: Mode = "running"
    reason: str = ""
    changed_us: int = 0
    changed_by: str = ""


class Counted(Protocol):
    """Who knows how many messages are open as of the last commit."""

    @property
    def open(self) -> int: ...


class _Waiting(NamedTuple):
    """A caller who waits for room for so many `messages` of so many bytes; `begin` hands them to
    the store."""

    caller: str
    messages: int
    size_bytes: int
    deadline_s: float
    future: asyncio.Future[Any]
    begin: Callable[[], asyncio.Future[Any]]


class Flow:
    """The intake of one queue. Belongs to the engine's loop."""

    def __init__(
        self, environment: str, limit: int, counted: Counted, clock: Clock, alarm: Alarm
    ) -> None:
        self.limit = limit
        self.state = State()
        self._environment = environment
        self._counted = counted
        self._clock = clock
        self._alarm = alarm
        self._loop = asyncio.get_running_loop()
        self._coming = 0
        self._line: dict[int, _Waiting] = {}  # by ticket, in order
        self._large: dict[int, _Waiting] = {}  # beside the line: they hold nobody up
        self._callers = Crowd()
        self._bytes = Crowd()
        self._last_ticket = 0
        self._next_deadline_s = math.inf
        self._serving: asyncio.Handle | None = None

    @property
    def depth(self) -> int:
        """Open messages, with those on their way into the store."""
        return self._counted.open + self._coming

    @property
    def waiting(self) -> int:
        """Senders in line."""
        return len(self._line) + len(self._large)

    # --- coming in --------------------------------------------------------------------------

    def takes(self, count: int = 1) -> bool:
        """Whether `count` messages may come in now, ahead of nobody who waits. If so they count
        from here on: whoever asks hands them to the store at once and says `settled` when that
        has decided."""
        if self._line or self.state.mode == "draining" or self.depth + count > self.limit:
            return False
        self._coming += count
        return True

    def require(self, count: int = 1) -> None:
        """The same for those who do not wait. Raises Busy."""
        if not self.takes(count):
            raise self.refusal(count)

    def settled(self, count: int = 1) -> None:
        """So many that were on their way are stored, or never will be."""
        self._coming -= count
        if self.waiting:
            self.serve_soon()

    def wait(
        self,
        caller: str,
        count: int,
        size_bytes: int,
        wait_s: float,
        begin: Callable[[], asyncio.Future[T]],
    ) -> asyncio.Future[T]:
        """Stand in line until there is room, then `begin`; the answer is what that answers. After
        `wait_s` seconds, or at once without any, Busy. A caller that cancels has left. Raises
        Busy, also when those in line hold too much already, InvalidInput for more than ever
        fit."""
        if count > self.limit:
            raise InvalidInput(
                f"{count:,} messages never fit the queue of {self._environment}: it holds "
                f"{self.limit:,}",
                hint="send fewer at once",
            )
        fits = self._callers.takes(caller, 1, MAX_WAITING)
        fits = fits and self._bytes.takes(caller, size_bytes, MAX_WAITING_BYTES)
        if wait_s <= 0 or self.state.mode == "draining" or not fits:
            raise self.refusal(count)
        future: asyncio.Future[T] = self._loop.create_future()
        self._last_ticket += 1
        deadline_s = self._clock.monotonic_s() + wait_s
        waiting = _Waiting(caller, count, size_bytes, deadline_s, future, begin)
        line = self._large if count > self.limit * LARGE else self._line
        line[self._last_ticket] = waiting
        self._callers.join(caller)
        self._bytes.join(caller, size_bytes)
        future.add_done_callback(partial(self._leave, self._last_ticket))
        self._next_deadline_s = min(self._next_deadline_s, deadline_s)
        self._alarm.at_monotonic(deadline_s)
        return future

    def refusal(self, count: int = 1) -> Busy:
        """Why so many are not taken in."""
        where, state = self._environment, self.state
        if state.mode == "draining":
            why = f": {state.reason}" if state.reason else ""
            return Busy(
                f"the queue of {where} is being drained and takes nothing new{why}",
                hint=f"swarmdeck queue resume {where}",
            )
        behind = f", and {self.waiting:,} senders wait" if self.waiting else ""
        what = "a message more does" if count == 1 else f"{count:,} more do"
        return Busy(
            f"the queue of {where} is full: {self.depth:,} of {self.limit:,} messages are open"
            f"{behind}; {what} not fit",
            hint="try again when some are done, or send with wait_s; the limit is [queue.depth] "
            f"{where}",
        )

    def _leave(self, ticket: int, _: asyncio.Future[Any]) -> None:
        if self._remove(ticket):
            self.serve_soon()  # those behind may want less

    def _remove(self, ticket: int) -> bool:
        """Whether it was in line."""
        waiting = self._line.pop(ticket, None) or self._large.pop(ticket, None)
        if waiting is None:
            return False
        self._callers.leave(waiting.caller)
        self._bytes.leave(waiting.caller, waiting.size_bytes)
        return True

    # --- room -------------------------------------------------------------------------------

    def serve_soon(self) -> None:
        """There may be room for those in line: let them in when this turn of the loop ends."""
        if self.waiting and self._serving is None:
            self._serving = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._serving = None
        if self.state.mode == "draining":
            return
        for ticket, each in tuple(self._large.items()):
            self._let_in(ticket, each)
        while self._line and self._let_in(*next(iter(self._line.items()))):
            pass

    def _let_in(self, ticket: int, waiting: _Waiting) -> bool:
        """Hand over what somebody in line waits to send, if there is room. Who has left is let
        out."""
        if not waiting.future.done():
            if self.depth + waiting.messages > self.limit:
                return False
            self._coming += waiting.messages
            waiting.begin().add_done_callback(partial(_pass_on, waiting.future))
        self._remove(ticket)
        return True

    def resize(self, limit: int) -> None:
        """Another limit, from now on. What is open stays."""
        self.limit = limit
        self.serve_soon()

    # --- time -------------------------------------------------------------------------------

    def end_waits(self) -> None:
        """Tell those who have waited long enough that there is no room."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_deadline_s:
            return
        for ticket, each in self._all():
            if each.deadline_s <= now_s:
                self._remove(ticket)
                answer(each.future, self.refusal(each.messages))
        left = (each.deadline_s for _, each in self._all())
        self._next_deadline_s = min(left, default=math.inf)
        self.serve_soon()

    def set_alarm(self) -> None:
        """Be reminded when the first of them has waited long enough."""
        if self.waiting:
            self._alarm.at_monotonic(self._next_deadline_s)

    def close(self) -> None:
        """Answer those in line: the queue closes."""
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None
        self._refuse_line(Unavailable(f"the queue of {self._environment} is closed"))

    # --- stopping and going on --------------------------------------------------------------

    def turn(self, state: State) -> None:
        """Another state, in force at once."""
        self.state = state
        if state.mode == "draining":
            self._refuse_line(self.refusal())
        else:
            self.serve_soon()

    def _refuse_line(self, error: SwarmDeckError) -> None:
        for ticket, each in self._all():
            self._remove(ticket)
            answer(each.future, error.again())

    def _all(self) -> list[tuple[int, _Waiting]]:
        return [*self._large.items(), *self._line.items()]


def _pass_on(future: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    """Give a caller that waited what the store has answered."""
    if done.cancelled():
        future.cancel()
        return
    error = done.exception()
    if isinstance(error, Exception):
        answer(future, error)
    else:
        answer(future, done.result())


class Intake(Change[T]):
    """A change of the control plane that opens up to `count` messages, for which its flow has
    been asked. They count as on their way until the store has decided."""

    __slots__ = ("count", "flow")

    def __init__(
        self, flow: Flow, count: int, change: Callable[[Transaction], T], then: Callable[[T], None]
    ) -> None:
        super().__init__(change, "queue", then)
        self.flow = flow
        self.count = count

    def committed(self, outcome: T) -> T:
        found = super().committed(outcome)
        self.flow.settled(self.count)
        return found

    def fail(self, error: Exception) -> None:
        self.flow.settled(self.count)
        super().fail(error)


def store(state: State) -> Callable[[Transaction], None]:
    """Write down what a queue has been told."""

    def change(tx: Transaction) -> None:
        tx.execute(STORE_STATE, (tx.env, state.mode, state.reason, tx.now_us, state.changed_by))
        tx.audit(state.changed_by, _VERBS[state.mode], tx.env, detail=state.reason)

    return change


def read_state(reader: Reader) -> State:
    """What the queue of a file was told last."""
    row = reader.execute(SELECT_STATE, (reader.env,)).fetchone()
    return State() if row is None else State(*row)
