"""One timer for many deadlines, on each kind of loop an engine runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.queue.alarm import Alarm


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_deadlines_that_have_passed_ring_once_and_at_once(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """uvloop makes no timer of what is due now."""

    async def ring() -> int:
        rung = asyncio.Event()
        times = []

        def note() -> None:
            times.append(1)
            rung.set()

        alarm = Alarm(SystemClock(), note)
        for late_s in (1.0, 2.0, 3.0):
            alarm.at_monotonic(SystemClock().monotonic_s() - late_s)
        await rung.wait()
        alarm.close()
        return len(times)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(ring()) == 1
