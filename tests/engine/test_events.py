"""The event bus: order, merging, what a slow reader loses, and the end."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import msgspec
import pytest

from swarmdeck.engine.errors import ErrorReport, Unavailable
from swarmdeck.engine.events import (
    AgentChanged,
    Changed,
    EngineStopping,
    Event,
    EventBus,
    Finished,
    Gap,
    Progress,
    Published,
    Reclaimed,
    Subscription,
    SwarmChanged,
)


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


def agents(*numbers: int) -> list[Event]:
    return [AgentChanged(f"dev_agent_{number}", "ready") for number in numbers]


async def collect(subscription: Subscription) -> list[Event]:
    return [event async for event in subscription]


async def test_every_reader_gets_every_event_in_order(bus: EventBus) -> None:
    first, second = bus.subscribe(), bus.subscribe()
    for event in agents(1, 2, 3):
        assert bus.publish(event) == 2
    await bus.close("test")
    expected = [*agents(1, 2, 3), EngineStopping("test")]
    assert await collect(first) == expected
    assert await collect(second) == expected


async def test_a_reader_sees_nothing_from_before_it_came(bus: EventBus) -> None:
    bus.publish(agents(1)[0])
    reader = bus.subscribe()
    bus.publish(agents(2)[0])
    assert await reader.take() == agents(2)


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(bus: EventBus) -> None:
    slow, fast = bus.subscribe(limit=3), bus.subscribe()
    for event in agents(*range(10)):
        bus.publish(event)
    assert [await anext(slow) for _ in range(4)] == [Gap(7), *agents(7, 8, 9)]
    assert slow.missed == 7
    assert await fast.take() == agents(*range(10))
    for event in agents(*range(4)):
        bus.publish(event)
    assert await slow.take() == [Gap(1), *agents(1, 2, 3)]
    assert slow.missed == 8


async def test_changes_of_one_topic_and_environment_merge_to_the_newest(bus: EventBus) -> None:
    reader = bus.subscribe(limit=4)
    for sequence in range(100):
        bus.publish(Changed("memory", "development", sequence))
        bus.publish(Changed("memory", "testing", sequence))
        bus.publish(Changed("queue", "development", sequence))
    assert await reader.take() == [
        Changed("memory", "development", 99),
        Changed("memory", "testing", 99),
        Changed("queue", "development", 99),
    ]
    bus.publish(Changed("memory", "development", 100))
    assert await anext(reader) == Changed("memory", "development", 100)
    assert reader.missed == 0


async def test_a_merged_event_keeps_its_place(bus: EventBus) -> None:
    reader = bus.subscribe()
    bus.publish(Changed("queue", "testing", 1))
    bus.publish(agents(1)[0])
    bus.publish(Changed("queue", "testing", 2))
    assert await reader.take() == [Changed("queue", "testing", 2), *agents(1)]


async def test_progress_of_one_operation_merges_and_its_end_does_not(bus: EventBus) -> None:
    reader = bus.subscribe(limit=3)
    for step in range(50):
        bus.publish(Progress("op_1", "demo", step / 50))
    bus.publish(Progress("op_2", "demo", 0.5))
    bus.publish(Finished("op_1", "demo", ok=True))
    assert await reader.take() == [
        Progress("op_1", "demo", 0.98),
        Progress("op_2", "demo", 0.5),
        Finished("op_1", "demo", ok=True),
    ]


async def test_a_waiting_reader_wakes(bus: EventBus) -> None:
    reader = bus.subscribe()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.publish(agents(1)[0])
    assert [await waiting] == agents(1)


async def test_a_cancelled_wait_loses_nothing(bus: EventBus) -> None:
    reader = bus.subscribe()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    bus.publish(agents(1)[0])
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await reader.take() == agents(1)


async def test_two_readers_of_one_subscription_are_a_mistake(bus: EventBus) -> None:
    reader = bus.subscribe()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one reader"):
        await anext(reader)
    waiting.cancel()


async def test_leaving_the_block_ends_the_subscription(bus: EventBus) -> None:
    async with bus.subscribe() as reader:
        bus.publish(agents(1)[0])
    bus.publish(agents(2)[0])
    assert await collect(reader) == []
    async with bus.subscribe(channel="a"):
        assert bus.publish(Published("a", 1)) == 1
    assert bus.publish(Published("a", 1)) == 0


async def test_a_forgotten_reader_costs_nothing(bus: EventBus) -> None:
    reader = bus.subscribe()
    assert bus.publish(agents(1)[0]) == 1
    del reader
    gc.collect()
    assert bus.publish(agents(1)[0]) == 0


async def test_an_error_ends_the_stream_after_what_waits() -> None:
    reader = Subscription()
    reader.push(agents(1)[0])
    reader.end(Unavailable("gone"))
    reader.push(agents(2)[0])
    assert await reader.take() == agents(1)
    with pytest.raises(Unavailable, match="gone"):
        await reader.take()
    with pytest.raises(Unavailable, match="gone"):
        await anext(reader)


async def test_after_close_nothing_is_delivered(bus: EventBus) -> None:
    await bus.close("first")
    await bus.close("second")
    assert bus.publish(agents(1)[0]) == 0
    assert await collect(bus.subscribe()) == []


async def test_readiness_is_told_once_per_wait(bus: EventBus) -> None:
    calls: list[None] = []
    reader = bus.subscribe(on_ready=lambda: calls.append(None))
    for event in agents(1, 2, 3):
        bus.publish(event)
    assert len(calls) == 1
    await reader.take()
    bus.publish(agents(4)[0])
    assert len(calls) == 2


async def test_a_channel_reaches_its_listeners_in_order(bus: EventBus) -> None:
    heard: list[Any] = []
    done = asyncio.Event()

    async def callback(body: Any) -> None:
        await asyncio.sleep(0)
        heard.append(body)
        if body == 4:
            done.set()

    bus.listen("news", callback)
    bus.listen("other", heard.append)
    for number in range(5):
        assert bus.publish(Published("news", number)) == 1
    async with asyncio.timeout(5):
        await done.wait()
    assert heard == list(range(5))
    await bus.close()


async def test_a_failing_callback_is_logged_and_hears_the_next_message(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    heard = asyncio.Event()

    def callback(body: Any) -> None:
        if body == 1:
            raise ValueError("bad callback")
        heard.set()

    bus.listen("news", callback)
    with caplog.at_level(logging.ERROR):
        bus.publish(Published("news", 1))
        bus.publish(Published("news", 2))
        async with asyncio.timeout(5):
            await heard.wait()
    assert "bad callback" in caplog.text
    await bus.close()


async def test_a_closed_listener_hears_nothing_even_from_within(bus: EventBus) -> None:
    heard: list[Any] = []

    async def callback(body: Any) -> None:
        heard.append(body)
        await listener.close()

    listener = bus.listen("news", callback)
    bus.publish(Published("news", 1))
    bus.publish(Published("news", 2))
    async with asyncio.timeout(5):
        while not listener.ended:
            await asyncio.sleep(0)
    assert heard == [1]
    assert bus.publish(Published("news", 3)) == 0


@pytest.mark.parametrize(
    "event",
    [
        Changed("queue", "staging", 7),
        Progress("op_1", "demo", 0.25, "a"),
        Finished("op_1", "demo", ok=False, error=ErrorReport("busy", "m", "h", retryable=True)),
        SwarmChanged("dev_swarm_1", "running", "r"),
        AgentChanged("dev_agent_1", "exited", 12, "r"),
        Reclaimed("dev_swarm_1", 1 << 40, "production"),
        EngineStopping("r"),
        Published("news", {"a": [1, None, b"x"]}),
        Gap(3),
    ],
)
def test_events_cross_a_border_unchanged(event: Event) -> None:
    wire = msgspec.msgpack.encode(event)
    assert msgspec.msgpack.Decoder(Event).decode(wire) == event
