"""An engine on its own thread: what crosses between the loops, and how it ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest

from swarmdeck.engine import actions, views
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.dispatch import Context, Dispatcher, Receipt
from swarmdeck.engine.errors import Conflict, EngineBusy, Unavailable
from swarmdeck.engine.events import (
    AgentChanged,
    Changed,
    Event,
    EventBus,
    Gap,
    Progress,
    Subscription,
)
from swarmdeck.engine.host import EngineHost
from swarmdeck.engine.model import OPERATOR_PRINCIPAL


class Engine:
    """A small engine: `demo` reports progress and waits, `stop` fails, `status` computes."""

    attached = True

    def __init__(self) -> None:
        self.bus = EventBus()
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread()
        self.go = asyncio.Event()
        self.cancelled = threading.Event()
        self.running = threading.Event()
        self.dispatcher = Dispatcher(
            {actions.Demo: self._demo, actions.Stop: self._stop, actions.Doctor: self._compute},
            self.bus,
            FakeClock(),
            drain_s=0.05,
        )

    async def dispatch(self, action: actions.Action) -> Receipt:
        return self.dispatcher.dispatch(action, OPERATOR_PRINCIPAL)

    def events(self) -> Subscription:
        return self.bus.subscribe()

    def publish(self, *events: Event) -> None:
        """From any thread."""
        for event in events:
            self.loop.call_soon_threadsafe(self.bus.publish, event)

    def turn(self) -> None:
        """Wait, blocking on purpose, until the engine's loop went round."""
        turned = threading.Event()
        again = partial(self.loop.call_soon, partial(self.loop.call_soon, turned.set))
        self.loop.call_soon_threadsafe(again)
        assert turned.wait(10)

    async def _demo(self, context: Context, action: actions.Demo) -> str:
        context.progress(0.5, threading.current_thread().name)
        self.running.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"

    async def _stop(self, context: Context, action: actions.Stop) -> None:
        raise Conflict("it will not")

    async def _compute(self, context: Context, action: actions.Doctor) -> views.Done:
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end:
            pass
        return views.Done()


