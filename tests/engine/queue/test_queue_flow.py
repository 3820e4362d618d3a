"""A queue takes in what it has room for, and can be stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine.errors import Busy, Denied, InvalidInput, SwarmDeckError, Unavailable
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role
from swarmdeck.engine.queue import flow
from swarmdeck.engine.settings import PerEnvironment

LIMIT = 5
COORDINATOR = Principal("dev_agent_lead", Role.COORDINATOR, "development", None)


@pytest.fixture
async def small(tmp_path: Path, make_scene: Callable[[Path], Any]) -> AsyncIterator[Any]:
    """A queue that holds five messages."""
    scene = make_scene(tmp_path / "development.db")
    depth = PerEnvironment[int](*[LIMIT] * 5)
    scene.settings = msgspec.structs.replace(scene.settings, depth=depth)
    await scene.open()
    try:
        yield scene
        await scene.check()
        assert scene.queue.flow.depth == scene.queue.counters.open, "nothing is on its way for ever"
    finally:
        await scene.close()


async def fill(scene: Any, count: int = LIMIT) -> list[str]:
    return list(await asyncio.gather(*(scene.send() for _ in range(count))))


async def finish_one(scene: Any) -> None:
    [message] = await scene.claim(scene.a, 1)
    await scene.queue.ack(scene.a, message[0], message[4])


# --- room -------------------------------------------------------------------------------------


async def test_a_full_queue_says_how_full_it_is_and_what_to_do(small: Any) -> None:
    await fill(small)
    with pytest.raises(Busy, match="5 of 5 messages are open; a message more") as caught:
        small.send()
    assert caught.value.retryable
    assert "[queue.depth] development" in caught.value.hint
    await finish_one(small)
    await small.send()


async def test_what_is_on_its_way_into_the_store_counts(small: Any) -> None:
    """Sends of one turn, none of which is committed yet."""
    sends = [small.send() for _ in range(LIMIT)]
    with pytest.raises(Busy):
        small.send()
    assert len(set(await asyncio.gather(*sends))) == LIMIT


async def test_delayed_and_leased_messages_count_and_ended_ones_do_not(small: Any) -> None:
    await small.send(delay_s=60)
    await small.send()
    await small.send(expires_s=1)
    [message] = await small.claim(small.a)
    assert small.queue.flow.depth == 3
    await small.later(2)
    await small.queue.cancel(OPERATOR_PRINCIPAL, message[0])
    assert small.queue.flow.depth == 1
    await fill(small, 4)


async def test_a_known_key_and_a_failed_send_give_their_place_back(small: Any) -> None:
    await small.send(key="a")
    for _ in range(3 * LIMIT):
        await small.send(key="a")
    assert small.queue.flow.depth == 1
    await small.database.write(lambda tx: tx.execute("ALTER TABLE message RENAME TO gone") and None)
    for _ in range(3 * LIMIT):
        with pytest.raises(SwarmDeckError):
            await small.send()
    await small.database.write(lambda tx: tx.execute("ALTER TABLE gone RENAME TO message") and None)
    assert small.queue.flow.depth == 1


async def test_a_sender_that_is_cancelled_on_the_way_still_counts_once(small: Any) -> None:
    sends = [small.send() for _ in range(LIMIT)]
    for send in sends:
        send.cancel()
    await small.database.write(lambda _: None)
    assert small.queue.flow.depth == small.queue.counters.open == LIMIT


async def test_senders_wait_in_order_and_get_in_as_room_comes(small: Any) -> None:
    await fill(small)
    waiting = [small.send(f"late-{n}", wait_s=10) for n in range(3)]
    with pytest.raises(Busy, match="3 senders wait"):
        small.send()
    for number in range(3):
        await finish_one(small)
        await waiting[number]
        assert [each.done() for each in waiting] == [n <= number for n in range(3)]
    kinds = [kind for _, kind in await small.rows("SELECT id, kind FROM message ORDER BY id")]
    assert kinds[-3:] == ["late-0", "late-1", "late-2"]


async def test_nobody_overtakes_one_who_waits_for_room_for_several(small: Any) -> None:
    small.queue.flow.resize(8)
    await fill(small, 8)
    draft = ("work", b"1", 5, 0, None, None, None, None)
    several = small.queue.send_many(OPERATOR_PRINCIPAL, [draft] * 2, wait_s=10)
    one = small.send("one", wait_s=10)
    await finish_one(small)
    await small.database.write(lambda _: None)
    assert not several.done()
    assert not one.done(), "there is room for one, but it is not its turn"
    with pytest.raises(Busy):
        small.send()
    await finish_one(small)
    assert len(await several) == 2
    assert not one.done()
    await finish_one(small)
    await one


async def test_who_wants_much_of_the_queue_at_once_holds_nobody_up(small: Any) -> None:
    await fill(small, 1)
    draft = ("work", b"1", 5, 0, None, None, None, None)
    greedy = [small.queue.send_many(small.a, [draft] * LIMIT, wait_s=10) for _ in range(2)]
    await asyncio.gather(small.send("one"), small.send("two", wait_s=10))
    assert not any(each.done() for each in greedy)
    for _ in range(3):
        await finish_one(small)
    await greedy[0]
    assert small.queue.flow.depth == LIMIT
    greedy[1].cancel()


async def test_who_leaves_the_line_lets_those_behind_in_and_leaves_no_trace(small: Any) -> None:
    await fill(small, LIMIT - 1)
    draft = ("work", b"1", 5, 0, None, None, None, None)
    several = small.queue.send_many(OPERATOR_PRINCIPAL, [draft] * 3, wait_s=10)
    one = small.send("one", wait_s=10)
    several.cancel()
    await one
    assert small.queue.flow.waiting == 0
    rows = await small.rows("SELECT count(*) FROM message")
    assert rows == [(LIMIT,)]


async def test_who_has_waited_long_enough_is_told(small: Any) -> None:
    await fill(small)
    short, long = small.send(wait_s=5), small.send(wait_s=50)
    await small.later(6)
    with pytest.raises(Busy, match="full"):
        await short
    assert not long.done()
    await finish_one(small)
    await long
    await small.later(60)


async def test_each_way_out_of_a_queue_makes_room(small: Any) -> None:
    """Acks, dead letters, expiries, cancels and purges."""
    idents = await fill(small, 3)
    await small.send("ends", expires_s=5)
    await small.send("dies", max_attempts=1, priority=9)
    waiting = [small.send(f"late-{n}", wait_s=60) for n in range(5)]
    await small.queue.cancel(OPERATOR_PRINCIPAL, idents[0])
    await waiting[0]
    [dying] = await small.claim(small.a, 1)
    await small.queue.nack(small.a, dying[0], dying[4], "no")
    await waiting[1]
    await small.later(6)
    await waiting[2]
    await small.queue.purge(OPERATOR_PRINCIPAL, ids=[idents[1]])
    await waiting[3]
    await finish_one(small)
    await waiting[4]


async def test_more_than_ever_fit_is_not_waited_for(small: Any) -> None:
    draft = ("work", b"1", 5, 0, None, None, None, None)
    with pytest.raises(InvalidInput, match="6 messages never fit"):
        small.queue.send_many(OPERATOR_PRINCIPAL, [draft] * (LIMIT + 1), wait_s=5)
    with pytest.raises(InvalidInput, match="wait"):
        small.send(wait_s=-1)


async def test_retrying_a_dead_letter_needs_room(small: Any) -> None:
    dead = await small.send(max_attempts=1)
    [message] = await small.claim(small.a)
    await small.queue.nack(small.a, message[0], message[4], "no")
    await fill(small)
    with pytest.raises(Busy):
        await small.queue.retry(OPERATOR_PRINCIPAL, dead)
    await finish_one(small)
    assert (await small.queue.retry(OPERATOR_PRINCIPAL, dead)).state == "ready"


async def test_a_line_is_bounded(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MAX_WAITING", 2)
    await fill(small)
    waiting = [small.send(wait_s=10) for _ in range(2)]
    with pytest.raises(Busy, match="2 senders wait"):
        small.send(wait_s=10)
    for each in waiting:
        each.cancel()


async def test_a_larger_limit_lets_those_in_line_in(small: Any) -> None:
    await fill(small)
    late = small.send(wait_s=10)
    small.queue.flow.resize(LIMIT + 1)
    await late
    with pytest.raises(Busy):
        small.send()


async def test_closing_answers_those_in_line(tmp_path: Path, make_scene: Any) -> None:
    scene = make_scene(tmp_path / "development.db")
    depth = PerEnvironment[int](*[1] * 5)
    scene.settings = msgspec.structs.replace(scene.settings, depth=depth)
    await scene.open()
    await scene.send()
    late = scene.send(wait_s=60)
    await scene.close()
    with pytest.raises(Unavailable, match="closed"):
        await late


@pytest.mark.parametrize("seed", range(3))
async def test_under_a_crowd_the_limit_holds_at_each_commit(small: Any, seed: int) -> None:
    """Senders with and without patience, some of whom leave, and consumers that finish or fail."""
    chance = random.Random(seed)
    deepest = 0

    async def sender(number: int) -> None:
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(chance.choice([None, 0.001])):
                await small.send(f"k{number % 3}", wait_s=chance.choice([0, 60]))
        except (Busy, TimeoutError):
            pass

    async def consumer(agent: Principal) -> None:
        nonlocal deepest
        while True:
            for message in await small.claim(agent, 3, wait_s=60):
                deepest = max(deepest, small.queue.flow.depth, small.queue.counters.open)
                if chance.random() < 0.2:
                    await small.queue.nack(agent, message[0], message[4], "no", 0)
                else:
                    await small.queue.ack(agent, message[0], message[4])

    consumers = [asyncio.ensure_future(consumer(agent)) for agent in (small.a, small.b)]
    await asyncio.gather(*(sender(number) for number in range(200)))
    while small.queue.counters.open:
        await asyncio.sleep(0)
    for each in consumers:
        each.cancel()
    await asyncio.wait(consumers)
    assert 0 < deepest <= LIMIT
    assert small.queue.flow.waiting == 0


async def test_a_limit_that_forgets_what_is_on_its_way_is_found(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug that the tests above are there to catch."""
    monkeypatch.setattr(flow.Flow, "depth", property(lambda self: self._counted.open))
    await asyncio.gather(*(small.send() for _ in range(3 * LIMIT)))
    assert small.queue.counters.open > LIMIT


