"""One key on several marked rows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.console import batch
from swarmdeck.console.batch import Job, Outcome
from swarmdeck.console.keymap import Key
from swarmdeck.console.screens.dialogs import ConfirmScreen
from swarmdeck.engine import actions
from swarmdeck.engine.actions import Action
from swarmdeck.engine.errors import Conflict, InvalidInput, NotFound

RETRY = Key("r", "queue retry {id}", "again")
CANCEL = Key("ctrl+x", "queue cancel {id}", "cancel")


def retries(fakes: Any, count: int) -> list[Job]:
    rows = [fakes.message(number, "dead") for number in range(count)]
    return [Job(row, actions.QueueRetry(id=row.id)) for row in rows]


def test_a_key_is_asked_for_every_marked_row(fakes: Any) -> None:
    wanted = retries(fakes, 3)
    assert batch.jobs(RETRY, [job.row for job in wanted], "") == wanted


@pytest.mark.parametrize("run", ["logs {id}", "describe", "queue", "records {subject}", "copy"])
def test_what_shows_something_is_for_one_row(fakes: Any, run: str) -> None:
    rows = [fakes.message(1), fakes.message(2)]
    assert batch.jobs(Key("x", run, "x"), rows, "dev_agent_1") == []
    assert batch.jobs(RETRY, rows[:1], "") == []


def test_a_form_or_a_row_without_the_field_is_refused(fakes: Any) -> None:
    swarms = fakes.busy().swarms
    with pytest.raises(InvalidInput, match="one row at a time"):
        batch.jobs(Key("s", "swarm scale {id}", "scale"), swarms, "")
    with pytest.raises(InvalidInput, match="not for all rows"):
        batch.jobs(Key("s", "queue retry {holder}", "x"), [fakes.message(1), fakes.message(2)], "")
    many = [fakes.message(number) for number in range(batch.MOST + 1)]
    with pytest.raises(InvalidInput, match="more than"):
        batch.jobs(RETRY, many, "")


async def test_eight_run_at_once_and_each_is_accounted_for(fakes: Any) -> None:
    running, most, steps = 0, 0, []
    wanted = retries(fakes, 40)

    async def run(action: Action) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if action.id.endswith("7"):
            raise Conflict(f"{action.id} is leased")

    outcome = Outcome()
    await batch.run_all(run, wanted, outcome, lambda share, text: steps.append((share, text)))
    assert most == batch.AT_ONCE
    assert len(outcome.done) == 36
    assert [job.action.id[-2:] for job, _ in outcome.refused] == ["07", "17", "27", "37"]
    assert outcome.text.startswith("36 done, 4 refused: dev_msg_00000007 is leased; ")
    assert "+1 more reasons" in outcome.text
    assert steps[-1] == (1.0, "40 of 40")


async def test_one_plan_lists_every_object_and_leaves_out_what_is_gone(fakes: Any) -> None:
    wanted = [Job(row, actions.QueueCancel(id=row.id)) for row in map(fakes.message, range(3))]

    async def run(action: Action) -> Any:
        if action.id.endswith("1"):
            raise NotFound("no message 1")
        return fakes.message(int(action.id[-1]), "ready")

    plan, left, outcome = await batch.plan(run, wanted)
    assert [job.action.id[-1] for job in left] == ["0", "2"]
    assert len(outcome.refused) == 1
    assert plan.question == "queue cancel: go on with 2 objects?"
    assert "dev_msg_00000000" in plan.touches[0]
    assert plan.touches[-1] == "left out: no message 1"
    assert plan.words == ()


async def test_production_asks_once(fakes: Any) -> None:
    wanted = [Job(row, actions.QueueCancel(id=row.id)) for row in map(fakes.message, range(2))]

    async def run(action: Action) -> Any:
        where = "production" if action.id.endswith("1") else "development"
        return fakes.message(1, "ready", environment=where)

    plan, _, _ = await batch.plan(run, wanted)
    assert plan.words == ("production",)


async def test_a_batch_of_which_nothing_is_left_says_why(fakes: Any) -> None:
    async def run(_action: Action) -> Any:
        raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):
        await batch.plan(run, [Job(None, actions.QueueCancel(id="dev_msg_1"))])


# --- on the screen --------------------------------------------------------------------------


async def test_marked_messages_are_made_ready_with_one_key(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())

    def retry(action: Any) -> Any:
        if action.id.endswith("1"):
            raise Conflict("it has moved on")
        return fakes.message(1)

    host.answers[actions.QueueRetry] = retry
    async with fakes.console(host=host) as deck:
        await deck.type("dead")
        await deck.until(lambda: "not a digest" in deck.text)
        await deck.press("space", "space", "space", "r")
        await deck.until(lambda: any("2 done, 1 refused: it has" in toast for toast in deck.toasts))
        assert len(host.changes()) == 3
        assert [row.id for row in deck.app.deck.marked()] == ["dev_msg_00000001"]


async def test_marked_messages_are_cancelled_after_one_question(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        await deck.press("space", "space", "ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "queue cancel: go on with 2 objects?" in deck.text
        await deck.press("escape")
        assert deck.host.changes() == []
        await deck.press("ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.press("y")
        await deck.until(lambda: any("2 done" in toast for toast in deck.toasts))
        assert len(deck.host.changes()) == 2
        assert not deck.app.deck.table.marks


async def test_escape_takes_the_marks_away_before_it_leaves(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("3", "space", "escape")
        assert deck.app.deck.crumb == "agents"
        assert not deck.app.deck.table.marks
        await deck.press("escape")
        assert deck.app.deck.crumb == "overview"