class Stage:
    """A host with everything a test looks at. `events` and its timing are the caller's loop's."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.closed = False
        self.refuse = False
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.host = EngineHost(self.open, self.on_event, close_s=5)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engine]:
        self.engine = Engine()
        async with self.engine.dispatcher:
            yield self.engine
            await self.engine.bus.close("closing")
        self.closed = True

    def on_event(self, event: Event) -> None:
        if self.refuse:
            raise ValueError("a bug of the console")
        self.threads.add(threading.current_thread().name)
        self.events.append(event)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    interval = sys.getswitchinterval()
    yield
    assert set(threading.enumerate()) == before
    assert sys.getswitchinterval() == interval


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.host.start()
    yield stage
    await stage.host.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_engine_lives_on_a_thread_of_its_own(stage: Stage) -> None:
    assert stage.engine is not None
    assert stage.engine.thread is not threading.current_thread()
    assert stage.host.attached
    assert sys.getswitchinterval() == 0.001


async def test_an_action_gives_its_result_and_reports_progress(stage: Stage) -> None:
    assert stage.engine is not None
    steps: list[Progress] = []
    here: list[threading.Thread] = []

    def on_progress(step: Progress) -> None:
        steps.append(step)
        here.append(threading.current_thread())

    running = asyncio.ensure_future(stage.host.run(actions.Demo(), on_progress))
    await until(lambda: steps)
    assert (steps[0].fraction, steps[0].text) == (0.5, stage.engine.thread.name)
    assert here == [threading.current_thread()]
    stage.engine.loop.call_soon_threadsafe(stage.engine.go.set)
    assert await running == "done"


async def test_an_action_raises_its_error(stage: Stage) -> None:
    with pytest.raises(Conflict, match="it will not"):
        await stage.host.run(actions.Stop())


async def test_cancelling_the_call_cancels_the_action(stage: Stage) -> None:
    assert stage.engine is not None
    running = asyncio.ensure_future(stage.host.run(actions.Demo()))
    await until(stage.engine.running.is_set)
    running.cancel()
    await until(stage.engine.cancelled.is_set)
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_this_loop_goes_on_while_the_engine_computes(stage: Stage) -> None:
    begin = time.perf_counter()
    running = asyncio.ensure_future(stage.host.run(actions.Doctor()))
    turns = 0
    while not running.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert time.perf_counter() - begin >= 0.2
    assert turns > 10


async def test_events_arrive_on_this_loop_in_order(stage: Stage) -> None:
    assert stage.engine is not None
    sent = [AgentChanged(f"dev_{number}", "ready") for number in range(100)]
    stage.engine.publish(*sent)
    await until(lambda: len(stage.events) == 100)
    assert stage.events == sent
    assert stage.threads == {threading.current_thread().name}


async def test_while_this_loop_is_busy_events_merge_and_are_bounded(stage: Stage) -> None:
    assert stage.engine is not None
    for sequence in range(3000):
        stage.engine.publish(Changed("memory", "testing", sequence))
        stage.engine.publish(AgentChanged(f"dev_{sequence}", "ready"))
        if sequence % 50 == 0:
            stage.engine.turn()
    assert stage.events == []
    await until(lambda: AgentChanged("dev_2999", "ready") in stage.events)
    # What was under way when this loop became busy, then no more than may wait.
    assert len(stage.events) < 1200
    gaps = [event.missed for event in stage.events if isinstance(event, Gap)]
    changes = [event for event in stage.events if isinstance(event, Changed)]
    agents = [event for event in stage.events if isinstance(event, AgentChanged)]
    assert sum(gaps) >= 3000 - len(agents) > 0
    assert [change.sequence for change in changes] == sorted(change.sequence for change in changes)


async def test_a_failing_event_callback_does_not_stop_the_events(stage: Stage) -> None:
    assert stage.engine is not None
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    stage.refuse = True
    stage.engine.publish(AgentChanged("dev_1", "ready"))
    await until(lambda: failures)
    stage.refuse = False
    stage.engine.publish(AgentChanged("dev_2", "ready"))
    await until(lambda: stage.events == [AgentChanged("dev_2", "ready")])


async def test_closing_ends_the_engine_in_order_and_can_be_repeated(stage: Stage) -> None:
    await stage.host.close()
    assert stage.closed
    with pytest.raises(Unavailable, match="not open"):
        await stage.host.run(actions.Doctor())
    await stage.host.close()


async def test_closing_ends_running_actions_with_an_error(stage: Stage) -> None:
    assert stage.engine is not None
    running = asyncio.ensure_future(stage.host.run(actions.Demo()))
    await until(stage.engine.running.is_set)
    await stage.host.close()
    with pytest.raises(Unavailable, match="cut off"):
        await running


async def test_start_raises_what_opening_raised() -> None:
    @asynccontextmanager
    async def refuse() -> AsyncIterator[Engine]:
        raise EngineBusy("somebody has it", pid=42)
        yield

    host = EngineHost(refuse, lambda _: None)
    with pytest.raises(EngineBusy) as caught:
        await host.start()
    assert caught.value.pid == 42
    with pytest.raises(Unavailable):
        await host.run(actions.Doctor())
    await host.close()


async def test_close_raises_what_closing_raised() -> None:
    @asynccontextmanager
    async def opens() -> AsyncIterator[Engine]:
        yield Engine()
        raise OSError("the disk is gone")

    host = EngineHost(opens, lambda _: None)
    await host.start()
    with pytest.raises(OSError, match="disk is gone"):
        await host.close()


class Stuck(Engine):
    """Takes an action and never says anything again."""

    async def dispatch(self, action: actions.Action) -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError


def hanging(
    entered: threading.Event, *, at_close: bool
) -> Callable[[], AbstractAsyncContextManager[Engine]]:
    @asynccontextmanager
    async def opens() -> AsyncIterator[Engine]:
        if at_close:
            yield Stuck()
        entered.set()
        await asyncio.Event().wait()
        if not at_close:
            yield Stuck()

    return opens


async def test_giving_up_the_start_ends_the_opening() -> None:
    entered = threading.Event()
    host = EngineHost(hanging(entered, at_close=False), lambda _: None)
    starting = asyncio.ensure_future(host.start())
    await until(entered.is_set)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_an_engine_that_will_not_close_is_cancelled() -> None:
    entered = threading.Event()
    host = EngineHost(hanging(entered, at_close=True), lambda _: None, close_s=0.05)
    await host.start()
    running = asyncio.ensure_future(host.run(actions.Demo()))
    await asyncio.sleep(0)
    await host.close()
    assert entered.is_set()
    with pytest.raises(Unavailable, match="engine ended"):
        await running


async def test_a_host_is_started_once(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match="started before"):
        await stage.host.start()
