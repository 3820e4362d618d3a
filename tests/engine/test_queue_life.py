"""Schedules, results, histories and dead letters through the whole engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions, codec, connect
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.engine import Engine
from swarmdeck.engine.errors import Denied, NotFound
from swarmdeck.engine.settings import load_settings

DEV = "development"
DAY_S = 86_400.0


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An engine without a socket, whose clock stands still and whose seconds tests call."""
    async with opened(tmp_path) as core:
        yield core


def opened(data: Path, clock: FakeClock | None = None) -> Any:
    settings = load_settings(None, {}, {})
    return open_core(
        data, settings=settings, transient=True, headless=True, clock=clock or FakeClock()
    )


@pytest.fixture
def later(core: Core) -> Any:
    clock: Any = core.clock
    inner = clock._wall.__self__

    async def later(seconds: float) -> None:
        inner.advance(seconds)
        await core.ticker.sweep(due=True)

    return later


async def schedule(engine: Engine, **more: Any) -> Any:
    wanted = {"environment": DEV, "name": "tidy", "kind": "sweep", "body": {"days": 7}}
    return await engine.run(actions.ScheduleCreate(**wanted | {"every_s": 60.0} | more))


async def test_a_schedule_sends_with_the_seconds_of_the_engine(core: Core, later: Any) -> None:
    engine = core.engine
    made = await schedule(engine, priority=8)
    await later(61)
    await later(61)
    [shown] = await engine.run(actions.ScheduleList())
    assert (shown.runs, shown.skipped) == (1, 1)
    message = await engine.run(actions.QueueShow(id=shown.last_message))
    assert (message.kind, message.priority, message.body) == ("sweep", 8, {"days": 7})
    steps = await engine.run(actions.QueueHistory(id=message.id))
    assert [(step.actor, step.action) for step in steps] == [
        ("operator", "send"), ("engine", "send"),
    ]  # fmt: skip
    assert steps[1].detail == made.id
    paused = await engine.run(actions.SchedulePause(id=made.id))
    assert paused.state == "paused"
    sent = await engine.run(actions.ScheduleRun(id=made.id))
    assert sent.id != message.id
    assert (await engine.run(actions.ScheduleShow(id=made.id))).body == {"days": 7}
    await engine.run(actions.ScheduleResume(id=made.id))
    await engine.run(actions.ScheduleDelete(id=made.id))
    assert await engine.run(actions.ScheduleList(environment=DEV)) == []


async def test_schedules_in_python(core: Core) -> None:
    schedules = core.engine.schedules
    made = await schedules.create(
        DEV, name="report", kind="report", body=[1], cron="30 6 * * mon-fri", zone="Europe/Berlin",
        priority="high",
    )  # fmt: skip
    assert (made.priority, made.body, made.zone) == (8, [1], "Europe/Berlin")
    assert [each.id for each in await schedules.list()] == [made.id]
    assert await schedules.list("production") == []
    assert (await schedules.pause(made.id)).state == "paused"
    assert (await schedules.resume(made.id)).state == "active"
    assert (await schedules.run(made.id)).body == [1]
    assert (await schedules.get(made.id)).runs == 1
    await schedules.delete(made.id)
    with pytest.raises(NotFound):
        await schedules.get(made.id)


async def test_one_command_sends_nothing_that_is_due(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock) as core:
        await schedule(core.engine)
    clock.advance(120)
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=clock, brief=True
    ) as core:
        await core.ticker.sweep(due=True)
        assert core.places[DEV].queue.counts().ready == 0
    async with opened(tmp_path, clock) as core:
        await core.ticker.sweep(due=True)
        assert core.places[DEV].queue.counts().ready == 1


async def test_a_clock_that_is_not_believed_holds_schedules_and_clean_up(
    core: Core, later: Any
) -> None:
    inner = core.clock._wall.__self__  # type: ignore[attr-defined]
    await schedule(core.engine)
    ident = await core.engine.queue(DEV).send("work")
    await core.engine.run(actions.QueueCancel(id=ident))
    inner.jump(40 * DAY_S)
    await later(0)
    assert core.time.is_held
    counts = core.places[DEV].queue.counts()
    assert (counts.ready, counts.cancelled) == (0, 1)
    await core.engine.run(actions.ClockConfirm())
    await later(0)
    counts = core.places[DEV].queue.counts()
    assert (counts.ready, counts.cancelled) == (1, 0)


async def test_what_has_ended_goes_with_the_seconds_of_the_engine(core: Core, later: Any) -> None:
    queue = core.engine.queue(DEV)
    for _ in range(5):
        await core.engine.run(actions.QueueCancel(id=await queue.send("work")))
    kept = await queue.send("work")
    await later(DAY_S + 1)
    counts = core.places[DEV].queue.counts()
    assert (counts.ready, counts.cancelled) == (1, 0)
    assert (await core.engine.run(actions.QueueShow(id=kept))).state == "ready"


async def test_schedules_outlive_a_rotation_of_keys_and_go_with_their_keys(
    core: Core, later: Any
) -> None:
    made = await schedule(core.engine)
    database = core.places[DEV].database

    async def body() -> bytes:
        return await database.read(
            lambda reader: bytes(reader.execute("SELECT body FROM schedule").fetchone()[0])
        )

    before = await body()
    await core.engine.run(actions.VaultRotate(environment=DEV))
    assert before[1:5] != (await body())[1:5], "under the key of before"
    assert (await core.engine.run(actions.ScheduleShow(id=made.id))).body == {"days": 7}
    await later(61)
    assert core.places[DEV].queue.counts().ready == 1
    await core.engine.run(actions.VaultShred(environment=DEV, kind="all"))
    assert await core.engine.run(actions.ScheduleList(environment=DEV)) == []


