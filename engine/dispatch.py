"""Actions become operations here: checked, accepted, run in a lane, watched, cancelled.

A lane runs a fixed number of operations at once and lets a fixed number wait; what does not fit
is refused with Busy before it is accepted. Everything runs in one TaskGroup. This is the place
where an error nobody foresaw becomes a Defect.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from . import actions
from .actions import Action, ActionSpec, Lane
from .authority import Authority
from .clock import Clock
from .errors import Busy, Conflict, Defect, InvalidInput, SwarmDeckError, Unavailable
from .events import EventBus, Finished, Progress
from .model import Principal

DRAIN_S: Final = 5.0

log = logging.getLogger(__name__)


class LaneSettings(msgspec.Struct, frozen=True):
    """How many operations of a lane run at once, and how many may wait behind them."""

    workers: int
    waiting: int


LANES: Final[Mapping[Lane, LaneSettings]] = {
    "interactive": LaneSettings(workers=32, waiting=256),
    "background": LaneSettings(workers=8, waiting=64),
    "bulk": LaneSettings(workers=2, waiting=8),
}


class Receipt:
    """An operation that was accepted.

    `await receipt` gives the result or raises what the operation raised; cancelling that wait
    cancels nothing. `async for progress in receipt` follows it to its end and skips steps a slow
    reader did not see.
    """

    def __init__(self, operation: str, action: str, cancel: Callable[[], None]) -> None:
        self.operation = operation
        self.action = action
        self.fraction = 0.0
        self.text = ""
        self.done = False
        self._cancel = cancel
        self._result: Any = None
        self._error: SwarmDeckError | None = None
        self._steps = 0
        self._listeners: list[Callable[[Receipt], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def error(self) -> SwarmDeckError | None:
        """Why it failed; None while it runs and when it did not."""
        return self._error

    @property
    def result(self) -> Any:  # noqa: ANN401 - the action's result
        """What it gave; None while it runs and when it failed."""
        return self._result

    def cancel(self) -> None:
        """Ask for the operation to end. Whoever awaits it gets Conflict, unless it was done
        before the request arrived."""
        if not self.done:
            self._cancel()

    def listen(self, changed: Callable[[Receipt], None]) -> None:
        """Call `changed(receipt)` at each step and when it is done; at once if it is."""
        if self.done:
            changed(self)
        else:
            self._listeners.append(changed)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._outcome().__await__()

    async def __aiter__(self) -> AsyncIterator[Progress]:
        seen = 0
        while True:
            if self._steps != seen:
                seen = self._steps
                yield Progress(self.operation, self.action, self.fraction, self.text)
            elif self.done:
                return
            else:
                await self._turn()

    def advance(self, fraction: float, text: str) -> None:
        """For the side that runs it: a step forward."""
        if not self.done:
            self.fraction = min(max(fraction, 0.0), 1.0)
            self.text = text
            self._steps += 1
            self._tell()

    def resolve(self, result: object) -> None:
        """For the side that runs it: done, with this result."""
        if not self.done:
            self.done = True
            self._result = result
            self._tell()

    def fail(self, error: SwarmDeckError) -> None:
        """For the side that runs it: done, with this error."""
        if not self.done:
            self.done = True
            self._error = error
            self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._listeners):
            changed(self)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _outcome(self) -> Any:  # noqa: ANN401 - the action's result
        while not self.done:
            await self._turn()
        if self._error is not None:
            raise self._error
        return self._result

    async def _turn(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


class Context:
    """What a handler knows besides its action: who asked, and how to report progress."""

    __slots__ = ("_progress", "operation", "principal")

    def __init__(
        self, principal: Principal, operation: str, progress: Callable[[float, str], None]
    ) -> None:
        self.principal = principal
        self.operation = operation
        self._progress = progress

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far it is, 0 to 1. Cheap enough to be called for every item."""
        self._progress(fraction, text)


Handler: TypeAlias = Callable[[Context, Any], Awaitable[Any]]


class _Operation:
    """An accepted action on its way. `why` is set by whoever cancels it."""

    __slots__ = ("action", "context", "receipt", "spec", "task", "why")

    def __init__(
        self, spec: ActionSpec, action: Action, receipt: Receipt, context: Context
    ) -> None:
        self.spec = spec
        self.action = action
        self.receipt = receipt
        self.context = context
        self.task: asyncio.Task[None] | None = None
        self.why: SwarmDeckError | None = None

    def __str__(self) -> str:
        return f"{self.spec.name} {self.receipt.operation}"


class _Lane:
    __slots__ = ("name", "running", "settings", "waiting")

    def __init__(self, name: str, settings: LaneSettings) -> None:
        self.name = name
        self.settings = settings
        self.running: set[_Operation] = set()
        self.waiting: deque[_Operation] = deque()

    def check_room(self, action: str) -> None:
        if len(self.running) < self.settings.workers or len(self.waiting) < self.settings.waiting:
            return
        raise Busy(
            f"{action}: the {self.name} lane is full, {len(self.running)} run and "
            f"{len(self.waiting)} wait",
            hint="try again in a moment",
        )


