"""Hot statements stand on their indexes and never sort."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine.queue import statements as sql

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
    "COUNT_READY": (sql.COUNT_READY, "COVERING INDEX message_ready_kind (env=?)"),
    "COUNT_DONE": (sql.COUNT_DONE, "COVERING INDEX message_done (env=?)"),
    "COUNT_FINISHED": (sql.COUNT_FINISHED, "message_finished (env=?"),
    "SUM_REDELIVERED": (sql.SUM_REDELIVERED, "COVERING INDEX message_redelivered (env=?"),
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
