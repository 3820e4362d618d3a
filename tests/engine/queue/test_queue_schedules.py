"""Messages that are sent again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Busy, Conflict, InvalidInput, NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import firing, rhythm, schedules
from swarmdeck.engine.queue.flow import State
from swarmdeck.engine.queue.schedules import Schedules, Wanted
from swarmdeck.engine.views import ScheduleView

EVERY_MINUTE: dict[str, Any] = {
    "name": "minutely",
    "kind": "tick",
    "body": b'{"n": 1}',
    "every_s": 60,
}


async def create(scene: Any, **more: Any) -> ScheduleView:
    return await scene.queue.schedules.create(OPERATOR_PRINCIPAL, Wanted(**EVERY_MINUTE | more))


async def pass_(scene: Any, seconds: float) -> None:
    """Time passes, and the engine has had its second."""
    scene.clock.advance(seconds)
    await scene.queue.schedules.tick()


async def one(scene: Any) -> ScheduleView:
    [view] = await scene.queue.schedules.views()
    return view


async def test_each_due_time_sends_one_message(scene: Any) -> None:
    made = await create(scene, priority=7, max_attempts=2, expires_s=50)
    assert (made.state, made.runs, made.next_at_us) == (
        "active", 0, scene.clock.wall_us() + 60_000_000,
    )  # fmt: skip
    await pass_(scene, 59)
    assert scene.counts() == {}
    for _ in range(3):
        await pass_(scene, 1)
        await pass_(scene, 0)
        [[ident, kind, body, priority, attempt, *_]] = await scene.claim()
        assert (kind, body, priority, attempt) == ("tick", b'{"n": 1}', 7, 1)
        await scene.queue.ack(scene.a, ident, 1)
        view = await one(scene)
        assert view.last_message == ident
        await pass_(scene, 59)
    assert (view.runs, view.skipped) == (3, 0)
    shown = await scene.queue.show(ident)
    assert (shown.max_attempts, shown.sender) == (2, "operator")
    assert shown.expires_at_us == shown.created_at_us + 50_000_000


async def test_it_skips_while_its_last_message_is_open_unless_it_may_overlap(scene: Any) -> None:
    await create(scene)
    await create(scene, name="beside", kind="other", overlap=True)
    for _ in range(3):
        await pass_(scene, 60)
    views = {view.name: view for view in await scene.queue.schedules.views()}
    assert (views["minutely"].runs, views["minutely"].skipped) == (1, 2)
    assert (views["beside"].runs, views["beside"].skipped) == (3, 0)
    assert len(await scene.ids(kinds=["tick"])) == 1
    await pass_(scene, 60)  # leased is open too
    assert (await one_named(scene, "minutely")).skipped == 3


async def one_named(scene: Any, name: str) -> ScheduleView:
    return next(view for view in await scene.queue.schedules.views() if view.name == name)


async def test_what_was_due_while_the_engine_was_away_is_sent_once(scene: Any) -> None:
    await create(scene, overlap=True)
    started_us = scene.clock.wall_us()
    await scene.reopen()
    await pass_(scene, 3_600 + 30)
    assert scene.counts() == {"ready": 1}
    view = await one(scene)
    assert (view.runs, view.next_at_us) == (1, started_us + 3_660_000_000)
    await pass_(scene, 30)
    assert scene.counts() == {"ready": 2}


async def test_a_time_is_sent_once_whoever_finds_it_due(scene: Any) -> None:
    """Two that remember the same state, as an engine and its memory of before a restore."""
    await create(scene, overlap=True)
    other = Schedules(scene.queue, scene.database, scene.settings, scene.clock)
    await other.views()
    scene.clock.advance(60)
    await asyncio.gather(scene.queue.schedules.tick(), other.tick(), scene.queue.schedules.tick())
    assert scene.counts() == {"ready": 1}
    assert scene.queue.flow.depth == 1


@pytest.mark.parametrize(("keyless", "messages"), [(False, 1), (True, 2)])
async def test_the_key_of_a_due_time_is_the_second_guard(
    scene: Any, monkeypatch: pytest.MonkeyPatch, keyless: bool, messages: int
) -> None:
    """Bugs planted: nobody looks whether the schedule has moved on; and there are no keys."""
    change = firing.Fire.change

    def without_key(fire: firing.Fire, tx: Any) -> Any:
        fire.send.key = None
        return change(fire, tx)

    blind = firing.SELECT_DUE.replace("next_at = ?", "next_at >= 0 * ?")
    monkeypatch.setattr(firing, "SELECT_DUE", blind)
    if keyless:
        monkeypatch.setattr(firing.Fire, "change", without_key)
    await create(scene, overlap=True)
    other = Schedules(scene.queue, scene.database, scene.settings, scene.clock)
    await other.views()
    scene.clock.advance(60)
    await asyncio.gather(scene.queue.schedules.tick(), other.tick())
    assert scene.counts() == {"ready": messages}


@pytest.mark.parametrize("why", ["full", "draining", "gone", "sealed"])
async def test_a_due_time_that_cannot_be_sent_waits(scene: Any, why: str) -> None:
    await create(scene, to="dev_agent_c")
    hinder(scene, why, True)
    await pass_(scene, 200)
    view = await one(scene)
    assert (view.state, view.runs, view.skipped) == ("late", 0, 0)
    assert view.reason
    hinder(scene, why, False)
    await pass_(scene, 1)
    view = await one(scene)
    assert (view.state, view.runs, view.reason) == ("active", 1, "")
    assert scene.counts() == {"ready": 1}


def hinder(scene: Any, why: str, on: bool) -> None:
    if why == "full":
        scene.queue.flow.resize(1_000 if not on else 0)
    elif why == "draining":
        scene.queue.flow.turn(State("draining" if on else "running"))
    elif why == "gone":
        scene.town.agents.pop("dev_agent_c") if on else scene.town.settle("dev_agent_c")
    else:
        scene.ring.reason = "sealed by hand" if on else ""


async def test_a_paused_one_sends_nothing_and_catches_nothing_up(scene: Any) -> None:
    made = await create(scene)
    paused = await scene.queue.schedules.pause(OPERATOR_PRINCIPAL, made.id)
    assert (paused.state, paused.next_at_us) == ("paused", None)
    with pytest.raises(Conflict):
        await scene.queue.schedules.pause(OPERATOR_PRINCIPAL, made.id)
    await pass_(scene, 200)
    assert scene.counts() == {}
    resumed = await scene.queue.schedules.resume(OPERATOR_PRINCIPAL, made.id)
    assert (resumed.state, resumed.next_at_us) == ("active", scene.clock.wall_us() + 40_000_000)
    with pytest.raises(Conflict):
        await scene.queue.schedules.resume(OPERATOR_PRINCIPAL, made.id)
    await scene.reopen()
    await pass_(scene, 40)
    assert scene.counts() == {"ready": 1}


async def test_by_hand_it_sends_at_once_and_its_times_stay(scene: Any) -> None:
    made = await create(scene)
    await scene.queue.schedules.pause(OPERATOR_PRINCIPAL, made.id)
    first = await scene.queue.schedules.run(scene.a, made.id)
    second = await scene.queue.schedules.run(OPERATOR_PRINCIPAL, made.id)
    assert first != second
    assert scene.counts() == {"ready": 2}
    view = await one(scene)
    assert (view.state, view.runs, view.last_message) == ("paused", 2, second)
    assert await scene.rows("SELECT actor FROM audit WHERE action = 'schedule.send'") == [
        (scene.a.id,), ("operator",),
    ]  # fmt: skip
    scene.queue.flow.resize(2)
    with pytest.raises(Busy):
        await scene.queue.schedules.run(OPERATOR_PRINCIPAL, made.id)
    assert scene.queue.flow.depth == 2


async def test_a_deleted_one_is_gone_and_what_it_sent_stays(scene: Any) -> None:
    made = await create(scene)
    await pass_(scene, 60)
    await scene.queue.schedules.delete(OPERATOR_PRINCIPAL, made.id)
    await pass_(scene, 60)
    assert await scene.queue.schedules.views() == []
    assert scene.counts() == {"ready": 1}
    with pytest.raises(NotFound):
        await scene.queue.schedules.show(made.id)
    again = await create(scene)
    assert again.id != made.id, "its keys would meet those of the one before"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"}, {"name": ""}, {"kind": "Not A Kind"}, {"priority": 11}, {"every_s": None},
        {"cron": "* * * * *"}, {"body": b"{"}, {"max_attempts": 101}, {"expires_s": -1.0},
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused_at_once(scene: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await create(scene, **wrong)
    assert await scene.queue.schedules.views() == []


async def test_names_and_receivers_are_looked_at(scene: Any) -> None:
    await create(scene)
    with pytest.raises(Conflict, match="minutely"):
        await create(scene)
    with pytest.raises(NotFound):
        await create(scene, name="other", to="dev_agent_nobody")
    for ident in ("dev_schedule_2", "test_schedule_1", "dev_schedule_01", "x", "dev_schedule_"):
        with pytest.raises(NotFound):
            await scene.queue.schedules.show(ident)


async def test_a_send_that_fails_is_tried_again(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(scene, overlap=True)
    with monkeypatch.context() as broken:
        broken.setattr(firing, "SENT", "not sql")
        await pass_(scene, 60)
    view = await one(scene)
    assert (view.state, view.runs) == ("late", 0)
    assert view.reason
    assert scene.queue.flow.depth == 0
    await pass_(scene, 1)
    view = await one(scene)
    assert (view.state, view.runs) == ("active", 1)


async def test_what_it_says_is_sealed_and_read_again(scene: Any) -> None:
    made = await create(scene)
    assert (await scene.queue.schedules.show(made.id)).body == {"n": 1}
    [(stored,)] = await scene.rows("SELECT body FROM schedule")
    assert stored[0] >= 0x80

    def move(tx: Any) -> None:
        tx.execute("UPDATE schedule SET target = 'dev_agent_a'")

    await scene.database.write(move)
    await scene.queue.schedules.reload()
    await pass_(scene, 60)
    view = await one(scene)
    assert (view.state, view.runs) == ("paused", 0)
    assert "does not match its seal" in view.reason
    assert scene.counts() == {}


async def test_many_that_have_to_wait_hold_up_nobody_else(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is for somebody who has gone waits for ever, and is always due the longest."""
    monkeypatch.setattr(schedules, "STEP", 2)
    for number in range(3):
        await create(scene, name=f"for a {number}", to="dev_agent_a")
    scene.clock.advance(1)
    await create(scene, name="for anyone")
    del scene.town.agents["dev_agent_a"]
    await pass_(scene, 60)
    assert (await one_named(scene, "for anyone")).runs == 1