# --- stopping ---------------------------------------------------------------------------------


async def test_a_paused_queue_hands_out_nothing_and_takes_in(scene: Any) -> None:
    await scene.send("first")
    [held] = await scene.claim(scene.a)
    waiting = asyncio.ensure_future(scene.claim(scene.b, 5, wait_s=60))
    await scene.queue.pause(OPERATOR_PRINCIPAL, "upgrade")
    await scene.send("second")
    await scene.database.write(lambda _: None)
    assert await scene.ids(scene.c) == []
    assert not waiting.done()
    await scene.queue.extend(scene.a, held[0], held[4])
    await scene.queue.ack(scene.a, held[0], held[4])
    assert scene.counts() == {"ready": 1, "done": 1}
    await scene.queue.resume(OPERATOR_PRINCIPAL)
    assert [message[1] for message in await waiting] == ["second"]


async def test_a_claim_of_the_same_turn_as_a_pause_gets_nothing(scene: Any) -> None:
    """Whoever asks after the pause comes after it, although it is not committed yet."""
    await scene.send()
    before = scene.queue.claim(scene.a)
    pausing = asyncio.ensure_future(scene.queue.pause(OPERATOR_PRINCIPAL))
    await asyncio.sleep(0)
    after = scene.queue.claim(scene.b)
    await pausing
    assert len(await before) == 1
    assert await after == []


