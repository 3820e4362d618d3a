"""The dispatcher: acceptance, lanes, progress, cancellation, timeouts, closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions, views
from swarmdeck.engine.actions import Action
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.dispatch import (
    Context,
    Dispatcher,
    Handler,
    LaneSettings,
    Receipt,
)
from swarmdeck.engine.errors import (
    Busy,
    Conflict,
    Defect,
    InvalidInput,
    Unavailable,
)
from swarmdeck.engine.events import Event, EventBus, Finished, Progress
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role

AGENT = Principal("dev_agent_1", Role.AGENT, "development", "dev_swarm_1")
SMALL = LaneSettings(workers=2, waiting=1)
LANES: Mapping[actions.Lane, LaneSettings] = {
    "interactive": SMALL,
    "background": SMALL,
    "bulk": SMALL,
}


class Bench:
    """A dispatcher with handlers that do what a test tells them."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.events = self.bus.subscribe()
        self.go = asyncio.Event()
        self.started: list[str] = []
        self.ended: list[str] = []
        self.contexts: list[Context] = []

    async def wait(self, context: Context, action: Action) -> views.Done:
        """Runs until told to go, and says how it ended."""
        self.contexts.append(context)
        self.started.append(context.operation)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return views.Done(detail=type(action).__name__)

    def published(self) -> list[Event]:
        return list(iter(self.events.poll, None))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@asynccontextmanager
async def dispatcher(
    bench: Bench, drain_s: float = 5, **handlers: Handler
) -> AsyncIterator[Dispatcher]:
    table = {actions.named(name.replace("_", ".")).type: each for name, each in handlers.items()}
    async with Dispatcher(table, bench.bus, FakeClock(), LANES, drain_s) as dispatcher:
        yield dispatcher


def ask(dispatcher: Dispatcher, action: Action | None = None) -> Receipt:
    return dispatcher.dispatch(action or actions.Stop(), OPERATOR_PRINCIPAL)


async def turn_until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_the_receipt_gives_the_result_to_each_who_awaits(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait) as d:
        receipt = ask(d)
        assert receipt.action == "stop"
        assert not receipt.done
        bench.go.set()
        assert await receipt == views.Done(detail="Stop")
        assert await receipt == views.Done(detail="Stop")
        assert receipt.done
    finished = Finished(receipt.operation, "stop", ok=True)
    assert bench.published() == [finished]


async def test_a_query_leaves_no_finished_event(bench: Bench) -> None:
    async with dispatcher(bench, swarm_list=bench.wait) as d:
        bench.go.set()
        await ask(d, actions.SwarmList())
    assert bench.published() == []


async def test_an_error_reaches_the_caller_and_the_bus(bench: Bench) -> None:
    async def fail(context: Context, action: Action) -> None:
        raise Conflict("it has moved on", hint="look again")

    async with dispatcher(bench, stop=fail) as d:
        receipt = ask(d)
        with pytest.raises(Conflict, match="moved on"):
            await receipt
    report = Conflict("it has moved on", hint="look again").report()
    assert bench.published() == [Finished(receipt.operation, "stop", ok=False, error=report)]


