"""Several messages in one transaction, and one for each agent of a group."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Draft, codec
from swarmdeck.engine import actions as act
from swarmdeck.engine.agent import Identity, connect_agent
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Busy, Defect, InvalidInput, NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import broadcast, claiming
from swarmdeck.engine.settings import load_settings

SWARM, TEAM = "dev_swarm_a", "dev_team_web"


def draft(kind: str = "work", **fields: Any) -> tuple[Any, ...]:
    given = {"priority": 5, "delay_s": 0, "expires_s": None, "key": None, "to": None} | fields
    return (kind, b"1", *given.values(), None)


async def audited(scene: Any) -> list[tuple[str, str]]:
    rows = await scene.rows("SELECT action, object FROM audit ORDER BY sequence")
    return [row for row in rows if row[0].startswith("queue.")]


# --- several ----------------------------------------------------------------------------------


async def test_several_messages_are_one_commit_and_keep_their_order(scene: Any) -> None:
    before = scene.database.stats.batches
    kinds = ["a", "b", "c"]
    idents = await scene.queue.send_many(OPERATOR_PRINCIPAL, [draft(kind) for kind in kinds])
    assert idents == [f"dev_msg_{n}" for n in (1, 2, 3)]
    assert scene.database.stats.batches == before + 1
    assert [message[1] for message in await scene.claim(scene.a, 9)] == kinds
    assert (await audited(scene))[:3] == [("queue.send", ident) for ident in idents]


async def test_fields_are_those_of_each_message(scene: Any) -> None:
    await scene.queue.send_many(
        OPERATOR_PRINCIPAL,
        [draft("late", delay_s=60), draft("mine", to="dev_agent_b"), draft("soon", priority=9)],
    )
    assert scene.counts() == {"ready": 2, "delayed": 1}
    assert [message[1] for message in await scene.claim(scene.a, 9)] == ["soon"]
    assert [message[1] for message in await scene.claim(scene.b, 9)] == ["mine"]


async def test_one_that_is_refused_keeps_all_of_them_out(scene: Any) -> None:
    with pytest.raises(NotFound):
        scene.queue.send_many(OPERATOR_PRINCIPAL, [draft(), draft(to="dev_agent_nobody")])
    with pytest.raises(InvalidInput):
        scene.queue.send_many(OPERATOR_PRINCIPAL, [draft(), draft(priority=11)])
    assert scene.counts() == {}
    assert scene.queue.flow.depth == 0


async def test_one_that_the_store_refuses_keeps_all_of_them_out_and_no_others(scene: Any) -> None:
    trigger = "CREATE TRIGGER spoil BEFORE INSERT ON message WHEN new.kind = 'bad' {}"
    raise_it = "BEGIN SELECT RAISE(ABORT, 'spoilt'); END"
    await scene.database.write(lambda tx: tx.execute(trigger.format(raise_it)) and None)
    together = scene.queue.send_many(OPERATOR_PRINCIPAL, [draft(), draft("bad"), draft()])
    other = scene.send("good")
    with pytest.raises(Defect, match="spoilt"):
        await together
    assert await other
    assert scene.counts() == {"ready": 1}
    assert scene.queue.flow.depth == 1


async def test_known_keys_answer_their_first_id(scene: Any) -> None:
    first = await scene.send(key="a")
    idents = await scene.queue.send_many(
        OPERATOR_PRINCIPAL, [draft(key="a"), draft(key="b"), draft(key="b"), draft()]
    )
    assert idents[0] == first
    assert idents[1] == idents[2]
    assert scene.counts() == {"ready": 3}
    assert scene.queue.flow.depth == 3


async def test_a_consumer_that_waits_is_called_by_several(scene: Any) -> None:
    waiting = asyncio.ensure_future(scene.claim(scene.a, 5, wait_s=60))
    await asyncio.sleep(0)
    await scene.queue.send_many(OPERATOR_PRINCIPAL, [draft(), draft(), draft()])
    assert len(await waiting) == 3


async def test_how_many_go_at_once_is_bounded(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await scene.queue.send_many(OPERATOR_PRINCIPAL, []) == []
    with pytest.raises(InvalidInput, match="1,001 messages"):
        scene.queue.send_many(OPERATOR_PRINCIPAL, [draft()] * 1_001)
    monkeypatch.setattr(broadcast, "MAX_BYTES_AT_ONCE", 5)
    with pytest.raises(InvalidInput, match="6 bytes together"):
        scene.queue.send_many(OPERATOR_PRINCIPAL, [draft()] * 6)


# --- one for each -----------------------------------------------------------------------------


async def test_each_agent_but_the_sender_gets_a_message_of_its_own(scene: Any) -> None:
    before = scene.database.stats.batches
    idents = await scene.queue.broadcast(scene.a, "news", b'"hear"')
    assert len(idents) == 2
    assert scene.database.stats.batches == before + 1
    assert await scene.claim(scene.a, 9) == []
    for agent in (scene.b, scene.c):
        [message] = await scene.claim(agent, 9)
        assert (message[1], message[6]) == ("news", "dev_agent_a")
    assert ("queue.broadcast", "development") in await audited(scene)


async def test_a_team_and_a_swarm_are_those_in_them_now(scene: Any) -> None:
    scene.town.settle("dev_agent_b", teams=(TEAM,))
    scene.town.settle("dev_agent_c", swarm="dev_swarm_b")
    assert len(await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", TEAM)) == 1
    assert len(await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", SWARM)) == 2
    assert len(await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", "dev_agent_c")) == 1
    with pytest.raises(NotFound):
        scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", "dev_team_none")


async def test_said_again_with_its_key_it_reaches_only_those_who_have_none(scene: Any) -> None:
    first = await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", key="monday")
    scene.town.settle("dev_agent_d")
    again = await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", key="monday")
    assert again[:3] == first
    assert scene.counts() == {"ready": 4}
    with pytest.raises(InvalidInput):
        scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", key="k" * 505)


async def test_a_broadcast_that_does_not_fit_reaches_nobody(scene: Any) -> None:
    scene.queue.flow.resize(3)
    await scene.send()
    with pytest.raises(Busy, match="3 more do not fit"):
        scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1")
    assert scene.counts() == {"ready": 1}


async def test_keys_that_are_not_of_a_member_are_found(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: one key for all of them is one message for all of them."""
    monkeypatch.setattr("swarmdeck.engine.queue.sending.key_for", lambda key, _: key)
    await scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1", key="monday")
    assert scene.counts() == {"ready": 1}