async def test_time_goes_on_in_a_paused_queue(scene: Any) -> None:
    await scene.send("held")
    [held] = await scene.claim(scene.a, lease_s=10)
    await scene.send("later", delay_s=10)
    await scene.send("ends", expires_s=10)
    await scene.queue.pause(OPERATOR_PRINCIPAL)
    await scene.later(11)
    assert scene.counts() == {"ready": 2, "expired": 1}
    assert await scene.ids(scene.b) == []
    await scene.queue.resume(OPERATOR_PRINCIPAL)
    assert await scene.ids(scene.b, 1) == [held[0]]


async def test_a_draining_queue_takes_nothing_in_and_is_emptied(scene: Any) -> None:
    first, second = await scene.send("first"), await scene.send("second")
    await scene.queue.drain(OPERATOR_PRINCIPAL, "moving house")
    with pytest.raises(Busy, match="drained and takes nothing new: moving house") as caught:
        scene.send(wait_s=60)
    assert caught.value.hint == "swarmdeck queue resume development"
    with pytest.raises(Busy):
        scene.queue.broadcast(OPERATOR_PRINCIPAL, "news", b"1")
    [message] = await scene.claim(scene.a)
    assert message[0] == first
    await scene.queue.nack(scene.a, first, message[4], "again", 0)
    with pytest.raises(Busy):
        await scene.queue.retry(OPERATOR_PRINCIPAL, first)
    assert set(await scene.ids(scene.a) + await scene.ids(scene.a)) == {first, second}
    await scene.queue.resume(OPERATOR_PRINCIPAL)
    await scene.send()


