"""An engine on a thread and loop of its own, for a program whose loop must never wait.

The console's loop paints; the engine's loop commits. Between them go actions, results and
batches of events, never a lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from .actions import Action
from .dispatch import Receipt
from .errors import Unavailable
from .events import Event, Progress, Subscription
from .process import SWITCH_S

CLOSE_S: Final = 60.0

log = logging.getLogger(__name__)


class HostedEngine(Protocol):
    """What the host needs of an engine."""

    @property
    def attached(self) -> bool: ...

    async def dispatch(self, action: Action) -> Receipt: ...

    def events(self) -> Subscription: ...


class EngineHost:
    """Opens an engine on its own thread, runs actions there, brings its events back.

    All methods are for the one loop that called start(). `on_event` is called on that loop; when
    it falls behind, events wait on the engine's side, where they merge and are counted when lost.
    """

    def __init__(
        self,
        open_port: Callable[[], AbstractAsyncContextManager[HostedEngine]],
        on_event: Callable[[Event], None],
        *,
        close_s: float = CLOSE_S,
    ) -> None:
        """`open_port` is called on the engine's thread. `close_s` bounds close()."""
        self.attached = False
        self._open_port = open_port
        self._on_event = on_event
        self._close_s = close_s
        self._thread: threading.Thread | None = None
        self._session: _Session | None = None
        self._switch_s = sys.getswitchinterval()

    async def start(self) -> None:
        """Open the engine. Raises what opening raised; then nothing is left running."""
        if self._thread is not None:
            raise RuntimeError("this host was started before")
        session = _Session(self._open_port, self._on_event)
        self._thread = threading.Thread(target=session.run, name="swarmdeck-engine", daemon=True)
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()
        try:
            await asyncio.wait({asyncio.wrap_future(session.opened)})
            session.raise_failure()
        except BaseException:
            await asyncio.shield(self._end(session))
            raise
        self.attached = session.attached
        self._session = session

    async def run(
        self, action: Action, on_progress: Callable[[Progress], None] | None = None
    ) -> Any:  # noqa: ANN401 - the action's result
        """The action's result; raises its error. `on_progress` is called on this loop.
        Cancelling the call cancels the action. Unavailable when the engine is not open."""
        session = self._session
        if session is None:
            raise Unavailable("the engine is not open", hint="start the console again")
        work = session.submit(action, on_progress)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not we were cancelled: the engine's loop ended under the action.
            raise Unavailable("the engine ended before the action did") from None

    async def close(self) -> None:
        """Close the engine and end its thread. Raises Unavailable when that takes longer than
        `close_s`; raises what closing raised. Can be called again."""
        session, self._session = self._session, None
        if session is not None:
            await asyncio.shield(self._end(session))
            session.raise_failure()

    async def _end(self, session: _Session) -> None:
        thread, ended = self._thread, asyncio.wrap_future(session.ended)
        session.stop()
        done, _ = await asyncio.wait({ended}, timeout=self._close_s)
        if not done:
            log.error("the engine did not close within %g s: cancelled", self._close_s)
            session.cancel()
            done, _ = await asyncio.wait({ended}, timeout=self._close_s)
        sys.setswitchinterval(self._switch_s)
        if not done:
            raise Unavailable(
                f"the engine did not close within {2 * self._close_s:g} s",
                hint="its thread ends with the process",
            )
        if thread is not None:
            thread.join()  # it has nothing left to do


class _Session:
    """One life of the engine's thread. The first half of the methods belongs to the caller's
    loop, `run` and what it calls to the engine's."""

    def __init__(
        self,
        open_port: Callable[[], AbstractAsyncContextManager[HostedEngine]],
        on_event: Callable[[Event], None],
    ) -> None:
        self.attached = False
        self.opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._open_port = open_port
        self._on_event = on_event
        self._caller = asyncio.get_running_loop()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._engine: HostedEngine | None = None
        self._lock = threading.Lock()  # between a call and the moment the engine's loop ends
        self._stopping = False

    def stop(self) -> None:
        """Ask for the end. While the engine still opens, opening is cancelled."""
        with self._lock:
            self._stopping = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop)

    def cancel(self) -> None:
        with self._lock:
            if self._loop is not None and self._main is not None:
                self._loop.call_soon_threadsafe(self._main.cancel)

    def submit(
        self, action: Action, on_progress: Callable[[Progress], None] | None
    ) -> concurrent.futures.Future[Any]:
        with self._lock:
            if self._loop is None or self._stopping:
                raise Unavailable("the engine is closing", hint="start the console again")
            work = self._execute(action, on_progress)
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- the engine's thread ---

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        except asyncio.CancelledError:
            log.debug("the engine's thread was cancelled")
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's loop
            self._failure = error
        finally:
            if not self.opened.done():
                self.opened.set_result(None)
            self.ended.set_result(None)

    async def _serve(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._main = asyncio.current_task()
            if self._stopping:
                return
        try:
            async with self._open_port() as engine:
                await self._attend(engine)
        finally:
            with self._lock:
                self._loop = None

    async def _attend(self, engine: HostedEngine) -> None:
        self._engine = engine
        self._stopped = asyncio.Event()
        if self._stopping:
            return
        async with asyncio.TaskGroup() as group, engine.events() as events:
            pump = group.create_task(self._pump(events))
            self.attached = engine.attached
            self.opened.set_result(None)
            await self._stopped.wait()
            pump.cancel()

    def _stop(self) -> None:
        if self.opened.done():
            self._stopped.set()
        elif self._main is not None:
            self._main.cancel()

    async def _execute(self, action: Action, on_progress: Callable[[Progress], None] | None) -> Any:  # noqa: ANN401 - the action's result
        assert self._engine is not None
        receipt = await self._engine.dispatch(action)
        try:
            if on_progress is not None:
                async for step in receipt:
                    self._caller.call_soon_threadsafe(on_progress, step)
            return await receipt
        except asyncio.CancelledError:
            receipt.cancel()
            raise

    async def _pump(self, events: Subscription) -> None:
        """Hand over what waits, then wait until it was taken: never two wake-ups at once."""
        while batch := await events.take():
            taken = asyncio.Event()
            self._caller.call_soon_threadsafe(self._deliver, batch, taken)
            await taken.wait()

    def _deliver(self, batch: list[Event], taken: asyncio.Event) -> None:
        try:
            for event in batch:
                self._on_event(event)
        finally:
            with self._lock:
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(taken.set)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it installs."""
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        return uvloop.new_event_loop
    return None
