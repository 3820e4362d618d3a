"""What tasks wait for: kinds of dependencies, cycles, and what a failure does to those behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine import views
from swarmdeck.engine.core import Core
from swarmdeck.engine.errors import Conflict, InvalidInput, NotFound
from swarmdeck.engine.tasks.handle import Tasks


async def chain(tasks: Tasks, count: int) -> list[views.TaskView]:
    """Tasks of which each needs the one before."""
    found: list[views.TaskView] = []
    for number in range(count):
        found.append(await tasks.create(f"step {number}", needs=found[-1:]))
    return found


async def end(tasks: Tasks, task: views.TaskView, status: str, result: Any = None) -> None:
    if status == "cancelled":
        await tasks.cancel(task)
    elif status == "failed":
        await tasks.fail(await tasks.start(task), "broke")
    else:
        await tasks.complete(await tasks.start(task), result)


async def seen(tasks: Tasks, task: views.TaskView) -> tuple[str, bool]:
    shown = await tasks.get(task)
    return shown.status, shown.ready


HELD = [
    ("hard", "completed", ("pending", True)),
    ("hard", "failed", ("blocked", False)),
    ("hard", "cancelled", ("blocked", False)),
    ("soft", "completed", ("pending", True)),
    ("soft", "failed", ("pending", True)),
    ("optional", "failed", ("pending", True)),
]


async def test_what_becomes_of_a_task_when_what_it_needs_ends(tasks: Tasks) -> None:
    for kind, ended, expected in HELD:
        first, second = await tasks.create("first"), await tasks.create("second")
        await tasks.depend(second, first, kind=kind)
        assert await seen(tasks, second) == ("pending", kind == "optional")
        await end(tasks, first, ended)
        assert await seen(tasks, second) == expected
        if expected[0] == "blocked":
            [why] = (await tasks.get(second)).blockers
            assert first.id in why
            with pytest.raises(Conflict, match="waits for"):
                await tasks.start(second)


async def test_a_task_goes_on_when_what_broke_it_is_tried_again(tasks: Tasks) -> None:
    first, second, third = await chain(tasks, 3)
    await end(tasks, first, "failed")
    assert await seen(tasks, second) == ("blocked", False)
    assert await seen(tasks, third) == ("pending", False)
    await tasks.retry(first)
    assert await seen(tasks, second) == ("pending", False)
    await end(tasks, first, "completed")
    assert await seen(tasks, second) == ("pending", True)


DECIDED: list[tuple[str, str, Any, str]] = [
    ("result.score >= 0.9", "completed", {"score": 0.95}, "met"),
    ("result.score >= 0.9", "completed", {"score": 0.5}, "broken"),
    ("result.score >= 0.9", "completed", None, "broken"),
    ("status = failed", "failed", None, "met"),
    ("status = failed", "completed", None, "broken"),
]


async def test_a_condition_is_decided_when_what_it_asks_about_has_ended(
    core: Core, tasks: Tasks
) -> None:
    for condition, ended, result, state in DECIDED:
        first, second = await tasks.create("first"), await tasks.create("second")
        made = await tasks.depend(second, first, condition=condition)
        assert (made.kind, made.state) == ("conditional", "waiting")
        await end(tasks, first, ended, result)
        late = await tasks.create("late")
        assert (await tasks.depend(late, first, condition=condition)).state == state
        for _ in range(2):
            [shown] = await tasks.dependencies(second)
            assert shown.state == state
            status = "pending" if state == "met" else "blocked"
            assert await seen(tasks, second) == (status, state == "met")
            await core.places["development"].tasks.reload()


async def test_a_condition_opens_again_with_its_task(tasks: Tasks) -> None:
    first, second = await tasks.create("first"), await tasks.create("clean up")
    await tasks.depend(second, first, condition="status = failed")
    await end(tasks, first, "failed")
    assert (await seen(tasks, second))[1]
    await tasks.retry(first)
    assert await seen(tasks, second) == ("pending", False)


async def test_a_dependency_that_cannot_be_meant_is_refused(tasks: Tasks) -> None:
    first, second = await tasks.create("first"), await tasks.create("second")
    for needs, kind, condition in (
        (first.id, "conditional", ""),
        (first.id, "soft", "status = completed"),
        (first.id, "conditional", "status = done"),
        ("plan.md", "conditional", "status = completed"),
        ("two\nlines", "hard", ""),
    ):
        with pytest.raises(InvalidInput):
            await tasks.depend(second, needs, kind=kind, condition=condition)


async def test_a_cycle_is_refused_and_named(tasks: Tasks) -> None:
    first, second, third = await chain(tasks, 3)
    with pytest.raises(Conflict) as refused:
        await tasks.depend(first, third)
    names = f"{first.id} needs {third.id} needs {second.id} needs {first.id}"
    assert names in refused.value.message
    with pytest.raises(Conflict, match="itself"):
        await tasks.depend(first, first)
    assert await tasks.dependencies(first) == []
    assert (await tasks.get(first)).ready


async def test_the_name_of_a_long_cycle_is_cut_in_its_middle(tasks: Tasks) -> None:
    found = await chain(tasks, 12)
    with pytest.raises(Conflict) as refused:
        await tasks.depend(found[0], found[-1])
    message = refused.value.message
    assert "more)" in message
    assert message.endswith(f"needs {found[0].id}")


async def test_a_cycle_over_tasks_that_are_completed_is_refused_too(
    core: Core, tasks: Tasks
) -> None:
    first, second = await tasks.create("first"), await tasks.create("second")
    await tasks.depend(second, first, kind="optional")
    await end(tasks, second, "completed")
    third = await tasks.create("third", needs=[second])
    await end(tasks, third, "completed")
    for _ in range(2):
        with pytest.raises(Conflict, match=f"{first.id} needs {third.id} needs {second.id}"):
            await tasks.depend(first, third)
        await core.places["development"].tasks.reload()


async def test_two_halves_of_a_cycle_asked_for_at_once_do_not_both_come_to_be(
    tasks: Tasks,
) -> None:
    first, second = await tasks.create("first"), await tasks.create("second")
    found = await asyncio.gather(
        tasks.depend(first, second), tasks.depend(second, first), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in found) == 1
    assert len(await tasks.dependencies()) == 1


async def test_what_is_there_already_or_begun_is_refused(tasks: Tasks) -> None:
    first, second = await chain(tasks, 2)
    with pytest.raises(Conflict, match="already"):
        await tasks.depend(second, first, kind="soft")
    begun = await tasks.start(first)
    with pytest.raises(Conflict, match="in progress"):
        await tasks.depend(begun, "plan.md")


async def test_something_that_is_no_task_holds_until_it_is_resolved(tasks: Tasks) -> None:
    made = await tasks.create("build", needs=["the licence"])
    assert await seen(tasks, made) == ("pending", False)
    [held] = await tasks.dependencies(made)
    assert (held.needs, held.state, held.status) == ("the licence", "waiting", None)
    resolved = await tasks.resolve(held)
    assert (resolved.state, resolved.resolved_by) == ("resolved", "operator")
    assert await seen(tasks, made) == ("pending", True)
    with pytest.raises(Conflict):
        await tasks.resolve(held)


async def test_a_broken_dependency_can_be_waived_or_taken_back(tasks: Tasks) -> None:
    first = await tasks.create("first")
    second, third = await tasks.create("a", needs=[first]), await tasks.create("b", needs=[first])
    await end(tasks, first, "failed")
    [waived] = await tasks.dependencies(second)
    await tasks.resolve(waived)
    assert await seen(tasks, second) == ("pending", True)
    [taken] = await tasks.dependencies(third)
    assert (await tasks.undepend(taken)).ready
    assert await tasks.dependencies(third) == []
    with pytest.raises(NotFound):
        await tasks.undepend(taken)


async def test_only_a_cascade_gives_up_what_is_behind(tasks: Tasks) -> None:
    first, second, third = await chain(tasks, 3)
    part = await tasks.create("part", parent=second)
    aside = await tasks.create("aside")
    await tasks.depend(aside, first, kind="soft")
    assert await tasks.cancel(first) == 1
    assert [(await tasks.get(each)).status for each in (second, third)] == ["blocked", "pending"]
    await tasks.retry(first)
    assert await tasks.cancel(first, cascade=True) == 4
    for each in (first, second, third, part):
        assert (await tasks.get(each)).status == "cancelled"
    assert await seen(tasks, aside) == ("pending", True)


async def test_the_tree_shows_what_a_task_needs_once_in_full(tasks: Tasks) -> None:
    base = await tasks.create("base")
    left, right = await tasks.create("l", needs=[base]), await tasks.create("r", needs=[base])
    top = await tasks.create("top", needs=[left, right, "the licence"])
    found = await tasks.graph(top)
    assert [(node.depth, node.subject, node.again) for node in found] == [
        (0, top.id, False), (1, left.id, False), (2, base.id, False), (1, right.id, False),
        (2, base.id, True), (1, "the licence", False),
    ]  # fmt: skip
    behind = await tasks.graph(base, behind=True)
    assert [(node.depth, node.subject) for node in behind] == [
        (0, base.id), (1, left.id), (2, top.id), (1, right.id), (2, top.id),
    ]  # fmt: skip
    assert len(await tasks.graph(top, limit=2)) == 2


async def test_a_tree_and_a_list_do_not_tell_of_tasks_that_may_not_be_seen(
    core: Core, tasks: Tasks, mine: Tasks
) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    hidden = await tasks.create("canary-9f2c", team=team.id, needs=["the licence"])
    made = await tasks.create("open", needs=[hidden])
    _, node = await mine.graph(made)
    assert (node.subject, node.title, node.status) == (hidden.id, "", "hidden")
    [held] = await mine.dependencies()
    assert (held.task, held.needs, held.status) == (made.id, hidden.id, "hidden")


async def test_dependencies_are_listed_by_state(tasks: Tasks) -> None:
    first = await tasks.create("first")
    second = await tasks.create("second", needs=[first, "the licence"])
    await end(tasks, first, "completed")
    assert [each.needs for each in await tasks.dependencies(second)] == [first.id, "the licence"]
    assert [each.needs for each in await tasks.dependencies(state="waiting")] == ["the licence"]
    assert [each.needs for each in await tasks.dependencies(state="met")] == [first.id]