async def test_a_full_check_reads_what_schedules_say(core: Core) -> None:
    await schedule(core.engine)
    [found] = await core.engine.run(actions.DatabaseCheck(environment=DEV, full=True))
    assert found.status == "ok"
    await core.places[DEV].database.write(
        lambda tx: tx.execute("UPDATE schedule SET kind = 'other'")
    )
    [found] = await core.engine.run(actions.DatabaseCheck(environment=DEV, full=True))
    assert found.status == "failed"
    assert "schedule 1" in found.detail


async def test_dead_letters_are_redriven_and_counted(core: Core) -> None:
    engine = core.engine
    agent = await engine.agents.register(DEV, name="worker")
    queue = engine.queue(DEV, as_=agent)
    for kind in ("a", "a", "b"):
        await queue.send(kind, max_attempts=1)
    for message in await queue.claim(10):
        await queue.nack(message, error="no")
    done = await engine.run(actions.QueueRedrive(environment=DEV, kind="a"))
    assert (done.changed, done.detail) == (2, "2 dead letters are ready again")
    core.places[DEV].queue.flow.resize(2)
    done = await engine.run(actions.QueueRedrive(environment=DEV))
    assert done.changed == 0
    assert "1 stay dead" in done.detail
    assert "full" in done.detail


# --- over the socket ---------------------------------------------------------------------------


class Two:
    """An engine with a socket, and two agents attached to it."""

    core: Core
    names: list[str]
    sender: Engine
    other: Engine


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        found = Two()
        found.core = await stack.enter_async_context(
            open_core(tmp_path, settings=None, transient=False, headless=True, clock=None)
        )
        links, found.names = [], []
        for name in ("sender", "other"):
            agent = (await found.core.engine.agents.register(DEV, name=name)).id
            token = await found.core.engine.run(actions.AgentToken(id=agent))
            link = connect(found.core.data, agent=agent, token=token.token)
            links.append(await stack.enter_async_context(link))
            found.names.append(agent)
        found.sender, found.other = links
        yield found


async def test_a_sender_waits_for_the_result_of_its_message_over_the_socket(two: Any) -> None:
    sender, other = two.names
    mine = two.sender.queue(DEV, as_=sender)
    theirs = two.other.queue(DEV, as_=other)
    ident = await mine.send("digest", {"path": "a"})
    assert (await mine.result(ident)).is_open
    waiting = asyncio.create_task(mine.result(ident, wait_s=30))
    [message] = await theirs.claim(wait_s=5)
    await theirs.ack(message, {"lines": 3})
    found = await waiting
    assert (found.state, found.result, found.is_open) == ("done", {"lines": 3}, False)
    operator = await two.core.engine.queue(DEV).result(ident)
    assert operator == found
    with pytest.raises(NotFound):
        await theirs.result(ident)
    await two.core.places[DEV].database.write(lambda _: None)  # nobody waits for a denial's row
    rows = await two.core.places[DEV].database.read(
        lambda reader: reader.execute(
            "SELECT actor, allowed FROM audit WHERE action = 'queue.result' AND allowed = 0"
        ).fetchall()
    )
    assert rows == [(other, 0)]


async def test_who_leaves_a_wait_over_the_socket_leaves_nothing_behind(two: Any) -> None:
    sender, _ = two.names
    mine = two.sender.queue(DEV, as_=sender)
    ident = await mine.send("digest")
    waiting = asyncio.create_task(mine.result(ident, wait_s=30))
    awaited = two.core.places[DEV].queue.awaited
    while not awaited:
        await asyncio.sleep(0)
    waiting.cancel()
    while awaited:
        await asyncio.sleep(0)
    assert len(awaited) == 0


async def test_an_agent_sees_the_history_of_its_messages_alone(two: Any) -> None:
    sender, _ = two.names
    ident = await two.sender.queue(DEV, as_=sender).send("digest")
    steps = await two.sender.run(actions.QueueHistory(id=ident))
    assert [step.action for step in steps] == ["send"]
    with pytest.raises(NotFound):
        await two.other.run(actions.QueueHistory(id=ident))


async def test_schedules_need_a_role(two: Any) -> None:
    wanted = actions.ScheduleCreate(
        environment=DEV, name="n", kind="k", body=codec.decode_json(b"1"), every_s=60.0
    )
    with pytest.raises(Denied):
        await two.sender.run(wanted)
    await two.core.engine.run(actions.AgentUpdate(id=two.names[0], role="coordinator"))
    made = await two.sender.run(wanted)
    assert made.created_by == two.names[0]
    with pytest.raises(Denied):
        await two.other.run(actions.ScheduleDelete(id=made.id))
    with pytest.raises(Denied):
        await two.other.run(actions.QueueRedrive(environment=DEV))


async def test_a_look_at_a_schedule_that_is_not_there_leaves_nothing_in_the_trail(
    core: Core,
) -> None:
    """What somebody makes up as an id is no object, and may be long."""
    made_up = "prod_" + "x" * 5_000
    with pytest.raises(NotFound):
        await core.engine.run(actions.ScheduleShow(id=made_up))
    rows = await core.engine.run(actions.AuditList(environment="production"))
    assert all(row.action != "schedule.show" for row in rows)
