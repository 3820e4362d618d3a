"""What a sender learns of its messages, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Busy, Denied, InvalidInput, NotFound, Unavailable
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role
from swarmdeck.engine.queue import results


async def sent(scene: Any, **fields: Any) -> str:
    """The id of a message that agent a has sent."""
    ident: str = await scene.queue.send(scene.a, "work", b"1", **fields)
    return ident


async def waiting(scene: Any, count: int) -> None:
    while len(scene.queue.awaited) < count:
        await asyncio.sleep(0)


async def test_a_sender_sees_how_far_its_message_is(scene: Any) -> None:
    ident = await sent(scene)
    found = await scene.queue.outcome(scene.a, ident)
    assert (found.state, found.attempt, found.max_attempts) == ("ready", 0, 3)
    await scene.claim(scene.b)
    assert (await scene.queue.outcome(scene.a, ident)).state == "leased"
    await scene.queue.ack(scene.b, ident, 1, b'{"lines": 3}')
    found = await scene.queue.outcome(scene.a, ident)
    assert (found.state, found.result, found.error) == ("done", b'{"lines": 3}', "")
    assert found.wire == ["done", b'{"lines": 3}', "", 1, 3]


async def test_to_others_it_is_not_there(scene: Any) -> None:
    ident = await sent(scene)
    [holder] = [scene.b]
    await scene.claim(holder)
    coordinator = Principal("dev_agent_boss", Role.COORDINATOR, "development")
    for principal in (scene.a, coordinator, OPERATOR_PRINCIPAL):
        assert (await scene.queue.outcome(principal, ident)).state == "leased"
    for principal in (holder, scene.c):
        with pytest.raises(NotFound):
            await scene.queue.outcome(principal, ident)
    with pytest.raises(NotFound):
        await scene.queue.outcome(scene.a, "dev_msg_999")


@pytest.mark.parametrize("end", ["done", "dead", "expired", "cancelled", "deleted"])
async def test_whoever_waits_is_woken_by_the_end(scene: Any, end: str) -> None:
    ident = await sent(scene, expires_s=50, max_attempts=1)
    caller = asyncio.create_task(scene.queue.outcome(scene.a, ident, 60))
    beside = asyncio.create_task(scene.queue.outcome(OPERATOR_PRINCIPAL, ident, 60))
    await waiting(scene, 2)
    await bring_to(scene, ident, end)
    assert not scene.queue.awaited, "they would be told when their time is up, and no sooner"
    if end == "deleted":
        with pytest.raises(NotFound):
            await caller
        with pytest.raises(NotFound):
            await beside
    else:
        assert ((await caller).state, (await beside).state) == (end, end)
    assert len(scene.queue.awaited) == 0
    assert not scene.queue.awaited


async def bring_to(scene: Any, ident: str, end: str) -> None:
    if end in {"done", "dead"}:
        await scene.claim(scene.b)
    if end == "done":
        await scene.queue.ack(scene.b, ident, 1)
    elif end == "dead":
        await scene.queue.nack(scene.b, ident, 1, "no")
    elif end == "expired":
        await scene.later(51)
    elif end == "cancelled":
        await scene.queue.cancel(scene.a, ident)
    else:
        await scene.queue.purge(OPERATOR_PRINCIPAL, ids=[ident])


async def test_a_wait_ends_with_what_there_is(scene: Any) -> None:
    ident = await sent(scene)
    found = await scene.queue.outcome(scene.a, ident, 0.01)
    assert found.state == "ready"
    assert len(scene.queue.awaited) == 0
    await scene.claim(scene.b)
    await scene.queue.ack(scene.b, ident, 1)
    assert (await scene.queue.outcome(scene.a, ident, 60)).state == "done"


async def test_who_leaves_leaves_nothing_behind(scene: Any) -> None:
    ident = await sent(scene)
    caller = asyncio.create_task(scene.queue.outcome(scene.a, ident, 60))
    await waiting(scene, 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0)
    assert len(scene.queue.awaited) == 0
    assert not scene.queue.awaited


async def test_a_closed_queue_tells_those_who_wait(scene: Any) -> None:
    ident = await sent(scene)
    caller = asyncio.create_task(scene.queue.outcome(scene.a, ident, 60))
    await waiting(scene, 1)
    scene.queue.awaited.close()
    with pytest.raises(Unavailable):
        await caller


async def test_waits_are_bounded(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MOST_WAITING", 1)
    ident = await sent(scene)
    caller = asyncio.create_task(scene.queue.outcome(scene.a, ident, 60))
    await waiting(scene, 1)
    with pytest.raises(Busy):
        await scene.queue.outcome(scene.a, ident, 1)
    with pytest.raises(InvalidInput):
        await scene.queue.outcome(scene.a, ident, 61)
    await scene.queue.cancel(scene.a, ident)
    assert (await caller).state == "cancelled"


async def test_one_who_floods_leaves_room_for_others(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_WAITING", 4)
    ident = await sent(scene)
    callers = [asyncio.create_task(scene.queue.outcome(scene.a, ident, 60))]
    await waiting(scene, 1)
    with pytest.raises(Busy):
        await scene.queue.outcome(scene.a, ident, 1)
    for number in range(3):
        callers.append(asyncio.create_task(scene.queue.outcome(OPERATOR_PRINCIPAL, ident, 60)))
        await waiting(scene, 2 + number)
    with pytest.raises(Busy):
        await scene.queue.outcome(OPERATOR_PRINCIPAL, ident, 1)
    await scene.queue.cancel(scene.a, ident)
    await asyncio.gather(*callers)
    again = asyncio.create_task(scene.queue.outcome(scene.a, await sent(scene), 60))
    await waiting(scene, 1)
    again.cancel()


async def test_a_coordinator_of_elsewhere_is_refused_and_that_is_noted(scene: Any) -> None:
    """A role counts in the environment of the agent that has it, and nowhere else."""
    ident = await sent(scene)
    stranger = Principal("prod_agent_boss", Role.COORDINATOR, "production")
    with pytest.raises(Denied):
        await scene.queue.outcome(stranger, ident)
    with pytest.raises(Denied):
        await scene.queue.outcome(stranger, ident, 60)
    assert not scene.queue.awaited