# --- poison -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["nack", "lease", "death"])
async def test_poison_never_blocks_its_priority(scene: Any, end: str) -> None:
    """However a consumer fails on it, what stands behind it in its priority is done, each at its
    first attempt or with one that was taken from it, and the poison ends as a dead letter."""
    poison = await scene.send("poison")
    others = [await scene.send("work") for _ in range(20)]
    rounds = 0
    while scene.counts().get("done", 0) < len(others):
        rounds += 1
        assert rounds < 40
        messages = await scene.claim(scene.a, 8, lease_s=10)
        held = {message[0] for message in messages}
        if not messages:
            await scene.later(4)
        elif poison not in held:
            for message in messages:
                await scene.queue.ack(scene.a, message[0], message[4])
        elif end == "nack":
            for message in messages:
                settle = scene.queue.nack if message[0] == poison else scene.queue.ack
                await settle(scene.a, message[0], message[4])
        elif end == "lease":
            await scene.later(11)
        else:
            await scene.queue.release("dev_agent_a")
    while await scene.state(poison) != "dead":
        await scene.later(70)
        await scene.claim(scene.a, 1, lease_s=10)
        await scene.later(11)
    attempts = await scene.rows("SELECT max(attempt) FROM message WHERE kind = 'work'")
    assert attempts[0][0] <= 2, "what was claimed beside the poison lost one attempt at most"


async def test_innocents_that_travel_with_poison_are_found(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: failed messages are handed out in company."""
    monkeypatch.setattr(claiming, "_shares", lambda heads, limits: [list(heads)] * len(limits))
    await scene.send("poison")
    innocent = await scene.send("work")
    for _ in range(3):
        await scene.claim(scene.a, 8, lease_s=10)
        await scene.queue.release("dev_agent_a")
        await scene.later(61)
    assert await scene.state(innocent) == "dead"


# --- over handles and socket ------------------------------------------------------------------


async def test_agents_send_several_broadcast_and_wait_over_the_socket(tmp_path: Path) -> None:
    settings = load_settings(None, {}, {"queue.depth.development": "3"})
    opened = open_core(tmp_path, settings=settings, transient=False, headless=True, clock=None)
    async with opened as core:
        engine = core.engine
        agents = [await engine.agents.register("development", name=n) for n in ("a", "b")]
        token = await engine.run(act.AgentToken(id=agents[0].id))
        identity = Identity(socket=core._socket, agent=agents[0].id, token=token.token)
        async with connect_agent(identity) as agent:
            idents = await agent.queue.send_many([Draft(kind="x", body={"n": n}) for n in (1, 2)])
            assert len(idents) == 2
            [heard] = await agent.queue.broadcast("news", {"text": "hear"})
            with pytest.raises(Busy, match="3 of 3"):
                await agent.queue.send("more")
            late = asyncio.ensure_future(agent.queue.send("more", wait_s=30))
            mine = engine.queue("development", as_=agents[1])
            [message] = await mine.claim(1, kinds=["news"])
            assert (message.id, message.sender) == (heard, agent.id)
            await mine.ack(message)
            assert await late
        flow = await engine.run(act.QueuePause(environment="development", reason="noon"))
        assert (flow.mode, flow.reason, flow.open, flow.limit) == ("paused", "noon", 3, 3)
        overview = await engine.views.overview()
        [view] = [each for each in overview.environments if each.name == "development"]
        assert (view.queue_mode, view.queue_reason, view.queue_limit) == ("paused", "noon", 3)
        assert view.oldest_ready_at_us is not None
        [told] = await engine.run(act.QueueFlow(environment="development"))
        assert told.mode == "paused"
        done = await engine.run(
            act.QueueBroadcast(environment="testing", kind="news", body=codec.decode_json(b"1"))
        )
        assert done.changed == 0