async def test_those_who_wait_for_room_are_told_of_a_drain_at_once(small: Any) -> None:
    await fill(small)
    waiting = [small.send(wait_s=60) for _ in range(3)]
    await small.queue.drain(OPERATOR_PRINCIPAL)
    for each in waiting:
        with pytest.raises(Busy, match="drained"):
            await each
    await small.queue.resume(OPERATOR_PRINCIPAL)


async def test_a_stopped_queue_is_stopped_after_a_restart(scene: Any) -> None:
    await scene.send()
    await scene.queue.pause(OPERATOR_PRINCIPAL, "over night")
    await scene.reopen()
    view = scene.queue.flow_view()
    assert (view.mode, view.reason, view.changed_by) == ("paused", "over night", "operator")
    assert view.changed_at_us == scene.clock.wall_us()
    assert await scene.ids(scene.a) == []
    await scene.queue.resume(OPERATOR_PRINCIPAL)
    await scene.reopen()
    assert len(await scene.ids(scene.a)) == 1


async def test_stopping_is_audited_and_not_for_every_agent(scene: Any) -> None:
    with pytest.raises(Denied, match="may not stop and resume"):
        await scene.queue.pause(scene.a)
    await scene.queue.pause(COORDINATOR, "mine")
    await scene.queue.drain(OPERATOR_PRINCIPAL)
    await scene.queue.resume(OPERATOR_PRINCIPAL)
    rows = await scene.rows("SELECT actor, action, detail FROM audit WHERE action LIKE 'queue.%'")
    assert rows == [
        ("dev_agent_a", "queue.denied", "paused"),
        ("dev_agent_lead", "queue.pause", "mine"),
        ("operator", "queue.drain", ""),
        ("operator", "queue.resume", ""),
    ]
    with pytest.raises(InvalidInput, match="no reason"):
        await scene.queue.pause(OPERATOR_PRINCIPAL, "two\nlines")


async def test_a_pause_that_cannot_be_stored_does_not_hold(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.send()

    def refused(state: Any) -> Any:
        def change(_: Any) -> None:
            raise Unavailable("the disk")

        return change

    monkeypatch.setattr("swarmdeck.engine.queue.service.store", refused)
    with pytest.raises(Unavailable):
        await scene.queue.pause(OPERATOR_PRINCIPAL)
    assert scene.queue.flow.state.mode == "running"
    assert len(await scene.ids(scene.b)) == 1


async def test_what_senders_in_line_hold_is_bounded(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may bring megabytes, and all of it stays in memory until there is room."""
    await fill(small)
    monkeypatch.setattr(flow, "MAX_WAITING_BYTES", 1_000)
    body = b'"' + b"x" * 398 + b'"'
    first, second = (small.send(body=body, wait_s=10) for _ in range(2))
    with pytest.raises(Busy):
        small.send(body=body, wait_s=10)
    with pytest.raises(Busy):
        small.queue.send_many(small.a, [["work", body, 5, 0, None, None, None, None]], wait_s=10)
    second.cancel()
    await asyncio.sleep(0)
    third = small.send(body=body, wait_s=10)
    await finish_one(small)
    await finish_one(small)
    await asyncio.gather(first, third)
    fourth = small.send(body=body, wait_s=10)
    await small.later(11)
    with pytest.raises(Busy):
        await fourth
    for _ in range(2):  # nothing of those before is held
        waiting = [small.send(body=body, wait_s=10) for _ in range(2)]
        await small.queue.drain(OPERATOR_PRINCIPAL)
        assert all(isinstance(each.exception(), Busy) for each in waiting)
        await small.queue.resume(OPERATOR_PRINCIPAL)


async def test_a_sender_who_floods_leaves_room_for_others_in_the_line(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(small)
    monkeypatch.setattr(flow, "MAX_WAITING", 8)
    monkeypatch.setattr(flow, "MAX_WAITING_BYTES", 8_000)

    def send(agent: Principal, size: int = 1) -> asyncio.Future[str]:
        body = b"1".ljust(size)
        future: asyncio.Future[str] = small.queue.send(agent, "work", body, wait_s=10)
        return future

    waiting = [send(small.a), send(small.a)]
    with pytest.raises(Busy):
        send(small.a)
    waiting.append(send(small.b, 1_999))
    with pytest.raises(Busy):
        send(small.b, 2)
    waiting.append(send(small.c))
    await small.later(11)
    assert all(isinstance(each.exception(), Busy) for each in waiting)
    waiting = [send(small.a), send(small.a, 1_999)]
    for each in waiting:
        each.cancel()