async def test_nobody_can_send_a_due_time_before_it_is_due(scene: Any) -> None:
    """The key of a due time is none that anybody may give a message of theirs."""
    view = await create(scene)
    number = view.id.rpartition("_")[2]
    forged = f"schedule:{number}:{view.next_at_us}"
    await scene.queue.send(scene.a, "forged", b"0", key=forged)
    await pass_(scene, 60)
    assert [message[1] for message in await scene.claim(limit=5)] == ["forged", "tick"]


async def test_one_whose_time_zone_has_gone_waits_and_holds_up_nobody(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data may be on another host, or the zones may have been updated."""
    await create(scene, name="broken", every_s=None, cron="* * * * *", zone="Europe/Berlin")
    await create(scene, name="beside")

    def gone(_: str) -> None:
        raise InvalidInput("unknown time zone Europe/Berlin")

    monkeypatch.setattr(rhythm, "_zone", gone)
    for _ in range(3):
        await pass_(scene, 60)
        assert scene.queue.flow.depth == scene.queue.counters.open
    assert (await one_named(scene, "beside")).runs == 1
    broken = await one_named(scene, "broken")
    assert broken.runs == 0
    assert "unknown time zone" in broken.reason


@pytest.mark.parametrize("restart", [False, True])
async def test_a_clock_that_was_set_back_silences_nothing(scene: Any, restart: bool) -> None:
    """What is due next was reckoned by a clock that was a month ahead."""
    await create(scene, overlap=True)
    await create(scene, name="cron", every_s=None, cron="*/5 * * * *")
    await create(scene, name="paused")
    await scene.queue.schedules.pause(OPERATOR_PRINCIPAL, (await one_named(scene, "paused")).id)
    await pass_(scene, 30 * 86_400)
    scene.clock.jump(-30 * 86_400)
    if restart:
        await scene.reopen()
    await pass_(scene, 0)
    for name, most_s in (("minutely", 60), ("cron", 300)):
        view = await one_named(scene, name)
        assert 0 < view.next_at_us - scene.clock.wall_us() <= most_s * 1_000_000
    assert (await one_named(scene, "paused")).state == "paused"
    await pass_(scene, 300)
    assert (await one_named(scene, "minutely")).runs == 2
