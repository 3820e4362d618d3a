"""Waiting consumers: woken by what makes messages ready, in turn, never for nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from swarmdeck.engine.errors import StorageError
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import line as line_module
from swarmdeck.engine.queue.claiming import Claim, Untake
from swarmdeck.engine.store.database import Transaction

WAIT_S = 60


async def turns(count: int = 3) -> None:
    """Let the loop run what is scheduled. In one turn nothing that was not committed is."""
    for _ in range(count):
        await asyncio.sleep(0)


def waiting(scene: Any) -> int:
    return len(scene.queue._line)


async def test_a_claim_waits_without_asking_the_store(scene: Any) -> None:
    before = scene.database.stats.operations
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await turns()
    assert waiting(scene) == 1
    assert scene.database.stats.operations == before
    assert not claim.done()


async def test_a_send_serves_a_waiting_claim_in_the_same_commit(scene: Any) -> None:
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await turns()
    before = scene.database.stats.batches
    ident = await scene.send()
    assert [message[0] for message in claim.result()] == [ident]
    assert scene.database.stats.batches == before + 1
    assert scene.counts() == {"leased": 1}


async def test_sends_of_one_turn_serve_several_waiting_claims_in_one_commit(scene: Any) -> None:
    claims = [scene.queue.claim(scene.a, limit=10, wait_s=WAIT_S) for _ in range(4)]
    await turns()
    before = scene.database.stats.batches
    await asyncio.gather(*(scene.send() for _ in range(8)))
    assert [len(claim.result()) for claim in claims] == [2, 2, 2, 2], "they share alike"
    assert scene.database.stats.batches == before + 1


async def test_a_claim_finds_what_is_on_its_way(scene: Any) -> None:
    send = scene.send()
    [message] = await scene.claim()
    assert message[0] == send.result()


async def test_first_come_first_served(scene: Any) -> None:
    claims = [scene.queue.claim(agent, wait_s=WAIT_S) for agent in (scene.b, scene.a, scene.c)]
    await turns()
    for claim in claims:
        ident = await scene.send()
        assert [message[0] for message in claim.result()] == [ident]


async def test_a_new_claim_does_not_overtake_those_in_line(scene: Any) -> None:
    first = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await turns()
    scene.send()
    second = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await asyncio.wait([first], timeout=5)
    assert len(first.result()) == 1
    assert not second.done()
    await scene.send()
    assert len(second.result()) == 1


async def test_one_that_was_woken_for_nothing_keeps_its_place(scene: Any) -> None:
    """Each lane calls somebody, but the first takes the message that the second was called for."""
    first = scene.queue.claim(scene.a, limit=2, wait_s=WAIT_S)
    second = scene.queue.claim(scene.b, kinds=["x"], wait_s=WAIT_S)
    third = scene.queue.claim(scene.c, kinds=["x"], wait_s=WAIT_S)
    await turns()
    await asyncio.gather(scene.send("y"), scene.send("y"), scene.send("x", priority=10))
    assert [message[1] for message in first.result()] == ["x", "y"]
    assert not second.done()
    await scene.send("x")
    assert second.done()
    assert not third.done()


async def test_only_who_may_take_it_is_woken(scene: Any) -> None:
    scene.town.settle("dev_agent_b", teams=("dev_team_web",))
    x = scene.queue.claim(scene.a, kinds=["x"], wait_s=WAIT_S)
    mine = scene.queue.claim(scene.b, kinds=["z"], wait_s=WAIT_S)
    await turns()
    before = scene.database.stats.operations
    await scene.send("y")
    await scene.send("z", to="dev_agent_a")
    assert scene.database.stats.operations == before + 2, "nobody was called"
    await scene.send("x", to="dev_swarm_a")
    await scene.send("z", to="dev_team_web")
    assert len(x.result()) == len(mine.result()) == 1


@pytest.mark.parametrize("how", ["nack", "promotion", "lease", "retry", "release", "untake"])
async def test_whatever_makes_a_message_ready_wakes_who_waits(scene: Any, how: str) -> None:
    ident = await scene.send(delay_s=10 if how == "promotion" else 0)
    if how != "promotion":
        await scene.claim(scene.b, lease_s=10)
    if how == "retry":
        await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await turns()
    assert waiting(scene) == 1
    if how == "nack":
        await scene.queue.nack(scene.b, ident, 1, "no", 0)
    elif how in {"promotion", "lease"}:
        await scene.later(10)
    elif how == "retry":
        await scene.queue.retry(OPERATOR_PRINCIPAL, ident)
    elif how == "release":
        await scene.queue.release("dev_agent_b")
    else:
        await scene.database.submit(Untake(scene.queue, "dev_agent_b", [(1, 1)]))
    async with asyncio.timeout(5):
        [message] = await claim
    assert message[0] == ident


async def test_a_wait_ends_after_its_time_with_nothing(scene: Any) -> None:
    short = scene.queue.claim(scene.a, wait_s=5)
    long = scene.queue.claim(scene.b, wait_s=10)
    await turns()
    await scene.later(5)
    assert short.result() == []
    assert not long.done()
    await scene.send()
    assert len(long.result()) == 1
    assert waiting(scene) == 0


async def test_a_real_timer_ends_a_wait(scene: Any) -> None:
    claim = scene.queue.claim(scene.a, wait_s=0.01)
    scene.clock.advance(1)
    async with asyncio.timeout(5):
        assert await claim == []


async def test_a_cancelled_claim_in_line_takes_nothing(scene: Any) -> None:
    gone = scene.queue.claim(scene.a, wait_s=WAIT_S)
    stays = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await turns()
    gone.cancel()
    ident = await scene.send()
    assert [message[0] for message in stays.result()] == [ident]
    assert waiting(scene) == 0


async def test_a_claim_cancelled_before_its_call_is_passed_over(scene: Any) -> None:
    gone = scene.queue.claim(scene.a, wait_s=WAIT_S)
    stays = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await turns()
    send = scene.send()
    gone.cancel()
    await send
    assert len(stays.result()) == 1
    assert await scene.rows("SELECT object FROM audit WHERE action = 'queue.untake'") == []


async def test_what_a_claim_leaves_for_something_more_urgent_goes_to_the_next(scene: Any) -> None:
    """The first in line is called for x, but y is ready before its claim; x still finds one."""
    x = await scene.send("x", priority=1)
    y = await scene.send("y", priority=10)
    await scene.claim(scene.c, 2)
    first = scene.queue.claim(scene.a, wait_s=WAIT_S)
    second = scene.queue.claim(scene.b, kinds=["x"], wait_s=WAIT_S)
    await turns()
    scene.queue.nack(scene.c, x, 1, "no", 0)
    await turns()  # it is with the writer; what follows goes into the batch after it
    scene.queue.nack(scene.c, y, 1, "no", 0)
    async with asyncio.timeout(5):
        answers = [await first, await second]
    assert [messages[0][0] for messages in answers] == [y, x]


async def test_a_claim_cancelled_while_it_commits_gives_back(scene: Any) -> None:
    """The message is ready again at once, and the attempt that nobody saw does not count."""
    ident = await scene.send(max_attempts=1)
    gone = scene.queue.claim(scene.a)
    await turns(1)
    assert not gone.done(), "it is with the writer"
    gone.cancel()
    async with asyncio.timeout(5):
        [message] = await scene.claim(scene.b, wait_s=WAIT_S)
    assert (message[0], message[4]) == (ident, 1)
    assert scene.queue.counters.redelivered == 0


async def test_a_claim_cancelled_between_call_and_commit_serves_the_next(scene: Any) -> None:
    gone = scene.queue.claim(scene.a, wait_s=WAIT_S)
    stays = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await turns()
    send = scene.send()
    await turns(1)
    assert waiting(scene) == 1, "the first has been called"
    gone.cancel()
    async with asyncio.timeout(5):
        [message] = await stays
    assert message[0] == await send
    assert message[4] == 1


async def test_a_claim_that_fails_leaves_its_messages_to_the_next(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Claim.apply.__func__
    failures = 1

    def failing(cls: type[Claim], tx: Transaction, operations: Sequence[Claim]) -> list[Any]:
        nonlocal failures
        if failures:
            failures -= 1
            return [StorageError("the disk refused") for _ in operations]
        return list(apply(cls, tx, operations))

    monkeypatch.setattr(Claim, "apply", classmethod(failing))
    first = scene.queue.claim(scene.a, wait_s=WAIT_S)
    second = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await turns()
    await scene.send()
    async with asyncio.timeout(5):
        with pytest.raises(StorageError):
            await first
        assert len(await second) == 1


async def test_a_new_team_member_is_called_after_a_refresh(scene: Any) -> None:
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await scene.send(to="dev_team_web")
    await turns()
    assert not claim.done()
    scene.town.settle("dev_agent_a", teams=("dev_team_web",))
    scene.queue.refresh()
    async with asyncio.timeout(5):
        assert len(await claim) == 1


async def test_one_that_left_its_team_gets_nothing_of_it(scene: Any) -> None:
    scene.town.settle("dev_agent_a", teams=("dev_team_web",))
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await turns()
    scene.town.settle("dev_agent_a")
    await scene.send(to="dev_team_web")
    await turns(20)
    assert not claim.done()
    assert scene.counts() == {"ready": 1}


async def test_a_draining_swarm_waits_and_a_resumed_one_is_called(scene: Any) -> None:
    scene.town.draining = True
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    await scene.send()
    await turns(20)
    assert not claim.done()
    scene.town.draining = False
    scene.queue.refresh()
    async with asyncio.timeout(5):
        assert len(await claim) == 1


async def test_release_ends_the_waits_of_a_reaped_agent(scene: Any) -> None:
    claim = scene.queue.claim(scene.a, wait_s=WAIT_S)
    other = scene.queue.claim(scene.b, wait_s=WAIT_S)
    await turns()
    await scene.queue.release("dev_agent_a")
    assert claim.result() == []
    assert not other.done()


async def test_what_waited_and_left_is_forgotten(scene: Any) -> None:
    """A consumer that claims and cancels for ever costs no memory."""
    for _ in range(500):
        scene.queue.claim(scene.a, wait_s=WAIT_S).cancel()
        await turns(2)
    waiters = scene.queue._line._waiters
    assert len(waiters) == 0
    assert waiters._places == {}
    scene.queue.claim(scene.a, wait_s=WAIT_S)
    assert len(waiters._deadlines) < 100


class Storm:
    """Consumers of several sorts that claim, fail, give up and cancel against several senders,
    until every message is done."""

    def __init__(self, scene: Any, seed: int, messages: int = 60) -> None:
        self.scene = scene
        self.chance = random.Random(seed)
        self.messages = messages
        self.done: list[str] = []
        scene.town.settle("dev_agent_b", teams=("dev_team_web",))

    async def run(self, patience_s: float = 20) -> None:
        consumers = [
            asyncio.create_task(self.consume(agent, kinds))
            for agent in list(self.scene.town.agents.values())
            for kinds in (None, ["x"], ["y", "z"])
        ]
        try:
            await asyncio.gather(*(self.produce() for _ in range(3)))
            async with asyncio.timeout(patience_s):
                while len(self.done) < self.messages:
                    await asyncio.wait(consumers, timeout=0.01)
        finally:
            for consumer in consumers:
                consumer.cancel()
            await asyncio.gather(*consumers, return_exceptions=True)

    async def consume(self, agent: Any, kinds: list[str] | None) -> None:
        while len(self.done) < self.messages:
            limit = self.chance.randint(1, 5)
            claim = self.scene.queue.claim(agent, limit, 30, WAIT_S, kinds)
            if self.chance.random() < 0.3:
                await turns(self.chance.randint(0, 6))
                if claim.cancel():
                    continue
            for message in await claim:
                await self.work(agent, message)

    async def work(self, agent: Any, message: list[Any]) -> None:
        ident, attempt = message[0], message[4]
        if self.chance.random() < 0.2:
            await self.scene.queue.nack(agent, ident, attempt, "no", 0)
        else:
            await self.scene.queue.ack(agent, ident, attempt)
            self.done.append(ident)

    async def produce(self) -> None:
        for number in range(self.messages // 3):
            to = self.chance.choice([None, "dev_team_web", "dev_swarm_a"])
            priority = self.chance.randint(1, 10)
            self.scene.send(self.chance.choice("xyz"), priority=priority, to=to, max_attempts=100)
            if number % 4 == 0:
                await turns(self.chance.randint(0, 8))


@pytest.mark.parametrize("seed", range(6))
async def test_no_wake_up_is_lost_in_a_storm(scene: Any, seed: int) -> None:
    storm = Storm(scene, seed)
    await storm.run()
    assert sorted(storm.done) == sorted(f"dev_msg_{n + 1}" for n in range(storm.messages))
    assert scene.counts() == {"done": storm.messages}


async def storms(scene: Any) -> None:
    for seed in range(6):
        await Storm(scene, seed).run(patience_s=1)


async def test_the_storm_finds_a_lost_wake_up(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: only sends that are on their way call, what a commit makes ready does
    not."""
    mark = line_module.Line.mark

    def forgetful(self: Any, target: str, kind: str, coming: int = 0) -> None:
        if coming:
            mark(self, target, kind, coming)

    monkeypatch.setattr(line_module.Line, "mark", forgetful)
    with pytest.raises(TimeoutError):
        await storms(scene)