async def test_an_error_nobody_foresaw_is_a_defect_with_its_cause(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(context: Context, action: Action) -> None:
        raise KeyError("surprise")

    async with dispatcher(bench, stop=fail, swarm_list=bench.wait) as d:
        with caplog.at_level(logging.ERROR), pytest.raises(Defect, match="surprise") as caught:
            await ask(d)
        assert isinstance(caught.value.__cause__, KeyError)
        assert "Traceback" in caplog.text
        bench.go.set()
        await ask(d, actions.SwarmList())  # the next one runs


async def test_a_failure_nobody_awaits_disturbs_nobody(bench: Bench) -> None:
    async def fail(context: Context, action: Action) -> None:
        raise Conflict("unheard")

    async with dispatcher(bench, stop=fail) as d:
        ask(d)


async def test_bad_fields_are_refused_before_anything_runs(bench: Bench) -> None:
    async with dispatcher(bench, swarm_create=bench.wait) as d:
        with pytest.raises(InvalidInput, match="agents"):
            ask(d, actions.SwarmCreate(environment="development", agents=75, memory_bytes=1 << 30))
        with pytest.raises(InvalidInput, match="not served"):
            ask(d)
    assert bench.started == []
    assert bench.published() == []


async def test_a_full_lane_is_busy_and_the_other_lanes_are_not(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait, demo=bench.wait) as d:
        receipts = [ask(d) for _ in range(3)]  # two run, one waits
        lane = actions.ACTIONS["stop"].lane
        assert lane != actions.ACTIONS["demo"].lane
        with pytest.raises(Busy, match=f"{lane} lane is full, 2 run and 1 wait"):
            ask(d)
        receipts.append(ask(d, actions.Demo()))
        await turn_until(lambda: len(bench.started) == 3)
        assert receipts[2].operation not in bench.started
        bench.go.set()
        for receipt in receipts:
            await receipt
        assert len(bench.started) == 4
        await ask(d)


async def test_progress_is_seen_by_iteration_by_listeners_and_on_the_bus(bench: Bench) -> None:
    async def work(context: Context, action: Action) -> str:
        for step in (0.25, 0.5, 2.0):
            context.progress(step, f"at {step}")
            await asyncio.sleep(0)
        return "done"

    heard: list[tuple[float, bool]] = []
    async with dispatcher(bench, stop=work) as d:
        receipt = ask(d)
        receipt.listen(lambda each: heard.append((each.fraction, each.done)))
        seen = [step async for step in receipt]
        assert [(step.fraction, step.text) for step in seen] == [
            (0.25, "at 0.25"),
            (0.5, "at 0.5"),
            (1.0, "at 2.0"),
        ]
        assert await receipt == "done"
        assert heard == [(0.25, False), (0.5, False), (1.0, False), (1.0, True)]
        assert (receipt.fraction, receipt.text) == (1.0, "at 2.0")
        assert [step async for step in receipt] == seen[-1:]
    assert bench.published() == [seen[-1], Finished(receipt.operation, "stop", ok=True)]


async def test_iteration_ends_without_the_error(bench: Bench) -> None:
    async def fail(context: Context, action: Action) -> None:
        context.progress(0.1)
        raise Conflict("no")

    async with dispatcher(bench, stop=fail) as d:
        receipt = ask(d)
        assert [step async for step in receipt] == [Progress(receipt.operation, "stop", 0.1)]
        assert isinstance(receipt.error, Conflict)


async def test_who_stops_waiting_cancels_nothing(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait) as d:
        receipt = ask(d)
        waiter = asyncio.ensure_future(receipt)
        await turn_until(lambda: bench.started)
        waiter.cancel()
        await asyncio.wait({waiter})
        assert bench.ended == []
        bench.go.set()
        assert (await receipt).detail == "Stop"


async def test_cancelling_a_running_operation_ends_its_handler(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait) as d:
        receipt = ask(d)
        await turn_until(lambda: bench.started)
        receipt.cancel()
        with pytest.raises(Conflict, match=f"stop {receipt.operation} was cancelled"):
            await receipt
        assert bench.ended == ["cancelled"]
        receipt.cancel()
    [event] = bench.published()
    assert isinstance(event, Finished)
    assert not event.ok


async def test_cancelling_before_the_first_step_frees_the_lane(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait) as d:
        receipts = [ask(d) for _ in range(3)]
        for receipt in receipts:
            receipt.cancel()
        for receipt in receipts:
            with pytest.raises(Conflict):
                await receipt
        assert bench.started == []
        bench.go.set()
        for receipt in [ask(d) for _ in range(3)]:
            await receipt


async def test_a_handler_that_does_not_finish_in_time_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = msgspec.structs.replace(actions.ACTIONS["stop"], timeout_s=0.01)
    monkeypatch.setattr(actions, "spec_of", lambda _: spec)
    async with dispatcher(bench, stop=bench.wait) as d:
        with pytest.raises(Unavailable, match=r"did not finish within 0.01 s") as caught:
            await ask(d)
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert bench.ended == ["cancelled"]


async def test_a_handlers_own_timeout_error_is_a_defect(bench: Bench) -> None:
    async def fail(context: Context, action: Action) -> None:
        raise TimeoutError("of its own")

    async with dispatcher(bench, stop=fail) as d:
        with pytest.raises(Defect, match="of its own"):
            await ask(d)


async def test_closing_lets_running_work_finish_and_refuses_what_waits(bench: Bench) -> None:
    async with dispatcher(bench, stop=bench.wait) as d:
        running, second, waiting = [ask(d) for _ in range(3)]
        await turn_until(lambda: len(bench.started) == 2)
        closing = asyncio.ensure_future(d.close())
        await turn_until(lambda: waiting.done)
        with pytest.raises(Unavailable, match="closed before it began"):
            await waiting
        with pytest.raises(Unavailable, match="closing"):
            ask(d)
        bench.go.set()
        assert await closing == ()
        assert (await running).detail == (await second).detail == "Stop"


async def test_closing_is_bounded_and_says_what_it_cut_off(bench: Bench) -> None:
    async with dispatcher(bench, drain_s=0.01, stop=bench.wait) as d:
        receipt = ask(d)
        await turn_until(lambda: bench.started)
        assert await d.close() == (f"stop {receipt.operation}",)
        assert bench.ended == ["cancelled"]
        with pytest.raises(Unavailable, match="cut off"):
            await receipt
        assert await d.close() == ()


async def test_an_operation_may_close_the_engine_it_runs_in(bench: Bench) -> None:
    async with dispatcher(bench, stop=lambda *_: d.close()) as d:
        assert await ask(d) == ()


async def test_the_context_knows_who_asked(bench: Bench) -> None:
    async with dispatcher(bench, agent_show=bench.wait) as d:
        bench.go.set()
        receipt = d.dispatch(actions.AgentShow(id=AGENT.id), AGENT)
        await receipt
    [context] = bench.contexts
    assert (context.principal, context.operation) == (AGENT, receipt.operation)
