"""Messages that have ended are deleted in time, and nothing else is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import retention

DAY_S = 86_400.0


async def sweep(scene: Any) -> int:
    """A whole pass; how many messages went."""
    gone: int = await scene.queue.retention.sweep(60)
    assert not scene.queue.retention.is_behind
    return gone


async def one_of_each(scene: Any) -> dict[str, str]:
    """A message in each state, by state."""
    found = {state: await scene.send(priority=10) for state in ("done", "dead", "leased")}
    found["delayed"] = await scene.send(delay_s=40 * DAY_S)
    found["ready"] = await scene.send(priority=1)
    found["expired"] = await scene.send(expires_s=1, priority=1)
    found["cancelled"] = await scene.send()
    await scene.claim(limit=3, lease_s=DAY_S)
    await scene.queue.ack(scene.a, found["done"], 1)
    await scene.queue.cancel(OPERATOR_PRINCIPAL, found["cancelled"])
    for attempt in (1, 2, 3):
        await scene.queue.nack(scene.a, found["dead"], attempt, "no", 0)
        if attempt < 3:
            assert await scene.ids() == [found["dead"]]
    await scene.later(2)
    return found


async def test_each_state_is_kept_for_its_time(scene: Any) -> None:
    found = await one_of_each(scene)
    states = {state: await scene.state(ident) for state, ident in found.items()}
    assert all(state == now for state, now in states.items())
    scene.clock.advance(DAY_S - 3)
    assert await sweep(scene) == 0
    scene.clock.advance(60)
    assert await sweep(scene) == 3
    left = {row[0] for row in await scene.rows("SELECT id FROM message")}
    assert {found[state] for state in ("done", "expired", "cancelled")}.isdisjoint(
        {f"dev_msg_{ident}" for ident in left}
    )
    scene.clock.advance(29 * DAY_S)
    assert await sweep(scene) == 1
    assert await scene.rows("SELECT count(*) FROM message WHERE state = 4") == [(0,)]
    assert len(await scene.rows("SELECT id FROM message")) == 3


async def test_the_trail_has_one_row_a_step(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 4)
    monkeypatch.setattr(retention, "LOOK_ROWS", 6)
    for _ in range(10):
        await scene.send()
        [[ident, *_]] = await scene.claim()
        await scene.queue.ack(scene.a, ident, 1)
    kept = await scene.send()
    scene.clock.advance(DAY_S + 1)
    assert await sweep(scene) == 10
    rows = await scene.rows("SELECT object, detail FROM audit WHERE action = 'queue.clean'")
    assert [row[0] for row in rows] == ["4 messages", "2 messages", "4 messages"]
    assert rows[0][1] == "done for 86400 s from 1 to 4"
    assert await scene.rows("SELECT id FROM message") == [(int(kept.rpartition("_")[2]),)]


async def test_a_large_message_makes_a_step_of_its_own(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_BYTES", 1_000)
    for size in (500, 900, 900, 10):
        ident = await scene.send(body=b'"' + bytes([97]) * size + b'"')
        await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    scene.clock.advance(DAY_S + 1)
    assert await sweep(scene) == 4
    rows = await scene.rows("SELECT object FROM audit WHERE action = 'queue.clean'")
    assert [row[0] for row in rows] == ["1 messages", "1 messages", "2 messages"]


async def test_what_is_retried_between_look_and_step_stays(scene: Any) -> None:
    ident = await scene.send(max_attempts=1)
    await scene.claim()
    await scene.queue.nack(scene.a, ident, 1, "no")
    scene.clock.advance(31 * DAY_S)
    until_us = scene.clock.wall_us() - int(30 * DAY_S * 1_000_000)
    found = await scene.database.read(retention.look(4, 0, until_us))
    [(number, _)] = found.rows
    await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    moves = await scene.database.write(retention.clean([number], 4, until_us, 1), topic="queue")
    assert moves == []
    assert await scene.state(ident) == "ready"


async def test_a_pass_goes_on_where_its_time_was_up(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_ROWS", 2)
    step = retention.Retention._step

    async def slow_step(self: retention.Retention, state: int) -> int:
        scene.clock.advance(2)
        return await step(self, state)

    monkeypatch.setattr(retention.Retention, "_step", slow_step)
    for _ in range(6):
        await scene.queue.cancel(OPERATOR_PRINCIPAL, await scene.send())
    scene.clock.advance(DAY_S + 1)
    gone = [await scene.queue.retention.sweep(1)]
    while scene.queue.retention.is_behind:
        gone.append(await scene.queue.retention.sweep(1))
    assert sum(gone) == 6
    assert max(gone) == 2


async def test_passes_are_a_minute_apart(scene: Any) -> None:
    assert await sweep(scene) == 0
    await scene.queue.cancel(OPERATOR_PRINCIPAL, await scene.send())
    shorter = structs.replace(scene.settings, ended_keep_s=0.0)
    scene.queue.retention._settings = shorter
    scene.clock.advance(59)
    assert await sweep(scene) == 0
    scene.clock.advance(1)
    assert await sweep(scene) == 1


async def test_one_sweep_at_a_time(scene: Any) -> None:
    for _ in range(3):
        await scene.queue.cancel(OPERATOR_PRINCIPAL, await scene.send())
    scene.clock.advance(DAY_S + 1)
    found = await asyncio.gather(*(scene.queue.retention.sweep(60) for _ in range(3)))
    assert sorted(found) == [0, 0, 3]
