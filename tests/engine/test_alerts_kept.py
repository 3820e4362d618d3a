"""Alerts that somebody knows of, and alerts that outlive their engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.alerts.state import FIRES_AFTER, RESOLVES_AFTER
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import NotFound, StorageError
from swarmdeck.engine.events import AlertChanged
from swarmdeck.engine.model import OPERATOR_PRINCIPAL

DEV = "development"
DEAD = f"dead-letters.{DEV}"


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Core]:
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        yield core


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks happen when a test asks for them."""
    monkeypatch.setattr("swarmdeck.engine.ticker.TICK_S", 3600)


async def bury(core: Core) -> str:
    """One dead letter; its id."""
    queue = core.places[DEV].queue
    ident = await queue.send(OPERATOR_PRINCIPAL, "work", b"1", max_attempts=1)
    [message] = await queue.claim(OPERATOR_PRINCIPAL, 1)
    await queue.nack(OPERATOR_PRINCIPAL, message[0], message[4], "no")
    return ident


async def look(core: Core, times: int) -> None:
    for _ in range(times):
        await core.watch.tick()


async def states(core: Core, *, firing: bool = False) -> dict[str, str]:
    found = await core.engine.run(act.AlertList(firing=firing))
    return {alert.id: alert.state for alert in found}


async def ack(core: Core) -> None:
    await core.engine.run(act.AlertAck(id=DEAD))


async def test_an_acknowledged_alert_still_holds_and_says_who_knows(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        await bury(core)
        await look(core, FIRES_AFTER)
        events = core.bus.subscribe()
        await ack(core)
        [told] = [event for event in await events.take() if isinstance(event, AlertChanged)]
        assert (told.id, told.state, told.rule) == (DEAD, "acknowledged", "dead-letters")
        await look(core, 3)
        [alert] = await core.engine.run(act.AlertList(firing=True))
        assert (alert.state, alert.acknowledged_by) == ("acknowledged", "operator")
        rows = await core.coordination.read(
            lambda r: r.execute(
                "SELECT actor, object FROM audit WHERE action = 'alert.ack'"
            ).fetchall()
        )
        assert rows == [("operator", DEAD)]
        await ack(core)  # again: nothing
        texts = [event.text for event in core.journal.list(None, "acknowledged", 9)]
        assert texts[-1].startswith("dead-letters acknowledged by operator: 1 of its messages")


async def test_a_schedule_that_stays_late_is_told_with_the_reason(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_core(
        tmp_path, settings=None, transient=True, headless=False, clock=clock
    ) as core:
        queue = core.places[DEV].queue
        made = await core.engine.run(
            act.ScheduleCreate(environment=DEV, name="hourly", kind="k", body={}, every_s=60)
        )
        await queue.drain(OPERATOR_PRINCIPAL)
        for seconds in (60, 299):
            clock.advance(seconds)
            await queue.schedules.tick()
            await look(core, FIRES_AFTER)
            assert not any(each.startswith("schedule-late") for each in await states(core))
        clock.advance(1)
        await look(core, FIRES_AFTER)
        [alert] = [each for each in core.alerts.list(DEV, firing=True) if each.subject == made.id]
        assert (alert.rule, alert.severity) == ("schedule-late", "warning")
        assert alert.detail.startswith("hourly has been due for 5 min: ")
        await queue.resume(OPERATOR_PRINCIPAL)
        await queue.schedules.tick()
        await look(core, RESOLVES_AFTER)
        assert (await states(core))[f"schedule-late.{made.id}"] == "resolved"


async def test_what_comes_back_fires_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        ident = await bury(core)
        await look(core, FIRES_AFTER)
        await ack(core)
        await core.places[DEV].queue.cancel(OPERATOR_PRINCIPAL, await _alive(core, ident))
        await look(core, RESOLVES_AFTER)
        assert (await states(core))[DEAD] == "resolved"
        await bury(core)
        await look(core, FIRES_AFTER)
        assert (await states(core))[DEAD] == "firing"


async def _alive(core: Core, ident: str) -> str:
    await core.places[DEV].queue.retry(OPERATOR_PRINCIPAL, ident)
    return ident


async def test_what_does_not_fire_cannot_be_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        with pytest.raises(NotFound):
            await ack(core)


async def test_acknowledgements_outlive_their_engine(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        await bury(core)
        await look(core, FIRES_AFTER)
        [before] = await core.engine.run(act.AlertList(firing=True))
        await ack(core)
    async with opened(tmp_path) as core:
        [after] = await core.engine.run(act.AlertList(firing=True))
        assert (after.state, after.since_at_us) == ("acknowledged", before.since_at_us)
        await look(core, 3)
        assert await states(core) == {DEAD: "acknowledged"}


async def test_what_is_over_when_another_engine_looks_is_not_shown_and_is_resolved(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as core:
        ident = await bury(core)
        await look(core, FIRES_AFTER)
        await _alive(core, ident)
    async with opened(tmp_path) as core:
        assert await states(core, firing=True) == {}
        await look(core, RESOLVES_AFTER)
        assert await states(core) == {DEAD: "resolved"}
    async with opened(tmp_path) as core:
        assert await states(core) == {DEAD: "resolved"}


async def test_alerts_go_on_while_the_disk_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    async with opened(tmp_path) as core:
        await bury(core)
        with monkeypatch.context() as patch:
            patch.setattr("swarmdeck.engine.alerts.records.AlertRecords.keep", refuse)
            await look(core, FIRES_AFTER)
            assert await states(core) == {DEAD: "firing"}
        await look(core, 1)
    async with opened(tmp_path) as core:
        rows = await core.coordination.read(
            lambda r: r.execute("SELECT id, state FROM alert").fetchall()
        )
        assert rows == [(DEAD, "firing")]
