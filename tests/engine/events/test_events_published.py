"""Publishing events, and who may look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swarmdeck.engine.errors import Denied, InvalidInput, NotFound
from swarmdeck.engine.events import Published

if TYPE_CHECKING:
    from .conftest import World


async def test_an_event_is_shown_as_it_was_published(world: World) -> None:
    one = world.events(world.one)
    made = await one.publish(
        "build.done", {"ok": True}, priority=0, tags=["main", "nightly"], ttl_s=60, max_retries=1
    )
    assert made == await one.get(made.id)
    assert (made.source, made.level, made.swarm) == (world.one, "swarm", world.swarm)
    assert (made.status, made.priority, made.max_retries) == ("pending", 0, 1)
    assert (made.payload, made.tags) == ({"ok": True}, ("main", "nightly"))
    assert made.expires_at_us - made.created_at_us == 60_000_000
    assert made.chain == made.id
    [row] = await one.list()
    assert row.payload is None


@pytest.mark.parametrize(
    ("level", "readers"),
    [
        ("private", {"one"}),
        ("team", {"one", "three", "operator"}),
        ("swarm", {"one", "two", "three", "operator"}),
        ("public", {"one", "two", "three", "four", "operator"}),
    ],
)
async def test_the_level_says_who_reads_and_takes_it(
    world: World, level: str, readers: set[str]
) -> None:
    made = await world.events(world.one).publish("news", level=level)
    for name in ("one", "two", "three", "four", "operator"):
        events = world.events(None if name == "operator" else getattr(world, name))
        assert ([each.id for each in await events.list()] == [made.id]) == (name in readers)
        assert ((await events.count()).pending == 1) == (name in readers)
        if name in readers:
            assert (await events.get(made.id)).type == "news"
            assert [each.id for each in await events.chain(made.id)] == [made.id]
            continue
        with pytest.raises(NotFound):
            await events.get(made.id)
        assert await events.take() == []


async def test_the_operator_publishes_for_all_or_for_the_swarm_of_whom_it_is_for(
    world: World,
) -> None:
    operator = world.events()
    assert (await operator.publish("news")).level == "public"
    for target in (world.one, world.swarm):
        made = await operator.publish("news", to=target)
        assert (made.level, made.swarm, made.target) == ("swarm", world.swarm, target)
        assert (await world.events(world.two).get(made.id)).target == target


async def test_nothing_is_stored_that_its_target_could_not_read(world: World) -> None:
    four = world.events(world.four)
    for target in (world.one, world.team, world.swarm):
        with pytest.raises(InvalidInput, match="could not read"):
            await four.publish("news", to=target)
    with pytest.raises(NotFound):
        await four.publish("news", to="dev_agent_nobody00")
    assert (await four.publish("news", to=world.one, level="public")).target == world.one


async def test_events_of_one_call_are_all_stored_or_none(world: World) -> None:
    one = world.events(world.one)
    ids = await one.publish_many([{"type": "a"}, {"type": "b", "payload": [1], "priority": 9}])
    assert ids == ["dev_event_1", "dev_event_2"]
    with pytest.raises(NotFound):
        await one.publish_many([{"type": "c"}, {"type": "d", "parent": "dev_event_77"}])
    for wrong in ([{"type": "c"}, {"typ": "d"}], [], [{"type": "No Type"}], [{}] * 1_001, {"a": 1}):
        with pytest.raises(InvalidInput):
            await one.publish_many(wrong)  # type: ignore[arg-type]
    assert (await one.count()).pending == 2
    assert [each.payload for each in [await one.get(ident) for ident in ids]] == [None, [1]]


async def test_what_follows_from_an_event_is_its_chain(world: World) -> None:
    one, three = world.events(world.one), world.events(world.three)
    first = await one.publish("asked", level="team")
    hidden = await one.publish("private.thought", level="private", parent=first.id)
    second = await three.publish("answered", parent=first.id, level="team")
    third = await one.publish("thanked", parent=second.id, level="team")
    assert {hidden.chain, second.chain, third.chain} == {first.id}
    assert [each.id for each in await three.chain(third.id)] == [first.id, second.id, third.id]
    with pytest.raises(NotFound):
        await three.publish("guessed", parent=hidden.id)


async def test_lists_are_narrowed_ordered_and_paged(world: World) -> None:
    one = world.events(world.one)
    await one.publish_many(
        {"type": f"t{n % 2}", "priority": n, "tags": [f"tag{n % 3}"], "payload": n}
        for n in range(10)
    )
    await world.events(world.two).publish("t0", to=world.one)

    async def numbers(**wanted: object) -> list[int]:
        return [int(each.id.rpartition("_")[2]) for each in await one.list(**wanted)]  # type: ignore[arg-type]

    assert await numbers() == list(range(11, 0, -1))
    assert await numbers(type="t1", descending=True) == [2, 4, 6, 8, 10]
    assert await numbers(order="urgency", limit=3) == [10, 9, 8]
    assert await numbers(order="urgency", offset=9) == [2, 1]
    assert await numbers(tag="tag1") == [8, 5, 2]
    assert await numbers(source=world.two) == await numbers(to=world.one) == [11]
    assert await numbers(after="dev_event_9") == [11, 10]
    assert await numbers(contains="TAG2", order="type") == [9, 3, 6]
    assert await numbers(status="completed") == []


async def test_grants_and_denials_of_events_count(world: World) -> None:
    acl = world.core.engine.acl
    made = await world.events(world.one).publish("news", level="team")
    with pytest.raises(NotFound):
        await world.events(world.four).get(made.id)
    await acl.grant(world.four, resource="event", level="team", key_prefix=made.id)
    await acl.deny(world.three, resource="event", level="team", key_prefix=made.id)
    assert (await world.events(world.four).get(made.id)).id == made.id
    assert [each.id for each in await world.events(world.four).list()] == [made.id]
    assert await world.events(world.three).list() == []
    assert await world.events(world.three).take() == []


async def test_an_agent_publishes_at_no_level_that_is_not_its_own(world: World) -> None:
    with pytest.raises(Denied):
        await world.events(world.one).publish("news", level="system")
    with pytest.raises(Denied):
        await world.events(world.two).publish("news", level="team", team=world.team)


async def test_who_listens_hears_ids_and_nothing_else(world: World) -> None:
    one, bus = world.events(world.one), world.core.bus
    async with bus.subscribe() as watcher:
        await one.publish("secret.plan", {"x": 1}, level="private")
        assert not any(isinstance(each, Published) for each in iter(watcher.poll, None))
    async with bus.subscribe(channel="dev.events") as ears:
        ids = await one.publish_many([{"type": "a"}, {"type": "b"}])
        heard = [each.body for each in iter(ears.poll, None) if isinstance(each, Published)]
    assert heard == [{"environment": "development", "ids": ids}]
