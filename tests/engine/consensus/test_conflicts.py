"""Conflicts: who does something about them, and when they call for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swarmdeck.engine.conflicts import Conflicts
from swarmdeck.engine.errors import Conflict, Damaged, Denied, InvalidInput, NotFound

from .conftest import KEPT_S

if TYPE_CHECKING:
    from swarmdeck.engine.views import AlertView

    from .conftest import World


async def test_a_conflict_is_shown_as_it_was_reported(world: World) -> None:
    made = await world.conflicts(world.one).report(
        "Both write", world.one, world.two, body={"file": "plan.md"}, type="data",
        severity="high", strategy="merge", auto=True, threshold=5,
    )  # fmt: skip
    assert (made.type, made.severity, made.strategy, made.auto) == ("data", "high", "merge", True)
    assert (made.state, made.attempts, made.threshold, made.times) == ("unresolved", 0, 5, 1)
    assert (made.one, made.other, made.reporter) == (world.one, world.two, world.one)
    shown = await world.conflicts(world.two).get(made.id)
    assert (shown.body, shown.resolution) == ({"file": "plan.md"}, None)
    [row] = await world.conflicts(world.two).list(about=world.two, severity="high", state="open")
    assert (row.id, row.body) == (made.id, None)


async def test_the_same_two_are_one_conflict_until_it_is_resolved(world: World) -> None:
    one, two = world.conflicts(world.one), world.conflicts(world.two)
    made = await two.report("Both write", "a", "b", severity="low")
    again = await one.report("They write", "b", "a", severity="critical")
    assert (again.id, again.times, again.severity) == (made.id, 2, "critical")
    assert (await two.report("Both write", "a", "b", type="version")).id != made.id
    hidden = await world.conflicts(world.three).report("Both write", "a", "b")
    assert hidden.id != made.id  # it may not learn of theirs
    await two.resolve(made.id)
    assert (await two.report("Both write", "a", "b")).id != made.id


async def test_failed_attempts_escalate_and_a_person_resolves(world: World) -> None:
    one, operator = world.conflicts(world.one), world.conflicts()
    made = await one.report("Both write", world.one, world.two, threshold=2)
    first = await one.attempt(made.id, "no")
    assert (first.state, first.attempts, first.holder) == ("in_progress", 1, world.one)
    second = await world.conflicts(world.two).attempt(made.id, "never")
    assert (second.state, second.attempts, second.holder) == ("escalated", 2, None)
    assert second.escalated_at_us == world.clock.wall_us()
    assert (await one.attempt(made.id, "still not")).state == "escalated"
    begun = await operator.begin(made.id)
    assert (begun.state, begun.holder) == ("in_progress", "operator")
    await operator.resolve(made.id, {"writes": world.two})
    done = await one.get(made.id)
    assert (done.state, done.resolution) == ("resolved", {"writes": world.two})
    with pytest.raises(Conflict, match="is resolved"):
        await one.begin(made.id)
    anew = await one.reopen(made.id, "it is back")
    assert (anew.state, anew.attempts, anew.holder, anew.resolved_at_us) == (
        "unresolved", 0, None, None,
    )  # fmt: skip
    assert (await one.get(made.id)).resolution is None


async def test_one_at_a_time_works_on_it(world: World) -> None:
    one, two = world.conflicts(world.one), world.conflicts(world.two)
    made = await one.report("Both write", world.one, world.two)
    await one.begin(made.id)
    with pytest.raises(Conflict, match=world.one):
        await two.begin(made.id)
    await two.reopen(made.id)
    assert (await two.begin(made.id)).holder == world.two


async def test_the_two_may_act_and_others_may_not(world: World) -> None:
    two, three = world.conflicts(world.two), world.conflicts(world.three)
    mine = await two.report("Both write", "a", world.swarm)
    assert (await world.conflicts(world.one).begin(mine.id)).holder == world.one  # of the swarm
    public = await world.conflicts().report("Both write", "a", "b")
    assert public.level == "public"
    for call in (three.begin, three.attempt, three.resolve, three.escalate, three.reopen):
        with pytest.raises(Denied):
            await call(public.id)
        with pytest.raises(NotFound):
            await call(mine.id)
    assert [each.id for each in await three.list()] == [public.id]


async def test_escalated_ones_are_known_after_the_engine_was_away(world: World) -> None:
    one, kept = world.conflicts(world.one), world.place.conflicts
    known = await one.report("Both write", "a", "b", severity="critical")
    later = await one.report("Both write", "a", "c")
    await one.escalate(known.id, "help")
    with pytest.raises(Conflict, match="escalated already"):
        await one.escalate(known.id)
    assert kept.escalated() == []  # nothing was read yet
    await kept.sweep(1.0, KEPT_S)
    assert [each.id for each in kept.escalated()] == [known.id]
    await one.escalate(later.id)
    await one.resolve(known.id)
    assert [each.id for each in kept.escalated()] == [later.id]
    fresh = Conflicts(world.place, world.clock)
    await fresh.sweep(1.0, KEPT_S)
    assert [each.id for each in fresh.escalated()] == [later.id]


async def test_an_escalated_conflict_fires_an_alert_without_its_title(world: World) -> None:
    one = world.conflicts(world.one)
    made = await one.report("Secret plan", "a", "b", severity="critical")
    await one.escalate(made.id)
    await world.place.conflicts.sweep(1.0, KEPT_S)
    alert = await alert_about(world, made.id, looks=3)
    assert (alert.rule, alert.severity, alert.state) == (
        "conflict-escalated", "critical", "firing",
    )  # fmt: skip
    assert "Secret" not in alert.detail
    await one.resolve(made.id)
    assert (await alert_about(world, made.id, looks=6)).state == "resolved"


async def alert_about(world: World, ident: str, *, looks: int) -> AlertView:
    for _ in range(looks):
        world.clock.advance(1)
        await world.core.watch.tick()
    found = world.core.watch.alerts.list(None, firing=False)
    return next(each for each in found if each.subject == ident)


async def test_resolved_ones_go_after_a_while(world: World) -> None:
    one, kept = world.conflicts(world.one), world.place.conflicts
    made, stays = await one.report("A", "a", "b"), await one.report("B", "a", "c")
    await one.resolve(made.id)
    assert await kept.sweep(1.0, KEPT_S) == 0
    world.clock.advance(KEPT_S)
    assert kept.is_behind
    assert await kept.sweep(1.0, KEPT_S) == 1
    assert [each.id for each in await one.list()] == [stays.id]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE conflict SET other = 'c'",
        "UPDATE conflict SET owner = 'dev_agent_0'",
        "UPDATE conflict SET resolution = (SELECT body FROM conflict)",
    ],
)
async def test_what_was_changed_behind_the_engine_is_noticed(world: World, statement: str) -> None:
    operator = world.conflicts()
    made = await operator.report("A", "a", "b", body={"n": 1})
    await operator.resolve(made.id, "done")
    assert (await operator.get(made.id)).resolution == "done"
    await world.tamper(statement)
    with pytest.raises(Damaged, match="does not match its seal"):
        await operator.get(made.id)


async def test_what_makes_no_sense_is_refused(world: World) -> None:
    one = world.conflicts(world.one)
    for fields in (
        {"other": "a"}, {"severity": "dire"}, {"type": "mood"}, {"threshold": 0},
        {"strategy": "By Hand"}, {"title": "a\nb"}, {"one": ""},
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            await one.report(**({"title": "T", "one": "a", "other": "b"} | fields))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await one.get("dev_conflict_1")
