"""What happens to a task from its making to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions, views
from swarmdeck.engine.agent import Identity, connect_agent
from swarmdeck.engine.alerts import findings
from swarmdeck.engine.cli import pages
from swarmdeck.engine.cli.output import Shown
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Conflict, Damaged, Denied, InvalidInput, NotFound, Sealed
from swarmdeck.engine.tasks.handle import Tasks

HOUR_S = 3600


async def begun(tasks: Tasks, title: str = "build", **fields: Any) -> views.TaskView:
    return await tasks.start(await tasks.create(title, **fields))


async def failed(tasks: Tasks, task: views.TaskView, why: str = "no disk") -> views.TaskView:
    return await tasks.fail(await tasks.start(task), why)


async def test_a_task_is_begun_moves_and_ends(tasks: Tasks, clock: FakeClock) -> None:
    made = await tasks.create(
        "plan the release", type="planning", priority=8, estimated_hours=3,
        requirements={"scope": ["engine"]}, deliverables=["plan.md"], confidence=0.4,
    )  # fmt: skip
    assert (made.id, made.status, made.ready) == ("dev_task_1", "pending", True)
    assert (made.requirements, made.deliverables) == ({"scope": ["engine"]}, ["plan.md"])
    assert (await tasks.start(made)).attempt == 1
    clock.advance(2 * HOUR_S)
    assert (await tasks.progress(made, 60, confidence=0.7)).progress == 60
    done = await tasks.complete(made, {"path": "plan.md"})
    assert (done.status, done.progress, done.actual_hours) == ("completed", 100, 2)
    shown = await tasks.get(made)
    assert (shown.result, shown.confidence) == ({"path": "plan.md"}, 0.7)
    assert shown.ended_at_us == shown.updated_at_us


async def test_hours_that_are_said_count_more_than_the_clock(tasks: Tasks) -> None:
    assert (await tasks.complete(await begun(tasks), actual_hours=7.5)).actual_hours == 7.5


WRONG: list[dict[str, Any]] = [
    {"title": ""},
    {"title": "two\nlines"},
    {"title": "x" * 201},
    {"type": "No Type"},
    {"priority": 11},
    {"confidence": 1.5},
    {"estimated_hours": -1},
    {"deadline_s": -1},
    {"max_attempts": 0},
    {"level": "galaxy"},
    {"requirements": "x" * 300_000},
    {"needs": ("two\nlines",)},
]
MISSING: list[dict[str, Any]] = [
    {"agent": "dev_agent_nobody"},
    {"team": "dev_team_none"},
    {"swarm": "dev_swarm_none"},
    {"parent": "dev_task_9"},
    {"needs": ("dev_task_9",)},
]


async def test_what_fits_no_task_is_refused_and_nothing_is_stored(tasks: Tasks) -> None:
    for wrong in WRONG:
        with pytest.raises(InvalidInput):
            await tasks.create(**({"title": "plan"} | wrong))
    for missing in MISSING:
        with pytest.raises(NotFound):
            await tasks.create("plan", **missing)
    assert await tasks.list(status="all") == []


async def test_what_cannot_happen_to_a_task_now_is_refused(tasks: Tasks) -> None:
    made = await tasks.create("plan")
    for call in (tasks.progress(made, 5), tasks.complete(made), tasks.fail(made)):
        with pytest.raises(Conflict, match="is pending"):
            await call
    await tasks.complete(await tasks.start(made))
    for call in (
        tasks.start(made), tasks.cancel(made), tasks.retry(made), tasks.block(made, "why"),
        tasks.unblock(made), tasks.assign(made),
    ):  # fmt: skip
        with pytest.raises(Conflict, match="is completed"):
            await call


async def test_a_failed_task_is_tried_again_while_it_has_attempts(tasks: Tasks) -> None:
    made = await tasks.create("build", max_attempts=3)
    once = await failed(tasks, made)
    assert (once.status, once.reason, once.attempt, once.ready) == ("pending", "no disk", 1, True)
    assert (await tasks.fail(await tasks.start(made), final=True)).status == "failed"
    assert (await tasks.retry(made)).attempt == 0
    for _ in range(3):
        last = await failed(tasks, made)
    assert (last.status, last.attempt) == ("failed", 3)


async def test_what_blocks_a_task_is_noted_until_it_is_unblocked(tasks: Tasks) -> None:
    made = await begun(tasks)
    await tasks.block(made, "waits for the licence")
    held = await tasks.block(made, "and for a key")
    assert (held.status, held.ready) == ("blocked", False)
    assert held.blockers == ("waits for the licence", "and for a key")
    assert [each.id for each in await tasks.list(status="blocked")] == [made.id]
    free = await tasks.unblock(made)
    assert (free.status, free.blockers, free.ready) == ("pending", (), True)
    with pytest.raises(InvalidInput):
        await tasks.block(made, "  ")


async def test_changing_a_task_changes_what_is_given_alone(tasks: Tasks) -> None:
    made = await tasks.create("plan", requirements={"a": 1}, deliverables=["x"])
    await tasks.update(made, title="plan anew", priority=9, requirements={"a": 2}, deadline_s=60)
    shown = await tasks.get(made)
    assert (shown.title, shown.priority, shown.requirements) == ("plan anew", 9, {"a": 2})
    assert (shown.deliverables, shown.type) == (["x"], "task")
    assert shown.version == made.version + 1
    with pytest.raises(InvalidInput):
        await tasks.update(made)


async def test_a_task_is_overdue_from_its_deadline_until_it_ends(
    tasks: Tasks, clock: FakeClock
) -> None:
    late = await tasks.create("late", deadline_s=60)
    soon = await tasks.create("soon", deadline_s=120)
    await tasks.create("whenever")
    assert await tasks.list(status="overdue") == []
    clock.advance(60)
    assert [each.id for each in await tasks.list(status="overdue")] == [late.id]
    assert [each.overdue for each in await tasks.list(order="age")] == [True, False, False]
    await tasks.complete(await tasks.start(late))
    assert not (await tasks.get(late)).overdue
    clock.advance(60)
    assert [each.id for each in await tasks.list(status="overdue")] == [soon.id]


# --- lists ------------------------------------------------------------------------------------


async def test_tasks_are_listed_by_what_is_asked(tasks: Tasks, agent: views.AgentView) -> None:
    first = await tasks.create("write the Guide", type="docs", priority=3)
    second = await tasks.create("build", priority=9, agent=agent)
    third = await tasks.create("test", needs=[second], parent=first)
    gone = await tasks.create("old")
    await tasks.cancel(gone, reason="nobody wants it")

    async def idents(**wanted: Any) -> list[str]:
        return [each.id for each in await tasks.list(**wanted)]

    assert await idents() == [second.id, third.id, first.id]
    assert await idents(status="ready") == [second.id, first.id]
    assert await idents(status="waiting") == [third.id]
    assert await idents(status="pending", order="age") == [first.id, second.id, third.id]
    assert await idents(status="cancelled") == [gone.id]
    assert await idents(status="all", order="age", offset=1, limit=2) == [second.id, third.id]
    assert await idents(agent=agent) == [second.id]
    assert await idents(type="docs") == [first.id]
    assert await idents(parent=first) == [third.id]
    assert await idents(contains="guide") == [first.id]
    assert await idents(status="all", contains="NOBODY WANTS") == [gone.id]
    assert await idents(order="title") == [second.id, third.id, first.id]
    assert await idents(order="urgency", descending=True) == [first.id, third.id, second.id]


async def test_the_tasks_of_all_environments_are_listed_in_one_order(core: Core) -> None:
    engine = core.engine
    made = [
        await engine.tasks(name).create(f"{name} {priority}", priority=priority)
        for name in ("development", "testing")
        for priority in (9, 3, 6)
    ]
    found = await engine.run(actions.TaskList(limit=3))
    assert [each.priority for each in found] == [9, 9, 6]
    rest = await engine.run(actions.TaskList(offset=3))
    assert {each.id for each in (*found, *rest)} == {each.id for each in made}
    ready = await engine.run(actions.TaskReady())
    assert [each.priority for each in ready] == [9, 9, 6, 6, 3, 3]


# --- taking -----------------------------------------------------------------------------------


async def test_an_agent_takes_the_most_urgent_task_that_is_ready(
    tasks: Tasks, mine: Tasks, agent: views.AgentView
) -> None:
    await tasks.create("low", priority=2)
    high = await tasks.create("high", priority=9, requirements={"path": "a"})
    await tasks.create("waits", priority=10, needs=[high])
    near = await tasks.create("near", priority=9, deadline_s=60)
    [first] = await mine.take()
    assert (first.id, first.agent, first.status) == (near.id, agent.id, "in_progress")
    [second] = await mine.take()
    assert (second.id, second.requirements) == (high.id, {"path": "a"})
    assert [each.title for each in await mine.take(limit=10)] == ["low"]
    assert await mine.take() == []


async def test_an_agent_takes_what_is_of_its_kind_and_nobody_elses(
    core: Core, tasks: Tasks, mine: Tasks, agent: views.AgentView
) -> None:
    other = await core.engine.agents.register("development", name="other")
    await tasks.create("theirs", agent=other, priority=10)
    await tasks.create("docs", type="docs", priority=9)
    own = await tasks.create("mine", agent=agent)
    assert [each.id for each in await mine.take(type="task", limit=5)] == [own.id]
    assert [each.type for each in await mine.take(limit=5)] == ["docs"]


async def test_the_operator_takes_nothing(tasks: Tasks) -> None:
    with pytest.raises(Denied):
        await tasks.take()


async def test_no_two_agents_get_the_same_task(core: Core, tasks: Tasks) -> None:
    agents = [await core.engine.agents.register("development", name=f"w{n}") for n in range(6)]
    for number in range(30):
        await tasks.create(f"task {number}")
    handles = [core.engine.tasks("development", as_=each) for each in agents]
    taken = await asyncio.gather(*(each.take(limit=3) for each in handles for _ in range(2)))
    idents = [task.id for found in taken for task in found]
    assert len(idents) == len(set(idents)) == 30


async def test_what_has_come_to_wait_meanwhile_is_not_begun(tasks: Tasks, mine: Tasks) -> None:
    made = await tasks.create("build")
    for begin in (mine.take(), mine.start(made)):
        needs = await tasks.create("first", priority=1)
        _, begun = await asyncio.gather(tasks.depend(made, needs), begin, return_exceptions=True)
        assert begun != [made]
        shown = await tasks.get(made)
        assert (shown.status, shown.ready) == ("pending", False)
        [held] = await tasks.dependencies(made)
        await tasks.undepend(held)
        await tasks.cancel(needs)


async def test_those_who_ask_first_at_once_read_the_file_once(core: Core, tasks: Tasks) -> None:
    found = core.places["development"].tasks
    graphs = await asyncio.gather(*(found.graph() for _ in range(5)))
    assert len({id(each) for each in graphs}) == 1


async def test_a_task_that_somebody_else_has_cannot_be_begun(
    core: Core, tasks: Tasks, mine: Tasks
) -> None:
    other = await core.engine.agents.register("development", name="other")
    made = await tasks.create("theirs", agent=other)
    with pytest.raises(Conflict, match=other.id):
        await mine.start(made)
    await tasks.assign(made)
    assert (await mine.start(made)).agent is not None
    await core.engine.tasks("development", as_=other).start(await tasks.assign(made, other))
    with pytest.raises(Conflict, match=other.id):
        await mine.start(made)
    with pytest.raises(Denied):
        await mine.complete(made)


async def test_work_of_an_agent_that_ended_is_anybodys_again(
    core: Core, tasks: Tasks, mine: Tasks, agent: views.AgentView
) -> None:
    await tasks.create("build")
    place = core.places["development"]
    for attempt in (1, 2):
        [taken] = await mine.take()
        await place._gone(agent.id)
        shown = await tasks.get(taken)
        assert (shown.status, shown.agent, shown.attempt) == ("pending", None, attempt)
        assert agent.id in shown.reason
    [taken] = await mine.take()
    await place._gone(agent.id)
    assert (await tasks.get(taken)).status == "failed"


# --- rights -----------------------------------------------------------------------------------


async def test_who_may_not_see_a_task_does_not_know_of_it(
    core: Core, tasks: Tasks, mine: Tasks, audited: Callable[[], Any]
) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    hidden = await tasks.create("for the team", team=team.id)
    calls = [
        mine.get(hidden), mine.start(hidden), mine.complete(hidden), mine.cancel(hidden),
        mine.update(hidden, priority=1), mine.graph(hidden), mine.depend(hidden, "file"),
        mine.create("x", needs=[hidden]), mine.create("x", parent=hidden),
        mine.dependencies(hidden),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert await mine.list(status="all") == []
    assert await mine.ready() == []
    assert await mine.take() == []
    refused = [row[1] for row in await audited() if not row[3]]
    assert {"task.show", "task.complete", "task.cancel", "task.update"} <= set(refused)


async def test_an_agent_sees_and_does_what_it_was_given_and_directs_nothing_of_it(
    core: Core, tasks: Tasks, mine: Tasks, agent: views.AgentView
) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    made = await tasks.create("for one", team=team.id, agent=agent)
    assert [each.id for each in await mine.list()] == [made.id]
    assert [each.id for each in await mine.ready()] == [made.id]
    await mine.start(made)
    await mine.progress(made, 50)
    for call in (mine.cancel(made), mine.assign(made), mine.update(made, priority=1)):
        with pytest.raises(Denied):
            await call
    assert (await mine.complete(made)).status == "completed"


async def test_a_team_directs_its_tasks(core: Core, mine: Tasks, agent: views.AgentView) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    mate = await core.engine.agents.register("development", name="mate", team=team.id)
    await core.engine.agents.add_to_team(agent, team.id)
    made = await mine.create("ours")
    assert (made.level, made.team, made.owner) == ("team", team.id, agent.id)
    theirs = core.engine.tasks("development", as_=mate)
    assert (await theirs.update(made, priority=9)).priority == 9
    with pytest.raises(Denied):
        await theirs.update(made, level="public")
    assert (await mine.update(made, level="public")).level == "public"


async def test_an_agent_makes_nothing_beyond_its_own_level_team_and_swarm(
    core: Core, mine: Tasks
) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    for wrong in ({"level": "system"}, {"team": team.id}):
        with pytest.raises(Denied):
            await mine.create("x", **wrong)


async def test_a_grant_opens_one_task_alone(
    core: Core, tasks: Tasks, mine: Tasks, agent: views.AgentView
) -> None:
    team = await core.engine.agents.create_team("development", name="north")
    first = await tasks.create("one", team=team.id)
    await tasks.create("two", team=team.id)
    await core.engine.acl.grant(
        agent, resource="task", level="team", actions=["read"], key_prefix=first.id
    )
    assert [each.id for each in await mine.list()] == [first.id]
    assert [each.id for each in await mine.ready()] == [first.id]
    [taken] = await mine.take(limit=5)
    assert taken.id == first.id


async def test_agents_of_other_environments_may_look_at_what_is_public_and_do_nothing(
    core: Core, tasks: Tasks
) -> None:
    stranger = await core.engine.agents.register("testing", name="stranger")
    made = await tasks.create("public")
    theirs = core.engine.tasks("development", as_=stranger)
    assert (await theirs.get(made)).title == "public"
    for call in (theirs.take(), theirs.start(made), theirs.create("x"), theirs.cancel(made)):
        with pytest.raises(Denied):
            await call


# --- at rest ----------------------------------------------------------------------------------


async def test_what_agents_say_is_sealed_where_isolation_is_strict(core: Core) -> None:
    tasks = core.engine.tasks("production")
    made = await tasks.create("plan", requirements={"x": "canary-9f2c"})
    await tasks.complete(await tasks.start(made), {"y": "canary-9f2c"})
    database = core.places["production"].database
    [row] = await database.read(
        lambda reader: reader.execute("SELECT requirements, result FROM task").fetchall()
    )
    assert all(b"canary" not in text for text in row)
    assert (await tasks.get(made)).result == {"y": "canary-9f2c"}
    await database.write(lambda tx: tx.execute("UPDATE task SET result = requirements").rowcount)
    with pytest.raises(Damaged):
        await tasks.get(made)
    assert [each.title for each in await tasks.list(status="all")] == ["plan"]


async def test_a_task_whose_requirements_are_damaged_is_handed_to_nobody(
    core: Core, tasks: Tasks, mine: Tasks
) -> None:
    made = await tasks.create("plan", requirements={"x": 1})
    whole = await tasks.create("whole", requirements={"x": 2}, priority=1)
    await core.places["development"].database.write(
        lambda tx: tx.execute("UPDATE task SET requirements = x'00' WHERE id = 1").rowcount
    )
    assert [each.id for each in await mine.take(limit=2)] == [whole.id]
    [shown] = await tasks.list(status="failed")
    assert shown.id == made.id
    assert "does not match its seal" in shown.reason


async def test_shredded_tasks_stay_without_what_they_said(core: Core, tasks: Tasks) -> None:
    made = await tasks.create("plan", requirements={"x": 1})
    await tasks.complete(await tasks.start(made), {"y": 2})
    rotation = core.vault._rotation("development")
    await rotation.shred(["rest"], "operator")
    shown = await tasks.get(made)
    assert (shown.title, shown.requirements, shown.result) == ("plan", None, None)
    assert (await tasks.get(await tasks.create("anew", requirements={"z": 3}))).requirements


async def test_a_sealed_vault_keeps_the_texts_and_shows_the_list(
    core: Core, tasks: Tasks, mine: Tasks
) -> None:
    made = await tasks.create("plan", requirements={"x": 1})
    await core.engine.run(actions.VaultSeal())
    for call in (mine.take(), tasks.get(made), tasks.create("x", requirements={"y": 1})):
        with pytest.raises(Sealed):
            await call
    assert [each.id for each in await tasks.list()] == [made.id]


async def test_tasks_are_there_when_the_engine_is_opened_again(core: Core, tasks: Tasks) -> None:
    first = await tasks.create("first")
    second = await tasks.create("second", needs=[first])
    place = core.places["development"]
    await place.tasks.reload()
    assert [each.id for each in await tasks.ready()] == [first.id]
    await tasks.complete(await tasks.start(first))
    await place.tasks.reload()
    assert [each.id for each in await tasks.ready()] == [second.id]


# --- forgetting -------------------------------------------------------------------------------


async def test_what_ended_long_ago_goes_unless_something_still_needs_it(
    core: Core, tasks: Tasks, clock: FakeClock
) -> None:
    done = await tasks.create("done")
    broke = await tasks.create("broke")
    waits = await tasks.create("waits", needs=[broke])
    whole = await tasks.create("whole")
    part = await tasks.create("part", parent=whole)
    await tasks.complete(await tasks.start(done))
    await failed(tasks, broke)
    await tasks.cancel(whole)
    retention = core.places["development"].tasks.retention
    assert await retention.sweep(1) == 0
    clock.advance(31 * 86_400)
    assert await retention.sweep(1) == 1
    left = {each.id for each in await tasks.list(status="all")}
    assert left == {broke.id, waits.id, whole.id, part.id}
    assert (await tasks.get(waits)).status == "blocked"
    await tasks.cancel(waits)
    await tasks.cancel(part)
    clock.advance(31 * 86_400)
    assert await retention.sweep(1) == 4
    assert len(await core.places["development"].tasks.graph()) == 0


async def test_every_change_is_in_the_audit_trail(
    tasks: Tasks, mine: Tasks, agent: views.AgentView, audited: Callable[[], Any]
) -> None:
    made = await tasks.create("plan")
    await mine.take()
    await mine.progress(made, 10)
    await mine.fail(made, "no disk")
    await tasks.retry(made)
    rows = [
        (actor, action, detail) for actor, action, of, _, detail in await audited() if of == made.id
    ]
    assert rows == [
        ("operator", "task.create", "plan"),
        (agent.id, "task.take", ""),
        (agent.id, "task.progress", "10 %"),
        (agent.id, "task.fail", "no disk"),
        ("operator", "task.retry", ""),
    ]


# --- around them ------------------------------------------------------------------------------


async def test_an_agent_works_on_tasks_over_the_socket(tmp_path: Path) -> None:
    opening = open_core(tmp_path, settings=None, transient=False, headless=True, clock=None)
    async with opening as core:
        registry = core.places["development"].registry
        made = await registry.register(name="worker")
        token = await registry.renew_token(made.id)
        assert core._socket is not None
        who = Identity(socket=core._socket, agent=made.id, token=token)
        async with connect_agent(who) as agent:
            first = await agent.tasks.create("first", level="private")
            second = await agent.tasks.create("second", needs=[first])
            assert first.owner == agent.id
            [taken] = await agent.tasks.take()
            await agent.tasks.complete(taken, {"n": 1})
            assert [each.id for each in await agent.tasks.ready()] == [second.id]
            for wrong in (
                actions.TaskList(environment="production"),
                actions.TaskShow(id="prod_task_1"),
                actions.TaskTake(environment="development", actor="operator"),
            ):
                with pytest.raises(Denied):
                    await agent.run(wrong)


async def test_an_alert_says_which_tasks_are_overdue(
    core: Core, tasks: Tasks, clock: FakeClock
) -> None:
    made = await tasks.create("late", deadline_s=60)
    clock.advance(61)
    sight = core.watch._sight()
    [found] = [each for each in findings(sight) if each.rule == "tasks-overdue"]
    assert (found.subject, found.environment) == ("development", "development")
    assert made.id in found.detail
    await tasks.cancel(made)
    assert not any(each.rule == "tasks-overdue" for each in findings(core.watch._sight()))


async def test_why_a_task_waits_is_explained_with_what_would_help(core: Core, tasks: Tasks) -> None:
    first = await tasks.create("first")
    second = await tasks.create("second", needs=[first, "the licence"])
    await failed(tasks, first)
    found = await core.engine.run(actions.Explain(subject=second.id))
    assert (found.kind, found.state) == ("task", "blocked")
    assert {reason.rule for reason in found.reasons} == {"broken", "waiting"}
    assert f"swarmdeck task retry {first.id}" in found.remedies
    free = await core.engine.run(actions.Explain(subject=(await tasks.create("free")).id))
    assert "ready" in free.verdict


async def test_tasks_and_trees_are_tables_on_the_command_line(tasks: Tasks) -> None:
    first = await tasks.create("first")
    second = await tasks.create("second", needs=[first, "the licence"])
    shown = Shown(width=100, now_us=first.created_at_us)
    lines = pages.LISTS[views.TaskView](await tasks.list(), shown).splitlines()
    assert lines[0].split()[:3] == ["id", "title", "status"]
    assert "ready" in lines[1]
    tree = pages.LISTS[views.TaskNodeView](await tasks.graph(second), shown).splitlines()
    assert tree[2].startswith(f"  {first.id}")
