"""The queue panel: lanes, states, and what can be done to a message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console import prefill
from swarmdeck.console.listings import QUEUE, Scope
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen
from swarmdeck.engine import actions, views
from swarmdeck.engine.errors import NotFound, Unavailable
from swarmdeck.engine.model import Environment


@pytest.mark.parametrize(("size", "hidden"), [((80, 24), 6), ((120, 30), 3), ((200, 60), 0)])
async def test_lanes_give_way_to_messages_as_the_terminal_gets_lower(
    fakes: Any, size: tuple[int, int], hidden: int
) -> None:
    async with fakes.console(fakes.busy(), size=size) as deck:
        await deck.press("4")
        await deck.until(lambda: " 10  ▓" in deck.text)
        assert ("more lane" in deck.text) == bool(hidden)
        assert not hidden or f"{hidden} more lanes" in deck.text
        assert "Messages · open" in deck.text


async def test_lanes_follow_the_environment_and_say_when_they_cannot_be_read(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("queue @development")
        await deck.until(lambda: "Lanes by priority · development" in deck.text)
        await deck.until(lambda: actions.QueueLanes(environment="development") in host.asked)
        host.failures[actions.QueueLanes] = Unavailable("the lanes are gone")
        await deck.until(lambda: "✗ the lanes are gone" in deck.text)
        assert "1 of 40" in deck.text, "the messages stay"
        host.failures.clear()
        await deck.until(lambda: "gone" not in deck.text)


async def test_one_answer_is_awaited_at_a_time(fakes: Any) -> None:
    """A slow engine is not asked again and again for what it has not answered."""
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        run = host.run

        async def slow(action: Any, on_progress: Any = None) -> Any:
            if isinstance(action, actions.QueueLanes):
                host.asked.append(action)
                await host.working.wait()
            return await run(action, on_progress)

        host.run = slow
        host.working.clear()
        await deck.press("4")
        for _ in range(3):
            before = sum(isinstance(a, actions.Status) for a in host.asked)
            deck.app.refresh_soon()
            await deck.until(
                lambda before=before: (
                    sum(isinstance(a, actions.Status) for a in host.asked) > before
                )
            )
        assert sum(isinstance(a, actions.QueueLanes) for a in host.asked) == 1
        host.working.set()
        await deck.until(lambda: " 10  ▓" in deck.text)


async def test_edit_begins_with_the_whole_message(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4", "j", "e")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert "lib/module_1.py" in deck.text
        await deck.press("tab", "backspace", *"8", "enter")
        await deck.until(deck.host.changes)
        (edit,) = deck.host.changes()
        assert isinstance(edit, actions.QueueEdit)
        assert edit.id == "dev_msg_00000001"
        assert edit.priority == 8
        assert edit.body["path"] == "lib/module_1.py"


async def test_a_message_that_is_gone_cannot_be_edited(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.QueueShow] = NotFound("no message dev_msg_00000000")
    async with fakes.console(host=host) as deck:
        await deck.press("4", "e")
        await deck.until(lambda: deck.toasts)
        assert "Not found" in deck.toasts[0]


@pytest.mark.parametrize(("key", "kind"), [("X", None), ("P", "digest")])
async def test_a_purge_counts_and_asks(fakes: Any, key: str, kind: str | None) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue dead @development")
        await deck.until(lambda: "not a digest" in deck.text)
        await deck.press(key)
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.press("enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "12 messages: digest 12" in deck.text
        assert "gone for good" in deck.text
        await deck.press("y")
        wanted = actions.QueuePurge(environment="development", state="dead", kind=kind)
        await deck.until(lambda: deck.host.changes() == [wanted])


async def test_dead_letters_are_counted_with_their_errors_before_they_are_redriven(
    fakes: Any,
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue dead @development")
        await deck.until(lambda: "not a digest" in deck.text)
        await deck.press("L")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.press("enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "12 dead letters: digest 12" in deck.text
        assert "12 failed with: ValueError: not a digest" in deck.text
        await deck.press("y")
        wanted = actions.QueueRedrive(environment="development", kind="digest")
        await deck.until(lambda: deck.host.changes() == [wanted])


async def test_nothing_dead_is_nothing_to_redrive(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue redrive development --kind other")
        await deck.until(lambda: deck.toasts)
        assert "no dead letter" in deck.toasts[0]
        assert deck.host.changes() == []


async def test_a_message_tells_its_history_and_asks_again_only_when_it_moved(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("queue @development")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: "ended while it held this" in deck.text)
        assert "no such file" in deck.text

        def asked() -> int:
            return sum(isinstance(each, actions.QueueHistory) for each in host.asked)

        looks = sum(isinstance(each, actions.QueueShow) for each in host.asked)
        await deck.press("ctrl+r")
        await deck.until(
            lambda: sum(isinstance(each, actions.QueueShow) for each in host.asked) > looks
        )
        assert asked() == 1
        message = host.answers[actions.QueueShow]
        host.answers[actions.QueueShow] = lambda a: msgspec.structs.replace(message(a), attempt=3)
        await deck.press("ctrl+r")
        await deck.until(lambda: asked() == 2)


async def test_a_history_that_cannot_be_read_leaves_the_message(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.QueueHistory] = Unavailable("looking took longer than 10 s")
    async with fakes.console(host=host) as deck:
        await deck.type("queue @development")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: "its history: looking took longer" in deck.text)
        assert '"body"' in deck.text


async def test_schedules_are_run_paused_resumed_and_deleted_by_keys(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(120, 30)) as deck:
        await deck.press("4", "S")
        await deck.until(lambda: "every 60 s" in deck.text)
        await deck.press("r")
        await deck.until(lambda: actions.ScheduleRun(id="dev_schedule_1") in deck.host.asked)
        await deck.press("s")
        await deck.until(lambda: actions.SchedulePause(id="dev_schedule_1") in deck.host.asked)
        await deck.press("C")
        await deck.until(lambda: actions.ScheduleResume(id="dev_schedule_1") in deck.host.asked)
        await deck.press("ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "messages it has sent stay" in deck.text
        await deck.press("y")
        await deck.until(lambda: actions.ScheduleDelete(id="dev_schedule_1") in deck.host.asked)


async def test_a_late_schedule_says_why(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(120, 30)) as deck:
        await deck.type("schedules @research")
        await deck.until(lambda: "▲ late" in deck.text)
        assert "waits: the queue of research is full" in deck.text


async def test_long_queues_are_read_a_page_at_a_time(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    rows = [fakes.message(n) for n in range(1_000)]
    host.answers[actions.QueueList] = lambda a: rows[a.offset : a.offset + a.limit]
    async with fakes.console(host=host) as deck:
        await deck.press("4", "slash", *"digest", "enter")  # nobody counts what is filtered
        await deck.until(lambda: "1 of 200+" in deck.text)
        host.asked.clear()
        await deck.press("ctrl+r")
        await deck.until(lambda: any(isinstance(a, actions.QueueList) for a in host.asked))
        asked = [a.offset for a in host.asked if isinstance(a, actions.QueueList)]
        assert set(asked) == {0}
        for _ in range(4):
            await deck.press("G")
            await deck.pilot.pause(0.4)
        await deck.until(
            lambda: (
                {a.offset for a in host.asked if isinstance(a, actions.QueueList)}
                >= {0, 200, 400, 600}
            )
        )
        assert {a.limit for a in host.asked if isinstance(a, actions.QueueList)} == {200}


async def test_a_plain_filter_is_looked_for_by_the_engine_and_others_here(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("slash", *"00000007", "enter")
        wanted = actions.QueueList(contains="00000007")
        await deck.until(lambda: wanted in deck.host.asked)
        await deck.until(lambda: "1 of 1" in deck.text)
        await deck.press("escape")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("slash", *"prio>8", "enter")
        await deck.until(lambda: "1 of 8" in deck.text)
        last = [a for a in deck.host.asked if isinstance(a, actions.QueueList)][-1]
        assert last.contains == ""


async def test_sorting_is_the_engines_work(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("o", "o")
        await deck.until(lambda: any(getattr(a, "order", "") == "kind" for a in deck.host.asked))


async def test_x_explains_a_message_and_its_remedies_run(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4", "j", "x")
        await deck.until(lambda: "What would change it" in deck.text)
        await deck.until(lambda: "It waits: it was asked to" in deck.text)
        assert "✗ priority" in deck.text
        assert "· attempts" in deck.text
        await deck.press("j", "enter")
        wanted = actions.QueueEdit(id="dev_msg_00000001", priority=10)
        await deck.until(lambda: deck.host.changes() == [wanted])


async def test_an_explanation_that_fails_says_so(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.Explain] = NotFound("no message dev_msg_00000000", hint="look again")
    async with fakes.console(host=host) as deck:
        await deck.press("4", "x")
        await deck.until(lambda: "✗ no message dev_msg_00000000" in deck.text)
        assert "look again" in deck.text


def test_rows_without_an_edit_or_a_reason_say_so(fakes: Any) -> None:
    for ask in (prefill.edit, prefill.why):
        with pytest.raises(NotFound):
            ask(None)
    assert prefill.exact(1 << 30) == "1GB"
    assert prefill.exact(1536 << 20) == "1536MB"
    assert prefill.exact(1234567) == "1234567"
    assert prefill.edit(fakes.agent("dev_agent_1", None, 1))[:3] == ("form", "agent", "update")
    assert prefill.edit(fakes.swarm("dev_swarm_1", "x", "development", 2))[4] == "2"


async def test_the_last_of_many_rows_is_one_key_away(fakes: Any) -> None:
    seen = fakes.busy()
    counts = views.QueueCounts(ready=30_000)
    environments = tuple(
        msgspec.structs.replace(
            each, queue=counts if each.name == "development" else views.QueueCounts()
        )
        for each in seen.environments
    )
    host = fakes.FakeHost(msgspec.structs.replace(seen, environments=environments))
    host.answers[actions.QueueList] = lambda a: [
        fakes.message(n) for n in range(30_000)[a.offset : a.offset + a.limit]
    ]
    async with fakes.console(host=host) as deck:
        await deck.press("4")
        await deck.until(lambda: "1 of 30,000" in deck.text)
        await deck.press("G")
        await deck.until(lambda: "30,000 of 30,000" in deck.text)
        await deck.until(lambda: actions.QueueList(offset=29_800, limit=200) in host.asked)
        await deck.press("slash", *"digest", "enter")
        await deck.until(lambda: "of 30,000" not in deck.text)


def test_rows_that_the_engine_would_not_merge_are_not_counted(fakes: Any) -> None:
    seen = fakes.busy()
    total = QUEUE.total
    assert total is not None
    assert total(seen, Scope()) == sum(
        each.queue.ready + each.queue.delayed + each.queue.leased for each in seen.environments
    )
    assert total(seen, Scope(state="done")) is None, "22,000 messages of several environments"
    assert total(seen, Scope(environment=Environment.PRODUCTION, state="done")) == 18_204


def stopped(seen: views.Overview, **modes: str) -> views.Overview:
    """The same with some queues stopped."""
    environments = tuple(
        msgspec.structs.replace(
            each, queue_mode=modes.get(each.name, "running"), queue_reason="upgrade"
        )
        for each in seen.environments
    )
    return msgspec.structs.replace(seen, environments=environments)


async def test_a_stopped_queue_is_said_in_the_head_and_how_full_it_is_above_its_lanes(
    fakes: Any,
) -> None:
    host = fakes.FakeHost(stopped(fakes.busy(), production="paused", testing="draining"))
    async with fakes.console(host=host) as deck:
        await deck.press("4")
        await deck.until(lambda: "PAUSED production  DRAINING testing" in deck.text.split("\n")[0])
        await deck.until(lambda: "Lanes by priority · fullest development, " in deck.text)
        await deck.type("queue @production")
        await deck.until(lambda: " of 1,000 open · upgrade" in deck.text)
        assert "DRAINING" not in deck.text
        host.overview = fakes.busy()
        await deck.until(lambda: "PAUSED" not in deck.text)


@pytest.mark.parametrize(
    ("key", "action", "said"),
    [
        ("H", actions.QueuePause(environment="development"), "nobody gets another one"),
        ("F", actions.QueueDrain(environment="development"), "What is sent now is refused"),
    ],
)
async def test_stopping_a_queue_says_what_follows_and_asks(
    fakes: Any, key: str, action: actions.Action, said: str
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue @development")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press(key)
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.until(lambda: said in deck.text)
        assert deck.host.changes() == []
        await deck.press("y")
        await deck.until(lambda: deck.host.changes() == [action])
        await deck.press("C")
        resumed = actions.QueueResume(environment="development")
        await deck.until(lambda: deck.host.changes() == [action, resumed])


async def test_a_broadcast_begins_with_the_environment_of_the_row(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue @development")
        await deck.until(lambda: "1 of 40" in deck.text)
        await deck.press("B")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert "queue broadcast" in deck.text
        assert "development" in deck.text
