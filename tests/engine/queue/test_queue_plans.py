"""Hot statements stand on their indexes and never sort."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine.model import MessageState
from swarmdeck.engine.queue import pages
from swarmdeck.engine.queue import statements as sql
from swarmdeck.engine.queue.listing import Wish

PLANS = {
    "HEADS": (sql.HEADS, "message_ready (env=? AND target=?)"),
    "HEADS_OF_KIND": (sql.HEADS_OF_KIND, "message_ready_kind (env=? AND target=? AND kind=?)"),
    "DUE_EXPIRY": (sql.DUE_EXPIRY, "message_expiry (env=? AND expires_at>? AND expires_at<?)"),
    "DUE_LEASE": (sql.DUE_LEASE, "message_leased (env=? AND lease_until<?)"),
    "DUE_DELAY": (sql.DUE_DELAY, "message_delayed (env=? AND due_at<?)"),
    "NEXT_EXPIRY": (sql.NEXT_EXPIRY, "message_expiry (env=? AND expires_at>?)"),
    "NEXT_LEASE": (sql.NEXT_LEASE, "message_leased (env=?)"),
    "NEXT_DELAY": (sql.NEXT_DELAY, "message_delayed (env=?)"),
    "SELECT_BY_KEY": (sql.SELECT_BY_KEY, "message_dedup (env=? AND dedup_key=?)"),
    "LANE_OF_PRIORITY": (
        f"{sql.LANE_OF_PRIORITY} ORDER BY id LIMIT ? OFFSET ?",
        "COVERING INDEX message_ready (env=? AND target=? AND priority=?)",
    ),
    "LANES_OF_PRIORITY": (
        sql.LANES_OF_PRIORITY,
        "COVERING INDEX message_ready (env=? AND target=? AND priority=?)",
    ),
    "FIRSTS_OF_PRIORITY": (
        sql.FIRSTS_OF_PRIORITY,
        "COVERING INDEX message_ready (env=? AND target=? AND priority=?)",
    ),
    "COUNT_READY": (sql.COUNT_READY, "COVERING INDEX message_ready_kind (env=?)"),
    "COUNT_DONE": (sql.COUNT_DONE, "COVERING INDEX message_done (env=?)"),
    "COUNT_FINISHED": (sql.COUNT_FINISHED, "message_finished (env=?"),
    "SUM_REDELIVERED": (sql.SUM_REDELIVERED, "COVERING INDEX message_redelivered (env=?"),
}
SORTED_SEPARATELY = {
    "COUNT_AGES": (sql.COUNT_AGES, "message_ready (env=?)"),
    "COUNT_DELAYED": (sql.COUNT_DELAYED, "message_delayed (env=?)"),
    "COUNT_DEAD": (sql.COUNT_DEAD, "message_finished (env=? AND state=?)"),
}
BY_ID = {
    "TAKE": sql.TAKE,
    "UNTAKE": sql.UNTAKE,
    "ACK": sql.ACK,
    "EXTEND": sql.EXTEND,
    "SETTLE": sql.SETTLE,
    "BURY": sql.BURY,
    "PROMOTE": sql.PROMOTE,
    "EXPIRE": sql.EXPIRE,
    "SELECT_LEASE": sql.SELECT_LEASE,
    "SELECT_EDITED": sql.SELECT_EDITED,
    "EDIT": sql.EDIT,
}


async def plan(scene: Any, statement: str) -> list[str]:
    rows = await scene.rows(f"EXPLAIN QUERY PLAN {statement}", *[1] * statement.count("?"))
    return [row[3] for row in rows]


@pytest.mark.parametrize("name", PLANS)
async def test_a_statement_uses_its_index_and_does_not_sort(scene: Any, name: str) -> None:
    statement, index = PLANS[name]
    steps = await plan(scene, statement)
    assert any(index in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


@pytest.mark.parametrize("name", SORTED_SEPARATELY)
async def test_a_count_by_priority_uses_its_index(scene: Any, name: str) -> None:
    statement, index = SORTED_SEPARATELY[name]
    assert any(index in step for step in await plan(scene, statement))


async def look_plans(scene: Any, wanted: Wish, skip: int = 0) -> list[list[str]]:
    """The plans of what a page of the queue as it is would ask."""
    facts = pages.Facts(scene.queue.counters, "development", "dev", 1_000_000)
    return [await plan(scene, look.part.text) for look in pages.looks(facts, wanted, skip, 200)]


@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_of_one_lane_sorts_nothing_that_is_ready(scene: Any, descending: bool) -> None:
    await scene.send(), await scene.send()
    [steps] = await look_plans(scene, Wish(descending=descending))
    assert not any("TEMP B-TREE" in step for step in steps), steps
    await scene.claim()
    [steps] = await look_plans(scene, Wish(descending=descending))
    ready = next(n for n, step in enumerate(steps) if "message_ready " in step)
    leased = next(n for n, step in enumerate(steps) if "message_leased " in step)
    sorts = [n for n, step in enumerate(steps) if "TEMP B-TREE" in step]
    assert "MERGE (UNION ALL)" in steps[0]
    assert len(sorts) == 1, steps
    assert (ready < leased) is (leased < sorts[0]), "only what is leased is sorted"


async def test_a_page_over_many_lanes_goes_by_id_as_long_as_that_is_short(scene: Any) -> None:
    for name in "abc":
        await scene.send(to=f"dev_agent_{name}")
    facts = pages.Facts(scene.queue.counters, "development", "dev", 3)
    [look] = pages.looks(facts, Wish(), 0, 2)
    steps = await plan(scene, look.part.text)
    assert any("message USING INTEGER PRIMARY KEY (rowid>?)" in step for step in steps), steps
    [far] = pages.looks(facts._replace(last_id=1_000_000), Wish(), 0, 2)
    steps = await plan(scene, far.part.text)
    assert any("message_ready (env=? AND target=? AND priority=?)" in step for step in steps)


@pytest.mark.parametrize("state", ["dead", "expired", "cancelled"])
async def test_a_page_of_what_has_ended_comes_out_of_its_index(scene: Any, state: str) -> None:
    [steps] = await look_plans(scene, Wish(MessageState(state)))
    assert steps == ["SEARCH message USING COVERING INDEX message_finished (env=? AND state=?)"]


async def test_the_rows_of_a_page_are_found_by_id(scene: Any) -> None:
    steps = await plan(scene, sql.SELECT_PAGE)
    assert "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)" in steps


@pytest.mark.parametrize("name", BY_ID)
async def test_a_change_finds_its_row_by_id(scene: Any, name: str) -> None:
    steps = await plan(scene, BY_ID[name])
    searches = [step for step in steps if "message" in step]
    assert searches == ["SEARCH message USING INTEGER PRIMARY KEY (rowid=?)"], steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


async def test_a_claim_asks_only_lanes_that_hold_something(scene: Any) -> None:
    """However many kinds wait, a claim for any kind is one look a target."""
    for number in range(300):
        scene.send(f"kind-{number}", to="dev_agent_b")
    await scene.send("x")
    lanes = scene.queue.counters.lanes
    targets = ("", *scene.town.targets(scene.b))
    assert lanes.probes(targets, None, expected=True) == (("", None), ("dev_agent_b", None))
    wanted = [f"kind-{number}" for number in range(290, 310)]
    assert len(lanes.probes(targets, wanted, expected=True)) == 10


def test_every_change_of_a_message_moves_its_time() -> None:
    """No trigger looks after it: that would cost each claim and acknowledgement a third more."""
    changes = {
        name: text
        for name, text in vars(sql).items()
        if isinstance(text, str) and "UPDATE message SET" in text
    }
    assert len(changes) >= len(("TAKE", "UNTAKE", "ACK", "EXTEND", "SETTLE", "BURY"))
    assert [name for name, text in changes.items() if "updated_at = " not in text] == []
