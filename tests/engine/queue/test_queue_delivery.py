"""Sending, claiming and finishing: order, leases, attempts, dead letters, time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, MessageState, Principal, Role

HOUR = 3600


async def test_ids_carry_the_prefix_and_grow(scene: Any) -> None:
    assert [await scene.send() for _ in range(3)] == ["dev_msg_1", "dev_msg_2", "dev_msg_3"]


async def test_a_claim_gives_what_was_sent_with_its_lease(scene: Any) -> None:
    ident = await scene.send("digest", b'{"path":"a.txt"}', priority=7)
    [message] = await scene.claim(lease_s=10)
    until_us = scene.clock.wall_us() + 10_000_000
    assert message == [ident, "digest", b'{"path":"a.txt"}', 7, 1, until_us, "operator"]
    assert scene.counts() == {"leased": 1}


async def test_most_urgent_first_and_in_order_inside_a_priority(scene: Any) -> None:
    for priority in (5, 1, 10, 5, 10, 1):
        await scene.send(priority=priority)
    assert await scene.ids() == [f"dev_msg_{n}" for n in (3, 5, 1, 4, 2, 6)]


async def test_order_holds_across_lanes(scene: Any) -> None:
    """Messages of several targets and kinds come as one queue."""
    await scene.send("x", priority=5)
    await scene.send("y", priority=5, to="dev_swarm_a")
    await scene.send("x", priority=9, to="dev_agent_a")
    await scene.send("y", priority=5)
    expected = ["dev_msg_3", "dev_msg_1", "dev_msg_2", "dev_msg_4"]
    assert await scene.ids(kinds=["x", "y"], limit=2) == expected[:2]
    assert await scene.ids() == expected[2:]


async def test_two_claims_never_share_a_message(scene: Any) -> None:
    await asyncio.gather(*(scene.send() for _ in range(50)))
    claims = [scene.queue.claim(agent, 7) for agent in (scene.a, scene.b, scene.c) for _ in "123"]
    got = [message[0] for messages in await asyncio.gather(*claims) for message in messages]
    assert len(got) == len(set(got)) == 50


async def test_an_ack_finishes_with_its_result(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    await scene.queue.ack(scene.a, ident, 1, b'{"words":3}')
    view = await scene.queue.show(ident)
    assert (view.state, view.result, view.holder) == ("done", {"words": 3}, "dev_agent_a")
    assert scene.queue.counters.done_by == {"dev_agent_a": 1}


@pytest.mark.parametrize("call", ["ack", "nack", "extend"])
async def test_only_the_holder_at_its_attempt_may_act(scene: Any, call: str) -> None:
    ident = await scene.send()
    await scene.claim()
    act = getattr(scene.queue, call)
    with pytest.raises(Conflict, match="leased by dev_agent_a at attempt 1"):
        await act(scene.b, ident, 1)
    with pytest.raises(Conflict, match="at attempt 2"):
        await act(scene.a, ident, 2)
    assert await scene.state(ident) == "leased"


@pytest.mark.parametrize("call", ["ack", "nack", "extend"])
async def test_a_stale_attempt_is_refused_after_the_lease_was_taken_back(
    scene: Any, call: str
) -> None:
    ident = await scene.send()
    await scene.claim(lease_s=10)
    await scene.later(11)
    with pytest.raises(Conflict, match="it is ready"):
        await getattr(scene.queue, call)(scene.a, ident, 1)
    await scene.claim(scene.a)
    with pytest.raises(Conflict, match="at attempt 2"):
        await getattr(scene.queue, call)(scene.a, ident, 1)


async def test_a_message_is_never_finished_twice(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    acks = [scene.queue.ack(scene.a, ident, 1) for _ in range(3)]
    answers = await asyncio.gather(*acks, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 2 + ["NoneType"]
    assert scene.counts() == {"done": 1}


async def test_one_stale_ack_in_a_batch_fails_alone(scene: Any) -> None:
    await asyncio.gather(*(scene.send() for _ in range(20)))
    claimed = await scene.claim(limit=20)
    acks = [scene.queue.ack(scene.a, m[0], 2 if n == 7 else 1) for n, m in enumerate(claimed)]
    answers = await asyncio.gather(*acks, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if answer is not None] == [7]
    assert isinstance(answers[7], Conflict)
    assert scene.counts() == {"done": 19, "leased": 1}


async def test_an_ack_of_what_never_was_is_not_found(scene: Any) -> None:
    for ident in ("dev_msg_1", "prod_msg_1", "dev_msg_01", "dev_msg_-1", "dev_msg_", "x", "1" * 99):
        with pytest.raises(NotFound):
            await scene.queue.ack(scene.a, ident, 1)


async def test_an_extended_lease_is_counted_from_now(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim(lease_s=10)
    await scene.later(9)
    until_us = await scene.queue.extend(scene.a, ident, 1, 10)
    assert until_us == scene.clock.wall_us() + 10_000_000
    await scene.later(9)
    assert await scene.state(ident) == "leased"
    await scene.later(2)
    assert await scene.state(ident) == "ready"


async def test_a_lease_that_ran_out_but_was_not_taken_back_still_stands(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim(lease_s=10)
    scene.clock.advance(11)
    await scene.queue.ack(scene.a, ident, 1)
    assert await scene.state(ident) == "done"


async def test_a_nack_waits_twice_as_long_each_time_with_jitter(scene: Any) -> None:
    ident = await scene.send(max_attempts=9)
    waits = []
    for attempt in range(1, 9):
        await scene.claim()
        assert await scene.queue.nack(scene.a, ident, attempt, "no") == "delayed"
        due_us = (await scene.queue.show(ident)).due_at_us
        waits.append((due_us - scene.clock.wall_us()) / 1e6)
        await scene.later(waits[-1])
    for wait_s, nominal_s in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert 0.9 * nominal_s - 1e-6 <= wait_s <= min(60, 1.1 * nominal_s)
    assert len({round(w / n, 4) for w, n in zip(waits, (1, 2, 4, 8, 16, 32), strict=False)}) > 3


async def test_a_nack_may_name_its_delay(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    assert await scene.queue.nack(scene.a, ident, 1, "busy", 5) == "delayed"
    await scene.later(4.9)
    assert await scene.claim() == []
    await scene.later(0.2)
    [message] = await scene.claim()
    assert message[4] == 2
    assert await scene.queue.nack(scene.a, ident, 2, "again", 0) == "ready"


async def test_a_poison_message_becomes_a_dead_letter_with_its_last_error(scene: Any) -> None:
    ident = await scene.send()
    for attempt in (1, 2, 3):
        [message] = await scene.claim()
        assert message[4] == attempt
        state = await scene.queue.nack(scene.a, ident, attempt, f"boom {attempt}", 0)
    assert state == "dead"
    assert await scene.claim() == []
    [letter] = await scene.queue.list(state=MessageState.DEAD)
    assert (letter.id, letter.error, letter.attempt) == (ident, "boom 3", 3)
    assert scene.queue.counters.redelivered == 2


async def test_poison_does_not_block_its_priority(scene: Any) -> None:
    poison = await scene.send()
    good = await scene.send()
    for attempt in (1, 2, 3):
        ids = await scene.ids(limit=1)
        assert ids == [poison]
        await scene.queue.nack(scene.a, poison, attempt, "boom")
        if attempt == 1:
            assert await scene.ids(limit=1) == [good]
        await scene.later(10)


async def test_an_expired_lease_is_ready_at_once_and_counts(scene: Any) -> None:
    ident = await scene.send(max_attempts=2)
    await scene.claim(scene.a, lease_s=1)
    await scene.later(1)
    assert await scene.ids(scene.b, lease_s=1) == [ident]
    assert scene.queue.counters.redelivered == 1
    await scene.later(1)
    view = await scene.queue.show(ident)
    assert view.state == "dead"
    assert view.error == "the lease of dev_agent_b ran out (attempt 2)"


async def test_a_delayed_message_comes_when_it_is_due(scene: Any) -> None:
    ident = await scene.send(delay_s=10)
    assert scene.counts() == {"delayed": 1}
    await scene.later(9.999)
    assert await scene.claim() == []
    await scene.later(0.001)
    assert await scene.ids() == [ident]


async def test_an_expired_message_is_not_delivered(scene: Any) -> None:
    early = await scene.send(expires_s=10)
    late = await scene.send(expires_s=20, delay_s=15)
    await scene.later(10)
    assert await scene.claim() == []
    assert await scene.state(early) == "expired"
    await scene.later(5)
    assert await scene.state(late) == "ready"
    await scene.later(5)
    assert scene.counts() == {"expired": 2}


async def test_a_claim_never_delivers_what_has_expired_before_the_sweep(scene: Any) -> None:
    """Hundreds expire at once; the claim clears its way through them."""
    sends = [scene.send(priority=9, expires_s=10) for _ in range(350)]
    await asyncio.gather(*sends)
    good = await scene.send(priority=1)
    scene.clock.advance(10)
    assert await scene.ids(limit=1) == [good]
    assert scene.counts() == {"expired": 350, "leased": 1}


async def test_a_claim_behind_a_heap_of_expired_messages_gets_through(scene: Any) -> None:
    sends = [scene.send(priority=9, expires_s=10) for _ in range(1_000)]
    await asyncio.gather(*sends)
    good = await scene.send(priority=1)
    scene.clock.advance(10)
    assert await scene.ids(limit=1) == [good]
    await scene.queue.tick()
    assert scene.counts() == {"expired": 1_000, "leased": 1}


async def test_a_leased_message_does_not_expire_under_its_holder(scene: Any) -> None:
    ident = await scene.send(expires_s=10)
    await scene.claim(lease_s=30)
    await scene.later(20)
    assert await scene.state(ident) == "leased"
    await scene.queue.nack(scene.a, ident, 1, "no", 0)
    await scene.queue.tick()
    assert await scene.state(ident) == "expired"


async def test_a_sweep_moves_a_bounded_number_per_transaction(scene: Any) -> None:
    await asyncio.gather(*(scene.send(delay_s=1) for _ in range(250)))
    before = scene.database.stats.batches
    await scene.later(1)
    assert scene.counts() == {"ready": 250}
    assert scene.database.stats.batches - before == 3


async def test_the_timer_does_it_without_being_asked(scene: Any) -> None:
    """On a clock that has moved the timer, real as it is, rings at once."""
    await scene.send(delay_s=0.02)
    scene.clock.advance(1)
    async with asyncio.timeout(5):
        assert len(await scene.claim(wait_s=60)) == 1


async def test_a_key_stores_a_message_once(scene: Any) -> None:
    first, again = await asyncio.gather(scene.send(key="job-1"), scene.send(key="job-1"))
    assert first == again == await scene.send("other", key="job-1")
    assert await scene.send(key="job-2") != first
    assert scene.counts() == {"ready": 2}
    assert len(await scene.ids()) == 2


async def test_a_key_is_known_after_its_message_is_done(scene: Any) -> None:
    first = await scene.send(key="job-1")
    await scene.claim()
    await scene.queue.ack(scene.a, first, 1)
    assert await scene.send(key="job-1") == first
    assert scene.counts() == {"done": 1}


async def test_addressed_messages_reach_only_whom_they_are_for(scene: Any) -> None:
    scene.town.settle("dev_agent_b", teams=("dev_team_web",))
    outside = scene.town.settle("dev_agent_x", swarm="dev_swarm_b")
    for_a = await scene.send(to="dev_agent_a")
    for_team = await scene.send(to="dev_team_web")
    for_swarm = await scene.send(to="dev_swarm_a")
    assert await scene.ids(outside) == []
    assert await scene.ids(scene.b) == [for_team, for_swarm]
    assert await scene.ids(scene.a) == [for_a]


async def test_an_unknown_target_is_refused_and_stores_nothing(scene: Any) -> None:
    with pytest.raises(NotFound, match="nobody in development is called 'dev_agent_z'"):
        await scene.send(to="dev_agent_z")
    assert scene.counts() == {}


async def test_kinds_filter_what_is_taken(scene: Any) -> None:
    await scene.send("x", priority=10)
    y = await scene.send("y")
    assert await scene.ids(kinds=["y", "z"]) == [y]
    assert await scene.claim(kinds=["y", "z"]) == []


async def test_a_draining_swarm_takes_nothing_but_finishes(scene: Any) -> None:
    first = await scene.send()
    await scene.claim()
    await scene.send()
    scene.town.draining = True
    assert await scene.claim() == []
    await scene.queue.ack(scene.a, first, 1)
    assert scene.counts() == {"done": 1, "ready": 1}


async def test_an_agent_uses_the_queue_of_its_own_environment(scene: Any) -> None:
    stranger = Principal("prod_agent_a", Role.AGENT, "production")
    with pytest.raises(Denied):
        await scene.queue.send(stranger, "work", b"1")
    with pytest.raises(Denied):
        await scene.queue.claim(stranger)


async def test_the_operator_claims_what_is_for_anyone(scene: Any) -> None:
    await scene.send(to="dev_agent_a")
    ident = await scene.send()
    assert await scene.ids(OPERATOR_PRINCIPAL) == [ident]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "Bad Kind"},
        {"kind": ["work"]},
        {"body": b"{"},
        {"body": "1"},
        {"body": b'"' + b"x" * (256 << 10) + b'"'},
        {"priority": 0},
        {"priority": 11},
        {"priority": True},
        {"priority": 5.0},
        {"delay_s": -1},
        {"delay_s": float("nan")},
        {"delay_s": "1"},
        {"expires_s": 0},
        {"expires_s": 5, "delay_s": 10},
        {"key": ""},
        {"key": 5},
        {"to": 5},
        {"max_attempts": 0},
        {"max_attempts": 101},
    ],
)
async def test_bad_messages_are_refused_before_anything_is_stored(
    scene: Any, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await scene.send(**fields)
    assert scene.counts() == {}


@pytest.mark.parametrize(
    "how",
    [
        {"limit": 0},
        {"limit": 101},
        {"lease_s": 0},
        {"lease_s": float("inf")},
        {"wait_s": 61},
        {"wait_s": None},
        {"kinds": []},
        {"kinds": "work"},
        {"kinds": 5},
        {"kinds": [["work"]]},
        {"kinds": [f"k{n}" for n in range(33)]},
    ],
)
async def test_bad_claims_are_refused(scene: Any, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await scene.claim(**how)


async def test_bad_results_and_errors_are_refused_and_the_lease_stays(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    with pytest.raises(InvalidInput):
        await scene.queue.ack(scene.a, ident, 1, b"nope")
    with pytest.raises(InvalidInput):
        await scene.queue.ack(scene.a, ident, True)
    with pytest.raises(InvalidInput):
        await scene.queue.nack(scene.a, ident, 1, 5)
    assert await scene.state(ident) == "leased"


async def test_a_long_error_is_cut(scene: Any) -> None:
    ident = await scene.send(max_attempts=1)
    await scene.claim()
    await scene.queue.nack(scene.a, ident, 1, "x" * 5_000 + "\ud800")
    assert len((await scene.queue.show(ident)).error) == 2_000


async def test_a_closed_queue_says_so(scene: Any) -> None:
    waiting = scene.queue.claim(scene.a, wait_s=60)
    await scene.queue.close()
    assert await waiting == []
    with pytest.raises(Unavailable):
        await scene.send()


async def test_every_change_leaves_its_audit_row(scene: Any) -> None:
    ident = await scene.send()
    await scene.claim()
    await scene.queue.nack(scene.a, ident, 1, "boom", 0)
    await scene.claim(lease_s=1)
    await scene.later(1)
    await scene.claim()
    await scene.queue.ack(scene.a, ident, 3)
    rows = await scene.rows("SELECT actor, action, detail FROM audit WHERE object = ?", ident)
    assert rows == [
        ("operator", "queue.send", "work"),
        ("dev_agent_a", "queue.claim", "attempt 1"),
        ("dev_agent_a", "queue.nack", "boom"),
        ("dev_agent_a", "queue.claim", "attempt 2"),
        ("engine", "queue.take_back", "the lease of dev_agent_a ran out (attempt 2)"),
        ("dev_agent_a", "queue.claim", "attempt 3"),
        ("dev_agent_a", "queue.ack", ""),
    ]
