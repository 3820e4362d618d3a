"""An event loop on virtual time, on which several processes run that can be stopped and killed.

Nothing ever waits: when nobody has anything to do, the time is that of the next timer. Callbacks
that are ready in one turn run in an order drawn from the seed. What a process starts carries its
context, so that a killed process runs no further step, not even a `finally`, and a frozen one does
all it missed once it goes on.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import random
import sys
import warnings
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

THREAD_S = (0.00005, 0.002)  # how long what an engine does on a thread takes
SPINNING = 200_000  # steps in one virtual second, of which there are a few hundred
_COLLECTIONS = 3  # a `finally` block makes things that are found by the next one
_UNWINDINGS = 100
TURN_S = (
    0.00002  # and a turn of the loop: nothing is for nothing, or who looks again soon never ends
)


class Stuck(AssertionError):
    """Nobody has anything to do and waits for a time, or everybody has too much."""


class Died(Exception):
    """The process that was asked is dead."""


class Process:
    """A process of the simulated host: what runs in `context` belongs to it."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.died_s = 0.0
        self.frozen = False
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)
        self.signals: dict[int, Callable[[], None]] = {}
        self.at_death: list[Callable[[], None]] = []
        self._loop = loop
        self._missed: list[asyncio.Handle] = []
        self._remains: list[asyncio.Task[Any]] = []

    def miss(self, handle: asyncio.Handle) -> None:
        self._missed.append(handle)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._loop.create_task(work, context=self.context)

    async def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work` in this process and wait for it. Raises Died, and whatever it raises."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self.alive:
            raise Died(self.name)

        def give_up() -> None:
            if not answer.done():
                answer.set_exception(Died(self.name))

        self.at_death.append(give_up)
        task = self.start(work())
        task.add_done_callback(lambda done: _pass_on(done, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if self.alive:
                self._loop.call_soon(task.cancel, context=self.context)
            raise
        finally:
            self.at_death.remove(give_up)

    def kill(self) -> None:
        """No further step of it is run."""
        if not self.alive:
            return
        self.alive = False
        self.died_s = self._loop.time()
        self._remains = self._loop.tasks_of(self)  # collected early they would run their `finally`
        self._missed.clear()
        for tell in list(self.at_death):
            tell()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self._loop.again(self._missed)
        self._missed = []

    def bury(self) -> None:
        """Let go of what a killed process left. See `in_silence`."""
        left, self._remains = self._remains, []
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            for _ in range(_UNWINDINGS):  # its `finally` blocks wait, and each wait is refused
                with suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]
                    break


@contextmanager
def of_one_world() -> Iterator[None]:
    """Collect no garbage meanwhile, which would run finalizers at times that no seed decides; what
    was there before is left out also afterwards, until the end."""
    was_on = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


@contextmanager
def in_silence() -> Iterator[None]:
    """While the dead are buried: their `finally` blocks run now, and complain that the world they
    were in is over."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            for _ in range(_COLLECTIONS):  # of what was made since `of_one_world`
                gc.collect()
    finally:
        sys.unraisablehook = hook


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def _pass_on(done: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
    if done.cancelled():
        if not answer.done():
            answer.cancel()
    elif (error := done.exception()) is not None:
        if not answer.done():
            answer.set_exception(error)
    elif not answer.done():
        answer.set_result(done.result())


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. `turns` counts what it has run."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.turns = 0
        self.network: Any = None  # what serves and connects unix sockets
        self._now = self._second = 0.0
        self._turns_before = 0
        self._chance = random.Random(f"loop {seed}")
        self._owners: WeakKeyDictionary[asyncio.Task[Any], Process] = WeakKeyDictionary()
        self._readers: dict[int, tuple[Context, Callable[..., Any], tuple[Any, ...]]] = {}

    def time(self) -> float:
        return self._now

    def tasks_of(self, process: Process) -> list[asyncio.Task[Any]]:
        return [
            task for task, owner in self._owners.items() if owner is process and not task.done()
        ]

    def is_of_nobody(self, task: asyncio.Task[Any]) -> bool:
        return task not in self._owners

    def again(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            while scheduled and scheduled[0].cancelled():
                heapq.heappop(scheduled)
            if not scheduled:
                raise Stuck("nobody waits for anything")
            self._now = max(self._now, scheduled[0].when())
        self._now += TURN_S
        self._look_for_spinning()
        while scheduled and scheduled[0].when() <= self._now:
            ready.append(heapq.heappop(scheduled))
        turn = [handle for handle in ready if not handle.cancelled()]
        ready.clear()
        self._chance.shuffle(turn)
        for handle in turn:
            owner = handle._context.get(PROCESS)
            if owner is not None and not owner.alive:
                continue
            if owner is not None and owner.frozen:
                owner.miss(handle)
            elif not handle.cancelled():
                self.turns += 1
                handle._run()

    def _look_for_spinning(self) -> None:
        if self._now >= self._second + 1.0:
            self._second, self._turns_before = self._now, self.turns
        elif self.turns - self._turns_before > SPINNING:
            raise Stuck(f"{SPINNING:,} steps within a second of {self._now:.0f} s")

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        owner = PROCESS.get() if context is None else context.get(PROCESS)
        if owner is not None:
            self._owners[task] = owner
        return task

    # --- what a loop asks of the system -----------------------------------------------------

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """`func` runs on the loop after a while, as whole as on a thread that nothing disturbs."""
        answer: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's, as from a thread
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self.call_later(self._chance.uniform(*THREAD_S), work)
        return answer

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self._readers[fd] = copy_context(), callback, args

    def remove_reader(self, fd: Any) -> bool:
        return self._readers.pop(fd, None) is not None

    def readable(self, fd: int) -> None:
        """Something has come on a descriptor. Who stops reading it meanwhile hears nothing."""
        if (reader := self._readers.get(fd)) is None:
            return
        context, callback, args = reader

        def heard() -> None:
            if self._readers.get(fd) is reader:
                callback(*args)

        self.call_soon(heard, context=context)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        process, context = PROCESS.get(), copy_context()
        if process is not None:
            process.signals[sig] = lambda: self.call_soon(callback, *args, context=context)

    def remove_signal_handler(self, sig: int) -> bool:
        process = PROCESS.get()
        return process is not None and process.signals.pop(sig, None) is not None

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **more: Any) -> Any:
        listener = more.get("sock")
        where = listener.getsockname() if listener is not None else str(path)
        return self.network.serve(where, protocol_factory, listener)

    async def create_unix_connection(
        self, protocol_factory: Any, path: Any = None, **_: Any
    ) -> Any:
        return await self.network.connect(protocol_factory, str(path))

    def _write_to_self(self) -> None:
        """There is no other thread that could wake it."""

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""


def run(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; `loop` is still open then."""
    events.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        events.set_event_loop(None)


def finish(loop: VirtualLoop) -> None:
    """End what belongs to no process, and close the loop."""
    left = [task for task in asyncio.all_tasks(loop) if loop.is_of_nobody(task)]
    for task in left:
        task.cancel()
    if left:
        with suppress(Stuck):
            loop.run_until_complete(asyncio.wait(left))
    loop.close()
