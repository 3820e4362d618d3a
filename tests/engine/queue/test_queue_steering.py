"""What operators do: look, retry, cancel, release, purge; and what a restart keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, MessageState


async def bury(scene: Any, ident: str) -> None:
    """Use up all attempts of the only ready message."""
    for attempt in (1, 2, 3):
        await scene.claim()
        await scene.queue.nack(scene.a, ident, attempt, "boom", 0)


async def test_a_retried_dead_letter_has_fresh_attempts(scene: Any) -> None:
    ident = await scene.send()
    await bury(scene, ident)
    view = await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    assert (view.state, view.attempt, view.max_attempts) == ("ready", 3, 6)
    for attempt in (4, 5, 6):
        [message] = await scene.claim()
        assert message[4] == attempt, "a lease of its earlier life stays stale"
        state = await scene.queue.nack(scene.a, ident, attempt, "boom", 0)
    assert state == "dead"


async def test_the_wait_of_a_retried_message_starts_anew(scene: Any) -> None:
    ident = await scene.send()
    await bury(scene, ident)
    await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    await scene.claim()
    await scene.queue.nack(scene.a, ident, 4, "boom")
    due_us = (await scene.queue.show(ident)).due_at_us
    assert due_us - scene.clock.wall_us() <= 1_100_000


async def test_an_expired_message_that_is_retried_does_not_expire_again(scene: Any) -> None:
    ident = await scene.send(expires_s=1)
    await scene.later(1)
    await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    await scene.later(1)
    assert await scene.ids() == [ident]


@pytest.mark.parametrize("state", ["ready", "delayed", "leased"])
async def test_open_messages_can_be_cancelled_and_retried(scene: Any, state: str) -> None:
    ident = await scene.send(delay_s=5 if state == "delayed" else 0)
    if state == "leased":
        await scene.claim()
    assert (await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)).state == "cancelled"
    await scene.later(60)
    assert scene.counts() == {"cancelled": 1}
    if state == "leased":
        with pytest.raises(Conflict, match="it is cancelled"):
            await scene.queue.ack(scene.a, ident, 1)
    with pytest.raises(Conflict, match="is cancelled"):
        await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    assert await scene.ids() == [ident]


async def test_what_is_done_or_open_cannot_be_retried(scene: Any) -> None:
    ident = await scene.send()
    with pytest.raises(Conflict, match="is ready"):
        await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    await scene.claim()
    await scene.queue.ack(scene.a, ident, 1)
    with pytest.raises(Conflict, match="is done"):
        await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    with pytest.raises(NotFound):
        await scene.queue.retry(OPERATOR_PRINCIPAL, "dev_msg_2")


async def test_an_agent_steers_only_what_it_sent(scene: Any) -> None:
    mine = await scene.queue.send(scene.a, "work", b"1")
    theirs = await scene.queue.send(scene.b, "work", b"1")
    await scene.queue.cancel(scene.a, mine)
    with pytest.raises(Denied):
        await scene.queue.cancel(scene.a, theirs)
    with pytest.raises(Denied):
        await scene.queue.purge(scene.a, kind="work")


async def test_release_frees_all_leases_of_a_holder_at_once(scene: Any) -> None:
    await asyncio.gather(*(scene.send() for _ in range(250)))
    last = await scene.send(priority=10, max_attempts=1)
    for _ in range(3):
        await scene.claim(scene.a, limit=90)
    await scene.send()
    [kept] = await scene.ids(scene.b, limit=1)
    assert await scene.queue.release("dev_agent_a") == 251
    assert scene.counts() == {"ready": 250, "dead": 1, "leased": 1}
    assert (
        await scene.queue.show(last)
    ).error == "dev_agent_a ended while it held this (attempt 1)"
    assert await scene.state(kept) == "leased"
    assert await scene.queue.release("dev_agent_a") == 0


async def test_release_takes_back_a_claim_that_is_on_its_way(scene: Any) -> None:
    ident = await scene.send()
    claim = scene.queue.claim(scene.a)
    assert await scene.queue.release("dev_agent_a") == 1
    assert claim.done()
    assert await scene.state(ident) == "ready"


async def test_purge_by_filter_and_by_id(scene: Any) -> None:
    await asyncio.gather(*(scene.send("x", to="dev_swarm_a") for _ in range(600)))
    await asyncio.gather(*(scene.send("y") for _ in range(3)))
    await scene.claim(limit=5)
    done = await scene.ids(limit=1)
    await scene.queue.ack(scene.a, done[0], 1)
    assert await scene.queue.purge(OPERATOR_PRINCIPAL, kind="x", to="dev_swarm_a") == 600
    assert scene.counts() == {"ready": 3}
    assert await scene.queue.purge(OPERATOR_PRINCIPAL, ids=["dev_msg_601", "dev_msg_1"]) == 1
    assert await scene.queue.purge(OPERATOR_PRINCIPAL, sender="dev_agent_a") == 0
    with pytest.raises(InvalidInput):
        await scene.queue.purge(OPERATOR_PRINCIPAL)
    assert scene.queue.counters.done_by == {}


async def test_an_id_is_not_used_again_after_a_purge(scene: Any) -> None:
    ident = await scene.send()
    await scene.queue.purge(OPERATOR_PRINCIPAL, ids=[ident])
    await scene.reopen()
    assert await scene.send() == "dev_msg_2"
    with pytest.raises(NotFound):
        await scene.queue.show(ident)


async def test_lists_come_in_a_useful_order(scene: Any) -> None:
    low = await scene.send("x", priority=1, to="dev_agent_b")
    high = await scene.send("y", priority=9)
    delayed = await scene.send("x", priority=5, delay_s=10)
    await scene.send("x", priority=7)
    [leased] = await scene.ids(limit=1, kinds=["x"])

    async def ids(**wanted: Any) -> list[str]:
        return [view.id for view in await scene.queue.list(**wanted)]

    assert await ids() == [high, leased, delayed, low]
    assert await ids(limit=2) == [high, leased]
    assert await ids(kind="x") == [leased, delayed, low]
    assert await ids(holder="dev_agent_a") == [leased]
    assert await ids(state=MessageState.READY) == [high, low]
    assert await ids(state=MessageState.READY, kind="y") == [high]
    assert await ids(state=MessageState.READY, holder="dev_agent_a") == []
    assert await ids(state=MessageState.DELAYED) == [delayed]
    await scene.queue.cancel(OPERATOR_PRINCIPAL, high)
    await scene.queue.cancel(OPERATOR_PRINCIPAL, low)
    assert await ids(state=MessageState.CANCELLED) == [high, low]
    await scene.queue.ack(scene.a, leased, 1)
    assert await ids(state=MessageState.DONE) == [leased]
    assert await ids(state=MessageState.DONE, holder="dev_agent_a", kind="x") == [leased]
    assert await ids(state=MessageState.DONE, holder="dev_agent_b") == []


async def test_a_shown_message_has_its_body_and_a_listed_one_has_not(scene: Any) -> None:
    ident = await scene.send("work", b'{"a":[1,2]}', to="dev_swarm_a", max_attempts=5)
    view = await scene.queue.show(ident)
    assert (view.body, view.to, view.max_attempts) == ({"a": [1, 2]}, "dev_swarm_a", 5)
    [listed] = await scene.queue.list()
    assert listed.body is None


async def test_a_tally_says_what_has_become_of_what_was_sent(scene: Any) -> None:
    await asyncio.gather(*(scene.send(to="dev_swarm_a", max_attempts=1) for _ in range(5)))
    await scene.send()
    for agent in (scene.a, scene.a, scene.b):
        [message] = await scene.claim(agent, kinds=["work"])
        await scene.queue.ack(agent, message[0], 1)
    [message] = await scene.claim()
    await scene.queue.nack(scene.a, message[0], 1, "boom")
    tally = await scene.queue.tally("dev_swarm_a")
    assert (tally.sent, tally.done, tally.dead) == (5, 3, 1)
    assert tally.done_by == {"dev_agent_a": 2, "dev_agent_b": 1}


async def test_a_restart_keeps_counts_and_leases(scene: Any) -> None:
    await asyncio.gather(*(scene.send(kind) for kind in "xxyyz"))
    await scene.send("x", delay_s=100)
    poison = await scene.send("p", max_attempts=1)
    [message] = await scene.claim(kinds=["p"])
    await scene.queue.nack(scene.a, poison, 1, "boom")
    [first, second] = await scene.ids(kinds=["x"])
    await scene.queue.nack(scene.a, first, 1, "again", 0)
    await scene.ids(scene.b, limit=1)
    await scene.queue.ack(scene.b, first, 2)
    before = (scene.counts(), scene.queue.counters.redelivered, scene.queue.counters.leases)
    await scene.reopen()
    after = (scene.counts(), scene.queue.counters.redelivered, scene.queue.counters.leases)
    assert before == after
    assert before[:2] == ({"ready": 3, "delayed": 1, "leased": 1, "done": 1, "dead": 1}, 1)
    await scene.check()
    await scene.queue.ack(scene.a, second, 1)
    assert message[0] == poison


async def test_what_was_due_while_nobody_ran_happens_at_the_start(scene: Any) -> None:
    delayed = await scene.send(delay_s=5)
    leased = await scene.send()
    await scene.claim(lease_s=5)
    scene.clock.advance(10)
    await scene.reopen()
    async with asyncio.timeout(5):
        got = await scene.queue.claim(scene.b, 2, wait_s=60)
        if len(got) < 2:
            got += await scene.queue.claim(scene.b, 1, wait_s=60)
    assert sorted(message[0] for message in got) == sorted([delayed, leased])


async def test_writes_happen_with_the_ack_or_not_at_all(scene: Any) -> None:
    ident = await scene.queue.send(scene.b, "work", b"1")
    await scene.claim()
    writes = [["demo", "k1", 0, b"1", None, None, None], ["demo", "k2", 0, b"2", None, None, None]]
    scene.writes.refused = "dev_agent_b"
    with pytest.raises(Denied):
        await scene.queue.ack(scene.a, ident, 1, b"1", writes)
    assert await scene.state(ident) == "leased"
    assert await scene.rows("SELECT id FROM team") == []
    assert scene.writes.published == []
    scene.writes.refused = ""
    await scene.queue.ack(scene.a, ident, 1, b"1", writes)
    assert await scene.rows("SELECT id FROM team") == [("k1",), ("k2",)]
    assert scene.writes.staged[-1] == ("dev_agent_a", "dev_agent_b")
    assert scene.writes.published == ["k1", "k2"]


async def test_a_stale_ack_writes_nothing(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    with pytest.raises(Conflict):
        await scene.queue.ack(scene.a, ident, 2, None, [["demo", "k", 0, b"1"]])
    assert scene.writes.staged == []


async def test_the_sender_that_has_gone_gives_its_name_only(scene: Any) -> None:
    gone = scene.town.settle("dev_agent_x", teams=("dev_team_web",))
    ident = await scene.queue.send(gone, "work", b"1")
    del scene.town.agents["dev_agent_x"]
    await scene.claim()
    assert scene.queue._sender(1).teams == ()
    await scene.queue.ack(scene.a, ident, 1, None, [["demo", "k", 0, b"1"]])
    assert scene.writes.staged == [("dev_agent_a", "dev_agent_x")]


async def test_one_refused_ack_in_a_batch_with_writes_fails_alone(scene: Any) -> None:
    await asyncio.gather(*(scene.send() for _ in range(6)))
    claimed = await scene.claim(limit=6)
    acks = [
        scene.queue.ack(
            scene.a, message[0], 9 if n == 2 else 1, None,
            [["demo", f"k{n}", 0, b"1"]] if n % 2 == 0 else [],
        )
        for n, message in enumerate(claimed)
    ]  # fmt: skip
    answers = await asyncio.gather(*acks, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if answer is not None] == [2]
    assert await scene.rows("SELECT id FROM team ORDER BY id") == [("k0",), ("k4",)]
    assert scene.counts() == {"done": 5, "leased": 1}
