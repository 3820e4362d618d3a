"""Access to rows of other tables than the records: the same table, entries of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarmdeck.engine.acl import Rows
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, InvalidInput, NotFound
from swarmdeck.engine.model import Level, Principal, Right
from swarmdeck.engine.settings import load_settings


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    settings = load_settings(None, {}, {})
    async with open_core(
        tmp_path / "data", settings=settings, transient=False, headless=True, clock=None
    ) as found:
        yield found


async def _two(core: Core) -> tuple[Principal, Principal]:
    agents = core.engine.agents
    team = await agents.create_team("development", name="Web")
    one = await agents.register("development", name="One", team=team.id)
    other = await agents.register("development", name="Other")
    registry = core.places["development"].registry
    return registry.principal(one.id), registry.principal(other.id)


async def test_a_row_stands_as_a_record_does_and_hides_from_who_may_not_read_it(
    core: Core,
) -> None:
    one, other = await _two(core)
    rows = Rows(core.places["development"].access, "task")
    row = rows.stand(one, Level.TEAM)
    assert (row.owner, row.team) == (one.id, one.teams[0])
    rows.require(one, Right.WRITE, row, "dev_task_1")
    with pytest.raises(NotFound, match="no task dev_task_1"):
        rows.require(other, Right.READ, row, "dev_task_1")
    public = rows.stand(one, Level.PUBLIC)
    rows.require(other, Right.READ, public, "dev_task_1")
    with pytest.raises(Denied, match="may not delete task"):
        rows.require(other, Right.DELETE, public, "dev_task_1")


async def test_entries_count_for_the_resource_they_were_made_for_alone(core: Core) -> None:
    one, other = await _two(core)
    access = core.places["development"].access
    tasks, events = Rows(access, "task"), Rows(access, "event")
    row = tasks.stand(one, Level.TEAM)
    await core.engine.acl.grant(other.id, resource="task", level="team", key_prefix="dev_task_1")
    assert tasks.allows(other, Right.READ, row, "dev_task_1")
    assert not tasks.allows(other, Right.READ, row, "dev_task_2")
    assert not events.allows(other, Right.READ, row, "dev_task_1")
    assert not access.allows(other, Right.READ, row, "default", "dev_task_1")
    where, exact = tasks.visible(other)
    assert (where, exact) == (("1", ()), False)
    with pytest.raises(InvalidInput, match="a task has no namespace"):
        await core.engine.acl.grant(other.id, resource="task", namespace="x")
