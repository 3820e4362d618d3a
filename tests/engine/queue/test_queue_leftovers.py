"""Messages for somebody who has ended are refused, or cancelled with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Conflict
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue.leftovers import GONE_S, MOST, STEP_ROWS
from swarmdeck.engine.queue.schedules import Wanted

GONE = "dev_agent_c"
WHY = "swarm dev_swarm_z has ended: terminated"


async def test_nothing_is_sent_to_somebody_who_has_ended(scene: Any) -> None:
    scene.town.over[GONE] = WHY
    for send in (
        lambda: scene.queue.send(OPERATOR_PRINCIPAL, "k", b"1", to=GONE),
        lambda: scene.queue.send_many(OPERATOR_PRINCIPAL, [("k", b"1", 5, 0, None, None, GONE, 3)]),
        lambda: scene.queue.broadcast(OPERATOR_PRINCIPAL, "k", b"1", to=GONE),
    ):
        with pytest.raises(Conflict, match="has ended: terminated") as caught:
            send()
        assert "swarm list" in caught.value.hint
    assert scene.queue.counts().ready == 0


async def test_what_waits_is_cancelled_with_the_reason(scene: Any) -> None:
    ready = await scene.send(to=GONE, priority=8)
    later = await scene.send(to=GONE, delay_s=10)
    other = await scene.send(to="dev_agent_b")
    waiting = asyncio.ensure_future(scene.queue.outcome(OPERATOR_PRINCIPAL, ready, 60))
    await asyncio.sleep(0)
    assert await scene.queue.cancel_for([GONE], WHY) == 2
    assert (await waiting).wire[:3] == ["cancelled", None, WHY]
    assert (await scene.queue.show(later)).error == WHY
    assert (await scene.queue.show(other)).state == "ready"
    assert (scene.queue.flow.depth, scene.queue.counts().cancelled) == (1, 2)
    rows = await scene.rows("SELECT actor, object, detail FROM audit WHERE action='queue.cancel'")
    assert rows == [
        ("engine", ready, f"was ready: {WHY}"),
        ("engine", later, f"was delayed: {WHY}"),
    ]


async def test_what_somebody_holds_or_has_done_stays(scene: Any) -> None:
    gone = scene.town.agents[GONE]
    done = await scene.send(to=GONE)
    [message] = await scene.claim(gone)
    await scene.queue.ack(gone, message[0], message[4])
    held = await scene.send(to=GONE)
    await scene.claim(gone)
    assert await scene.queue.cancel_for([GONE], WHY) == 0
    states = [(await scene.queue.show(ident)).state for ident in (done, held)]
    assert states == ["done", "leased"]


async def test_many_are_cancelled_in_steps_and_no_more_than_bounded_at_once(scene: Any) -> None:
    scene.queue.flow.resize(MOST * 2)
    count = MOST + STEP_ROWS
    bodies = [("k", b"1", 5, 0, None, None, GONE, 3)] * (count // 3)
    for _ in range(3):
        await scene.queue.send_many(OPERATOR_PRINCIPAL, bodies)
    sequences = "SELECT count(*) FROM audit WHERE action = 'queue.cancel'"
    assert await scene.queue.cancel_for([GONE], WHY) == MOST
    assert await scene.rows(sequences) == [(MOST,)]
    scene.town.over[GONE] = WHY
    await scene.queue.leftovers.sweep()
    assert (scene.queue.counts().ready, scene.queue.flow.depth) == (0, 0)


async def test_what_came_after_the_end_is_cancelled_too(scene: Any) -> None:
    sent = await scene.send(to=GONE)
    later = await scene.send(to=GONE, delay_s=10)
    scene.town.over[GONE] = WHY
    await scene.queue.leftovers.sweep()
    assert (await scene.queue.show(sent)).error == WHY
    await scene.queue.retry(OPERATOR_PRINCIPAL, sent)
    await scene.later(11)
    await scene.queue.leftovers.sweep()
    states = [(await scene.queue.show(ident)).state for ident in (sent, later)]
    assert states == ["cancelled", "cancelled"]


async def test_what_is_for_an_id_that_nobody_has_waits_for_recovery_first(scene: Any) -> None:
    sent = await scene.send(to=GONE)
    anybody = await scene.send()
    del scene.town.agents[GONE]
    for wait_s in (0, GONE_S - 1):
        scene.clock.advance(wait_s)
        await scene.queue.leftovers.sweep()
    assert (await scene.queue.show(sent)).state == "ready"
    scene.clock.advance(1)
    await scene.queue.leftovers.sweep()
    assert (await scene.queue.show(sent)).error == f"nobody is called {GONE} any more"
    assert (await scene.queue.show(anybody)).state == "ready"


async def test_a_schedule_for_somebody_who_has_ended_is_late_and_says_why(scene: Any) -> None:
    schedules = scene.queue.schedules
    made = await schedules.create(
        OPERATOR_PRINCIPAL, Wanted(name="x", kind="k", body=b"1", every_s=5, to=GONE)
    )
    scene.town.over[GONE] = WHY
    scene.clock.advance(6)
    await schedules.tick()
    [seen] = await schedules.views()
    assert (seen.state, seen.reason) == ("late", WHY)
    assert (schedules.late(1), schedules.late(2)) == ([seen], [])
    with pytest.raises(Conflict, match="has ended"):
        await schedules.run(OPERATOR_PRINCIPAL, made.id)
    with pytest.raises(Conflict, match="has ended"):
        await schedules.create(
            OPERATOR_PRINCIPAL, Wanted(name="y", kind="k", body=b"1", every_s=5, to=GONE)
        )
