"""Messages of somebody who is gone are handed to somebody who is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.queue.readdress import SELECT_DELAYED, SELECT_READY, STEP_ROWS

GONE = "dev_agent_c"
SWARM = "dev_swarm_a"


async def test_what_waits_for_one_is_claimed_by_the_other(scene: Any) -> None:
    mine = await scene.send(body=b'{"n":1}', to=GONE, priority=8)
    later = await scene.send(to=GONE, delay_s=10)
    other = await scene.send(to="dev_agent_b")
    assert await scene.queue.readdress([GONE], "dev_agent_a", "c is gone") == 2
    [message] = await scene.claim()
    assert (message[0], message[2], message[3]) == (mine, b'{"n":1}', 8)
    assert await scene.ids(scene.town.agents[GONE]) == []
    await scene.later(11)
    assert await scene.ids() == [later]
    assert (await scene.queue.show(other)).to == "dev_agent_b"


async def test_a_consumer_that_waits_is_woken(scene: Any) -> None:
    await scene.send(to=GONE)
    waiting = asyncio.ensure_future(scene.claim(wait_s=60))
    await asyncio.sleep(0)
    await scene.queue.readdress([GONE], SWARM, "c is gone")
    assert len(await waiting) == 1


async def test_what_somebody_works_on_or_has_ended_stays(scene: Any) -> None:
    gone = scene.town.agents[GONE]
    done = await scene.send(to=GONE)
    [message] = await scene.claim(gone)
    await scene.queue.ack(gone, message[0], message[4])
    held = await scene.send(to=GONE)
    await scene.claim(gone)
    assert await scene.queue.readdress([GONE], SWARM, "c is gone") == 0
    assert {(await scene.queue.show(ident)).to for ident in (done, held)} == {GONE}


async def test_order_within_a_priority_is_kept_over_many_steps(scene: Any) -> None:
    sent = [await one for one in [scene.send(to=GONE) for _ in range(STEP_ROWS * 2 + 5)]]
    assert await scene.queue.readdress([GONE, "dev_agent_b"], SWARM, "gone") == len(sent)
    assert await scene.ids() == sent[:100]
    rows = await scene.rows("SELECT object, detail FROM audit WHERE action = 'queue.readdress'")
    assert rows == [("100 messages", "gone"), ("100 messages", "gone"), ("5 messages", "gone")]


async def test_a_damaged_body_stays_and_holds_nobody_up(scene: Any) -> None:
    bad, good = await scene.send(to=GONE), await scene.send(to=GONE)
    number = int(bad.rpartition("_")[2])
    spoil = "UPDATE message SET body = CAST(substr(body, 1, 20) || x'00' AS BLOB) WHERE id = ?"
    await scene.database.write(lambda tx: tx.execute(spoil, (number,)) and None)
    assert await scene.queue.readdress([GONE], SWARM, "gone") == 1
    assert await scene.ids() == [good]


@pytest.mark.parametrize("statement", [SELECT_READY, SELECT_DELAYED])
async def test_they_are_found_by_an_index(scene: Any, statement: str) -> None:
    steps = [row[3] for row in await scene.rows(f"EXPLAIN QUERY PLAN {statement}", "", "[]", 0, 1)]
    assert not any(step.startswith("SCAN message") for step in steps)
