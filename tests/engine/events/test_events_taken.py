"""Taking events, completing and failing them, what is due by the clock, seals."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from swarmdeck.engine import Engine, connect
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Conflict, Damaged, Denied, InvalidInput, NotFound
from swarmdeck.engine.eventlog.taking import OF_A_TYPE, OF_ANY_TYPE

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import World


async def test_the_most_urgent_is_taken_first_and_of_these_the_oldest(world: World) -> None:
    one, two = world.events(world.one), world.events(world.two)
    chance, made = random.Random(7), []
    targets = (None, world.one, world.two, world.swarm)
    for number in range(60):
        target, priority = chance.choice(targets), chance.randrange(11)
        event = await one.publish(f"t{number % 3}", number, priority=priority, to=target)
        made.append((-priority, number, event.id, target, event.type))
    made.sort()
    mine = [each for each in made if each[3] != world.one]
    types = ["t0", "t2"]
    wanted = [each[2] for each in mine if each[4] in types][:7]
    taken = await two.take(types=types, limit=7, lease_s=60)
    assert [each.id for each in taken] == wanted
    assert all(each.status == "processing" and each.payload is not None for each in taken)
    left = [each[2] for each in mine if each[2] not in wanted]
    rest = []
    while found := await two.take(limit=20, lease_s=60):
        rest += [each.id for each in found]
    assert rest == left
    assert len(await one.take(limit=100)) == 60 - len(mine)


async def test_each_event_is_taken_by_one(world: World) -> None:
    await world.events(world.one).publish_many([{"type": "t"}] * 3)
    [first] = await world.events(world.one).take()
    rest = await world.events(world.two).take(limit=10)
    assert len({first.id, *(each.id for each in rest)}) == 3
    assert await world.events(world.one).take() == []


async def test_an_event_is_completed_by_who_holds_it(world: World) -> None:
    one, two = world.events(world.one), world.events(world.two)
    made = await one.publish("t")
    with pytest.raises(Conflict, match="not held by"):
        await two.complete(made.id)
    [taken] = await two.take()
    world.clock.advance(1.5)
    done = await two.complete(taken)
    assert (done.status, done.duration_s, done.holder) == ("completed", 1.5, world.two)
    with pytest.raises(Conflict):
        await two.complete(taken)
    with pytest.raises(NotFound):
        await world.events(world.four).complete(made.id)


async def test_what_fails_is_tried_again_until_its_retries_are_used_up(world: World) -> None:
    one = world.events(world.one)
    made = await one.publish("t", max_retries=2)
    for wait_s in (2, 4):
        [taken] = await one.take()
        failed = await one.fail(taken, "no room")
        assert (failed.status, failed.error) == ("pending", "no room")
        assert failed.due_at_us == world.clock.now_us + wait_s * 1_000_000
        world.clock.advance(wait_s - 0.1)
        assert await one.take() == []
        world.clock.advance(0.2)
    [taken] = await one.take()
    assert taken.attempt == 3
    assert (await one.fail(taken, "for good")).status == "failed"
    with pytest.raises(NotFound):
        await world.events(world.four).retry(made.id)
    with pytest.raises(Denied):
        await world.events(world.two).retry(made.id)
    again = await one.retry(made.id)
    assert (again.status, again.retries, again.error) == ("pending", 0, "")
    with pytest.raises(Conflict):
        await one.retry(made.id)
    assert [each.id for each in await one.take()] == [made.id]


async def test_a_lease_that_runs_out_is_a_failure_and_its_holder_comes_late(
    world: World,
) -> None:
    one, two = world.events(world.one), world.events(world.two)
    await one.publish("t")
    [late] = await one.take(lease_s=10)
    world.clock.advance(11)
    assert await two.take() == []  # it is given back and waits
    world.clock.advance(3)
    [again] = await two.take()
    assert (again.attempt, again.retries) == (2, 1)
    with pytest.raises(Conflict):
        await one.complete(late)
    [mine] = await two.list()
    assert mine.error == "its lease ran out"
    assert (await two.complete(again)).status == "completed"


async def test_a_holder_that_takes_an_event_anew_is_fenced_by_its_attempt(world: World) -> None:
    one = world.events(world.one)
    await one.publish("t")
    [late] = await one.take(lease_s=1)
    world.clock.advance(2)
    await one.take()
    world.clock.advance(3)
    [again] = await one.take()
    with pytest.raises(Conflict, match="at attempt 1"):
        await one.fail(late, "slow")
    assert (await one.complete(again)).attempt == 2


async def test_the_operator_ends_what_somebody_holds(world: World) -> None:
    made = await world.events(world.one).publish("t")
    await world.events(world.two).take()
    assert (await world.events().fail(made.id, "stopped")).status == "pending"
    world.clock.advance(3)
    await world.events(world.two).take()
    assert (await world.events().complete(made.id)).status == "completed"


async def test_what_nobody_takes_in_time_expires_in_small_steps(world: World) -> None:
    one = world.events(world.one)
    await one.publish_many([{"type": "t", "ttl_s": 10}] * 250)
    await one.publish("t", ttl_s=100)
    [held] = await one.take(lease_s=60)
    world.clock.advance(11)
    assert [each.id for each in await one.take(limit=100)] == ["dev_event_251"]
    batches = world.core.places["development"].database.stats.batches
    assert await world.log.sweep(10) == 249
    assert world.core.places["development"].database.stats.batches >= batches + 3
    counts = await one.count()
    assert (counts.expired, counts.processing) == (249, 2)
    assert (await one.fail(held, "too late")).status == "expired"
    batches = world.core.places["development"].database.stats.batches
    assert await world.log.sweep(10) == 0
    assert world.core.places["development"].database.stats.batches == batches


async def test_what_has_ended_long_ago_is_deleted(world: World) -> None:
    one, settings = world.events(world.one), world.core.settings.queue
    await one.publish_many([{"type": "t"}] * 120)
    while taken := await one.take(limit=100):
        for each in taken:
            await one.complete(each)
    world.clock.advance(settings.done_keep_s - 1)
    await world.log.sweep(10)
    assert (await one.count()).completed == 120
    await one.publish("fresh")
    world.clock.advance(2)
    assert await world.log.sweep(10) == 120
    assert [each.type for each in await one.list()] == ["fresh"]


async def test_purging_deletes_what_may_be_deleted_and_nothing_else(world: World) -> None:
    one, two = world.events(world.one), world.events(world.two)
    mine = await one.publish_many([{"type": "a"}, {"type": "b"}, {"type": "b"}])
    await two.publish("b")
    with pytest.raises(InvalidInput):
        await one.purge()
    assert await one.purge(type="b") == 2
    assert await two.purge(ids=[mine[0]]) == 0
    world.clock.advance(60)
    await one.publish("a")
    assert await world.events().purge(older_than_s=30) == 2
    assert [each.type for each in await world.events().list()] == ["a"]


async def test_an_event_that_was_changed_in_the_file_is_never_handed_out(world: World) -> None:
    one = world.events(world.one)
    await one.publish("t", "canary", level="private")
    await one.publish("t", "other", priority=1)
    await world.tamper("UPDATE event SET level = 4, lane = '' WHERE id = 1")
    four = world.events(world.four)
    with pytest.raises(Damaged):
        await four.get("dev_event_1")
    assert await four.take() == []
    assert (await one.get("dev_event_2")).payload == "other"
    [row] = await four.list()
    assert (row.status, "does not match its seal" in row.error) == ("failed", True)


async def test_keys_of_payloads_are_replaced_and_destroyed(world: World) -> None:
    one, place = world.events(world.one), world.core.places["development"]
    await one.publish_many([{"type": "t", "payload": "canary-31"}] * 120)
    rotation = world.core.vault._rotation("development")
    await rotation.run("operator", lambda _: None, duty=1.0)
    assert (await one.get("dev_event_119")).payload == "canary-31"
    await rotation.shred(["rest"], "operator")
    assert b"canary-31" not in place.database.path.read_bytes()
    with pytest.raises(Damaged):
        await one.get("dev_event_119")
    assert len(await one.list()) == 120
    assert (await one.publish("t", "after")).payload == "after"


@pytest.mark.parametrize(
    ("statement", "named"), [(OF_ANY_TYPE, ()), (OF_A_TYPE, ("t",))], ids=["any", "of a type"]
)
async def test_taking_reads_what_it_takes_and_sorts_nothing(
    world: World, statement: str, named: tuple[str, ...]
) -> None:
    place = world.core.places["development"]
    plan = await place.database.read(
        lambda reader: reader.execute(
            f"EXPLAIN QUERY PLAN {statement}", ("development", "", *named, 1)
        ).fetchall()
    )
    assert "USING INDEX event_ready" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


async def test_agents_work_on_events_over_the_socket(tmp_path: Path) -> None:
    async with open_core(
        tmp_path / "d", settings=None, transient=False, headless=True, clock=None
    ) as core:
        agents = [await core.engine.agents.register("development", name=n) for n in ("a", "b")]
        tokens = [
            (await core.issue_token(each.id, 60, core.resolve("operator"))).token for each in agents
        ]

        def attach(number: int) -> object:
            return connect(tmp_path / "d", agent=agents[number].id, token=tokens[number])

        async with attach(0) as one, attach(1) as two:  # type: ignore[attr-defined]
            assert isinstance(one, Engine)
            heard: asyncio.Queue[dict[str, object]] = asyncio.Queue(10)
            await two.subscribe("dev.events", heard.put_nowait)
            made = await one.eventlog("development").publish("t", [1], level="public")
            assert (await heard.get())["ids"] == [made.id]
            assert made.source == agents[0].id
            [taken] = await two.eventlog("development").take()
            assert (taken.id, taken.payload, taken.holder) == (made.id, [1], agents[1].id)
            assert (await two.eventlog("development").complete(taken)).status == "completed"
            with pytest.raises(Denied):
                await two.eventlog("development", as_=agents[0].id).list()
            with pytest.raises(Denied):
                await two.eventlog("testing").list()
