"""What a registry says of agents and teams: metadata, when last heard, how they have done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import InvalidInput, NotFound
from swarmdeck.engine.settings import load_settings

DEV = "development"


@asynccontextmanager
async def opened(data: Path, clock: FakeClock) -> AsyncIterator[Core]:
    async with open_core(
        data,
        settings=load_settings(None, {}, {}),
        transient=True,
        brief=True,
        headless=False,
        clock=clock,
    ) as core:
        yield core


async def test_what_is_known_of_an_agent_outlives_the_engine(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock) as core:
        agents = core.engine.agents
        made = await agents.register(DEV, name="one", metadata={"model": "large", "n": 1})
        never = await agents.register(DEV, name="two")
        assert (made.metadata, never.metadata) == ({"model": "large", "n": 1}, {})
        changed = await agents.update(made, metadata={"model": "small"}, role="monitor")
        assert (changed.metadata, changed.role) == ({"model": "small"}, "monitor")
        assert (await agents.update(made, name="first")).metadata == {"model": "small"}
        core.places[DEV].registry.heartbeat(made.id)
        heard_us = clock.wall_us()
        clock.advance(3)
        assert (await agents.get(made)).last_seen_at_us == heard_us
        assert (await agents.list(DEV))[0].metadata is None  # of many only what is short
        clock.advance(1)
    async with opened(tmp_path, clock) as core:
        found = await core.engine.agents.get(made.id)
        assert (found.metadata, found.name) == ({"model": "small"}, "first")
        assert (found.last_seen_at_us, found.heartbeat_age_s) == (heard_us, None)
        assert (await core.engine.agents.get(never.id)).last_seen_at_us is None


async def test_metadata_is_a_small_object(tmp_path: Path) -> None:
    async with opened(tmp_path, FakeClock()) as core:
        made = await core.engine.agents.register(DEV, name="one")
        for wrong in ([1], "text", {"text": "x" * 17_000}):
            with pytest.raises(InvalidInput):
                await core.engine.run(actions.AgentUpdate(id=made.id, metadata=wrong))
        assert (await core.engine.agents.get(made)).metadata == {}


async def test_agents_are_listed_by_state(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock) as core:
        agents = core.engine.agents
        made = [await agents.register(DEV, name=name, type=name) for name in ("a", "b")]
        core.places[DEV].registry.heartbeat(made[0].id)
        assert len(await agents.list(DEV, state="external")) == 2
        clock.advance(3600)
        [stale] = await agents.list(state="stale")
        [other] = await agents.list(DEV, state="external", type="b")
        assert (stale.id, other.id) == (made[0].id, made[1].id)
        with pytest.raises(InvalidInput):
            await agents.list(state="asleep")


async def test_an_agent_is_shown_with_how_it_has_done(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock) as core:
        engine = core.engine
        agent = await engine.agents.register(DEV, name="one")
        before = (await engine.agents.get(agent)).performance
        assert before is not None
        assert (before.success, before.event_s) == (None, None)
        queue = engine.queue(DEV, as_=agent)
        await queue.send("work")
        for message in await queue.claim():
            await queue.ack(message)
        events = engine.eventlog(DEV, as_=agent)
        for name in ("good", "bad"):
            await events.publish(name, max_retries=0)
        for event in await events.take(limit=2):
            clock.advance(2)
            await (events.complete(event) if event.type == "good" else events.fail(event, "no"))
        tasks = engine.tasks(DEV, as_=agent)
        task = await tasks.create("write")
        await tasks.take()
        await tasks.complete(task.id)
        done = (await engine.agents.get(agent)).performance
        assert done is not None
        assert (done.messages_done, done.tasks_completed, done.tasks_failed) == (1, 1, 0)
        assert (done.events_completed, done.events_failed, done.event_s) == (1, 1, 3.0)
        assert done.success == pytest.approx(3 / 4)


async def test_a_team_is_renamed_led_and_dissolved(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock) as core:
        agents = core.engine.agents
        one, two = [await agents.register(DEV, name=name) for name in ("one", "two")]
        team = await agents.create_team(DEV, name="Web", leader=one)
        assert (await agents.rename_team(team.id, "Pages")).name == "Pages"
        led = await agents.lead_team(team.id, two)
        assert (led.leader, set(led.members)) == (two.id, {one.id, two.id})
        assert (await agents.get(two)).teams == (team.id,)
        await core.engine.memory(one).set("plan", 1, level="team")
        assert await core.engine.memory(two).get("plan") == 1  # who leads is a member
        assert (await agents.lead_team(team.id, None)).leader is None
    async with opened(tmp_path, clock) as core:
        agents = core.engine.agents
        found = await agents.get_team(team.id)
        assert (found.name, found.leader, len(found.members)) == ("Pages", None, 2)
        await agents.delete_team(team.id)
        assert await agents.list_teams(DEV) == []
        assert (await agents.get(two)).teams == ()
        assert await core.engine.memory(two).get("plan") is None
        for call in (
            agents.get_team(team.id), agents.rename_team(team.id, "X"),
            agents.lead_team(team.id, one), agents.delete_team(team.id),
        ):  # fmt: skip
            with pytest.raises(NotFound):
                await call


async def test_a_permission_is_asked_by_resource_action_and_level(tmp_path: Path) -> None:
    async with opened(tmp_path, FakeClock()) as core:
        engine = core.engine
        swarm = await engine.swarms.create(DEV, agents=0, memory_bytes=64 << 20)
        team = await engine.agents.create_team(DEV, name="Web")
        one = await engine.agents.register(DEV, name="one", swarm=swarm.id, team=team.id)
        two = await engine.agents.register(DEV, name="two")
        acl = engine.acl
        for resource in ("memory", "event", "conflict"):
            asked = [
                await acl.has(one, resource, "read", level)
                for level in ("private", "team", "swarm", "public", "system")
            ]
            assert asked == [True, True, True, True, False]
        assert await acl.has(one, "memory", "write", "team")
        assert not await acl.has(one, "memory", "write", "swarm")
        assert not await acl.has(two, "memory", "read", "team")  # it is in none
        assert not await acl.has(two, "event", "read", 3)
        await acl.grant(two, resource="event", level="swarm", actions=["read"])
        assert await acl.has(two, "event", "read", 3)
        assert not await acl.has(two, "memory", "read", "swarm")
        await acl.grant(two, level="swarm", actions=["read"], key_prefix="plan:")
        assert not await acl.has(two, "memory", "read", "swarm")  # over some keys alone
        await acl.deny(one, resource="event", level="public", actions=["read"])
        assert not await acl.has(one, "event", "read", "public")
        with pytest.raises(InvalidInput):
            await acl.has(one, "weather", "read", "public")
        with pytest.raises(NotFound):
            await acl.has("dev_agent_nobody00", "event", "read", "public")
