"""One pull feeds everything; events only make the next one come sooner."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from swarmdeck.console import bridge as module
from swarmdeck.console.bridge import Bridge
from swarmdeck.engine import actions
from swarmdeck.engine.errors import NotFound, Unavailable


@pytest.fixture
def shown() -> list[Any]:
    return []


async def enough(shown: list[Any], number: int) -> None:
    async with asyncio.timeout(5):
        while len(shown) < number:
            await asyncio.sleep(0.005)


async def test_a_pull_brings_the_overview_and_what_the_screen_wants(
    fakes: Any, shown: list[Any]
) -> None:
    bridge = Bridge(fakes.FakeHost(fakes.busy()), actions.AuditList, shown.append)
    pull = await bridge.pull()
    assert pull.overview.sequence == 128_440
    assert pull.asked == actions.AuditList()
    assert len(pull.answer) == 60


async def test_a_failing_query_is_shown_and_the_overview_still_comes(
    fakes: Any, shown: list[Any]
) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.AuditList] = NotFound("no such thing")
    pull = await Bridge(host, actions.AuditList, shown.append).pull()
    assert pull.error.message == "no such thing"
    assert pull.overview is not None
    assert pull.lost is None


async def test_a_lost_engine_leaves_the_last_overview_and_its_age(
    fakes: Any, shown: list[Any]
) -> None:
    now = [100.0]
    host = fakes.FakeHost(fakes.busy())
    bridge = Bridge(host, lambda: None, shown.append, lambda: now[0])
    first = await bridge.pull()
    host.failures[actions.Status] = Unavailable("the engine is gone")
    now[0] += 7
    second = await bridge.pull()
    assert second.overview is first.overview
    assert second.lost.message == "the engine is gone"
    assert bridge.age_s == 7


async def test_events_hasten_the_next_pull_but_never_beyond_ten_a_second(
    fakes: Any, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 60.0)
    loop = asyncio.get_running_loop()
    times = []
    bridge = Bridge(fakes.FakeHost(), lambda: None, lambda _: times.append(loop.time()))
    task = asyncio.create_task(bridge.run())
    await enough(times, 1)
    while len(times) < 4:
        bridge.mark()
        await asyncio.sleep(0.001)
    task.cancel()
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= module.GAP_S * 0.99
    assert max(gaps) < 5


async def test_a_paused_bridge_reads_nothing(
    fakes: Any, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GAP_S", 0.001)
    monkeypatch.setattr(module, "IDLE_S", 0.002)
    host = fakes.FakeHost()
    bridge = Bridge(host, lambda: None, shown.append)
    bridge.paused = True
    task = asyncio.create_task(bridge.run())
    await asyncio.sleep(0.05)
    assert host.asked == []
    bridge.paused = False
    await enough(shown, 2)
    task.cancel()


async def test_a_costly_query_rests_unless_a_person_waits_for_it(
    fakes: Any, shown: list[Any]
) -> None:
    now = [100.0]
    host = fakes.FakeHost(fakes.busy())

    def slow(_action: Any) -> list[Any]:
        now[0] += 2.0
        return []

    host.answers[actions.AuditList] = slow
    bridge = Bridge(host, actions.AuditList, shown.append, lambda: now[0])
    await bridge.pull(waited_for=False)
    now[0] += 17.9
    resting = await bridge.pull(waited_for=False)
    assert (resting.asked, resting.answer) == (None, None)
    assert resting.overview is not None
    assert (await bridge.pull(waited_for=True)).asked == actions.AuditList()
    now[0] += 18.1
    assert (await bridge.pull(waited_for=False)).asked == actions.AuditList()
    assert sum(isinstance(action, actions.AuditList) for action in host.asked) == 3
