"""What an engine for one command learns of a queue, without reading each message that is ready."""

from __future__ import annotations

from typing import Any

from swarmdeck.engine.queue import MessageQueue
from swarmdeck.engine.queue.statements import COUNT_AGES, FIRST_AGES


async def opened_briefly(scene: Any) -> MessageQueue:
    queue = MessageQueue(
        scene.database, scene.settings, scene.clock, scene.town, scene.writes, scene.ring
    )
    await queue.open(brief=True)
    return queue


async def fill(scene: Any) -> None:
    for priority in (3, 3, 8):
        for to in (None, "dev_agent_a", "dev_agent_b"):
            await scene.send(priority=priority, to=to)
            scene.clock.advance(1)
    await scene.claim(scene.c)
    await scene.send(delay_s=100)


async def test_lanes_and_oldest_are_those_of_a_full_opening(scene: Any) -> None:
    await fill(scene)
    queue = await opened_briefly(scene)
    assert queue.lane_views() == scene.queue.lane_views()
    assert queue.counts() == scene.queue.counts()
    assert queue.flow_view() == scene.queue.flow_view()
    await queue.close()


async def test_what_changes_then_is_counted(scene: Any) -> None:
    await fill(scene)
    await scene.queue.close()
    scene.queue = queue = await opened_briefly(scene)
    newest = await scene.send(priority=2)
    oldest_us = queue.flow_view().oldest_ready_at_us
    while found := await scene.claim(scene.b, 1):
        await queue.ack(scene.b, found[0][0], 1)
        assert found[0][0] != newest or queue.lane_views()[-2].oldest_at_us is None
    while await scene.claim(scene.a, 1):
        pass
    assert queue.counts().ready == 0
    assert queue.flow_view().oldest_ready_at_us is None
    assert oldest_us is not None


async def test_a_brief_opening_reads_no_page_of_most_messages(scene: Any) -> None:
    async def plan(statement: str) -> str:
        rows = await scene.rows(f"EXPLAIN QUERY PLAN {statement}", "development")
        return " / ".join(row[3] for row in rows)

    assert "USING COVERING INDEX message_ready" in await plan(FIRST_AGES)
    assert "COVERING" not in await plan(COUNT_AGES)