class Dispatcher:
    """Runs actions by their handlers. Use it as an async context manager."""

    def __init__(
        self,
        handlers: Mapping[type[Action], Handler],
        bus: EventBus,
        clock: Clock,
        lanes: Mapping[Lane, LaneSettings] = LANES,
        drain_s: float = DRAIN_S,
        *,
        authority: Authority | None = None,
    ) -> None:
        """`drain_s` is how long closing waits for what runs; `authority` says who may ask for
        what, by default with an operator of the system role."""
        self._handlers = handlers
        self._bus = bus
        self._clock = clock
        self._lanes = {name: _Lane(name, settings) for name, settings in lanes.items()}
        self._drain_s = drain_s
        self._authority = authority or Authority()
        self._group = asyncio.TaskGroup()
        self._open = False

    async def __aenter__(self) -> Dispatcher:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self._group.__aexit__(None, None, None)

    def dispatch(self, action: Action, principal: Principal) -> Receipt:
        """Check and accept an action. Raises InvalidInput, Denied, Busy when its lane is full,
        Unavailable while closing; once it returns, the outcome is in the receipt."""
        if not self._open:
            raise Unavailable("the engine is closing", hint="open it again and repeat")
        action = self._authority.authorised(actions.check(action), principal)
        spec = actions.spec_of(action)
        if type(action) not in self._handlers:
            raise InvalidInput(f"{spec.name} is not served here", hint="see swarmdeck --help")
        lane = self._lanes[spec.lane]
        lane.check_room(spec.name)
        operation = self._accept(spec, action, principal)
        if len(lane.running) < lane.settings.workers:
            self._start(lane, operation)
        else:
            lane.waiting.append(operation)
        return operation.receipt

    async def close(self) -> tuple[str, ...]:
        """Accept nothing more, refuse what waits, let what runs finish for `drain_s`, then
        cancel it. Returns what was cut off, each as `action operation`. Can be called again."""
        self._open = False
        for lane in self._lanes.values():
            while lane.waiting:
                operation = lane.waiting.popleft()
                self._fail(
                    operation, Unavailable(f"{operation}: the engine closed before it began")
                )
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=self._drain_s)
        cut = tuple(self._cut())
        if tasks := self._tasks():
            await asyncio.wait(tasks)
        return cut

    def _tasks(self) -> list[asyncio.Task[None]]:
        # The operation that closes the engine must not wait for itself.
        running = [operation.task for lane in self._lanes.values() for operation in lane.running]
        return [task for task in running if task is not None and task is not asyncio.current_task()]

    def _cut(self) -> list[str]:
        mine = asyncio.current_task()
        running = [operation for lane in self._lanes.values() for operation in lane.running]
        cut = [operation for operation in running if operation.task is not mine]
        for operation in cut:
            log.warning("closing: cancelled %s", operation)
            self._cancel(operation, Unavailable(f"{operation} was cut off: the engine closed"))
        return [str(operation) for operation in cut]

    def _accept(self, spec: ActionSpec, action: Action, principal: Principal) -> _Operation:
        def cancel() -> None:
            self._cancel(operation, Conflict(f"{operation} was cancelled"))

        def progress(fraction: float, text: str) -> None:
            if not receipt.done:
                receipt.advance(fraction, text)
                self._bus.publish(
                    Progress(receipt.operation, spec.name, receipt.fraction, receipt.text)
                )

        receipt = Receipt(f"op_{self._clock.token(12)}", spec.name, cancel)
        context = Context(principal, receipt.operation, progress)
        operation = _Operation(spec, action, receipt, context)
        return operation

    def _start(self, lane: _Lane, operation: _Operation) -> None:
        lane.running.add(operation)
        operation.task = self._group.create_task(self._handle(operation), name=str(operation))
        # Not a `finally` in the task: cancelled before its first step, it would never get there.
        operation.task.add_done_callback(lambda _: self._ended(lane, operation))

    def _ended(self, lane: _Lane, operation: _Operation) -> None:
        lane.running.discard(operation)
        if not operation.receipt.done:
            self._fail(operation, operation.why or Conflict(f"{operation} was cancelled"))
        if lane.waiting:
            self._start(lane, lane.waiting.popleft())

    async def _handle(self, operation: _Operation) -> None:
        spec = operation.spec
        handler = self._handlers[spec.type]
        limit = asyncio.timeout(spec.timeout_s)
        try:
            async with limit:
                result = await handler(operation.context, operation.action)
        except SwarmDeckError as error:
            self._fail(operation, error)
        except Exception as error:  # noqa: BLE001 - the border: what nobody foresaw is our defect
            self._fail(
                operation, _timed_out(operation, limit, error) or defect(str(operation), error)
            )
        else:
            operation.receipt.resolve(result)
            self._finished(operation)

    def _cancel(self, operation: _Operation, why: SwarmDeckError) -> None:
        operation.why = operation.why or why
        if operation.task is not None:
            operation.task.cancel()
            return
        self._lanes[operation.spec.lane].waiting.remove(operation)
        self._fail(operation, why)

    def _fail(self, operation: _Operation, error: SwarmDeckError) -> None:
        operation.receipt.fail(error)
        self._finished(operation)

    def _finished(self, operation: _Operation) -> None:
        if operation.spec.query:
            return
        error = operation.receipt.error
        report = error.report() if error else None
        self._bus.publish(
            Finished(operation.receipt.operation, operation.spec.name, error is None, report)
        )


def _timed_out(
    operation: _Operation, limit: asyncio.Timeout, error: Exception
) -> Unavailable | None:
    if not (isinstance(error, TimeoutError) and limit.expired()):
        return None
    failure = Unavailable(
        f"{operation} did not finish within {operation.spec.timeout_s:g} s and was stopped",
        hint="look at what it changed before you repeat it",
    )
    failure.__cause__ = error
    return failure


def defect(what: str, error: Exception) -> Defect:
    """An error nobody foresaw, logged with its traceback, as the one the caller gets."""
    log.error("defect in %s", what, exc_info=error)
    failure = Defect(
        f"{what}: {type(error).__name__}: {error}", hint="this is a bug; the log has its traceback"
    )
    failure.__cause__ = error
    return failure
