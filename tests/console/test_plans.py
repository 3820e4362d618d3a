"""What a destructive action will touch is said before it is done; production wants a word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console import plans
from swarmdeck.engine import actions, views
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.errors import NotFound

DESTRUCTIVE = [spec.type for spec in ACTIONS.values() if spec.destructive]


def health(swarm: views.SwarmView) -> views.HealthView:
    return views.HealthView(
        swarm=swarm, status="healthy", issues=(), agents=(), ready_messages=1, leased_messages=3
    )


def test_every_destructive_action_says_what_it_touches() -> None:
    assert set(DESTRUCTIVE) <= set(plans._DRAFTS)
    assert set(plans._LOOKS) == set(plans._DRAFTS)


def test_ending_a_swarm_counts_processes_memory_and_running_work(fakes: Any) -> None:
    swarm = fakes.swarm("dev_swarm_1", "crawl", "development", 4)
    graceful = plans.plan_of(actions.SwarmTerminate(id=swarm.id), health(swarm))
    text = "\n".join(graceful.touches)
    assert "4 processes" in text
    assert "2 GB" in text
    assert "3 messages under work may finish" in text
    assert graceful.words == ()
    force = plans.plan_of(actions.SwarmTerminate(id=swarm.id, force=True), health(swarm))
    assert "delivered again" in "\n".join(force.touches)


def test_production_asks_for_the_swarms_name_or_id(fakes: Any) -> None:
    swarm = fakes.swarm("prod_swarm_1", "payments", "production", 4)
    plan = plans.plan_of(actions.SwarmTerminate(id=swarm.id), health(swarm))
    assert plan.words == ("payments", "prod_swarm_1")
    nameless = msgspec.structs.replace(swarm, name="")
    plan = plans.plan_of(actions.SwarmTerminate(id=swarm.id), health(nameless))
    assert plan.words == ("prod_swarm_1",)


@pytest.mark.parametrize("environment", ["production", "testing"])
def test_only_production_wants_a_word(fakes: Any, environment: str) -> None:
    plan = plans.plan_of(
        actions.QueueCancel(id="x"), fakes.message(1, "leased", environment=environment)
    )
    assert bool(plan.words) == (environment == "production")
    plan = plans.plan_of(
        actions.MemoryDelete(environment=environment, key="k"),
        fakes.record(1, environment=environment),
    )
    assert bool(plan.words) == (environment == "production")
    agent = fakes.agent("x", None, 1, environment=environment)
    assert bool(plans.plan_of(actions.AgentUnregister(id="x"), agent).words) == (
        environment == "production"
    )
    deny = actions.AclDeny(subject="x", environment=environment)
    assert bool(plans.plan_of(deny, agent).words) == (environment == "production")


def test_a_grant_that_is_gone_cannot_be_removed(fakes: Any) -> None:
    grants = [fakes.grant(1)]
    assert "dev_grant_00000001" in plans.plan_of(
        actions.AclRevoke(id="dev_grant_00000001"), grants
    ).question  # fmt: skip
    with pytest.raises(NotFound):
        plans.plan_of(actions.AclRevoke(id="dev_grant_9"), grants)


def test_leaving_names_the_swarms_that_end_and_no_others(fakes: Any) -> None:
    ended = fakes.swarm("dev_swarm_2", "old", "development", 1, state="terminated")
    plan = plans.leaving(
        fakes.overview((fakes.swarm("dev_swarm_1", "crawl", "development", 4), ended))
    )
    text = "\n".join(plan.touches)
    assert "crawl" in text
    assert "old" not in text
    assert plan.words == ()
    assert plans.leaving(fakes.busy()).words == ("production",)
    assert plans.alive(fakes.overview((ended,))) == []


def admission(**more: Any) -> views.AdmissionView:
    fields: dict[str, Any] = {
        "environment": "development", "accepted": True, "base_before_bytes": 10 << 30,
        "base_after_bytes": 12 << 30, "max_before_bytes": 14 << 30, "max_after_bytes": 14 << 30,
        "buffer_before_bytes": 8 << 30, "buffer_after_bytes": 6 << 30, "allocated_bytes": 4 << 30,
        "borrowed_before_bytes": 1 << 30, "borrowed_after_bytes": 0,
        "holders": tuple(
            views.HolderView(
                swarm=f"dev_swarm_{n}", environment="development", bytes=1 << 30,
                borrowed_bytes=1 << 30,
                lenders=(views.LoanView(lender="staging", bytes=1 << 30),),
            )
            for n in range(6)
        ),
    }  # fmt: skip
    return views.AdmissionView(**(fields | more))


def test_a_budget_shows_before_and_after_and_who_holds_the_memory() -> None:
    action = actions.MemoryBudget(
        environment="development", base_bytes=12 << 30, max_bytes=14 << 30
    )
    assert plans.look(action) == actions.MemoryAdmit(
        environment="development", base_bytes=12 << 30, max_bytes=14 << 30
    )
    plan = plans.plan_of(action, admission())
    text = "\n".join(plan.touches)
    assert "its own: 10 GB → 12 GB" in text
    assert "at most: 14 GB, as it is" in text
    assert "buffer of the host: 8 GB → 6 GB" in text
    assert "dev_swarm_0 (development) holds 1 GB, 1 GB from staging" in text
    assert "and 2 more swarms" in text
    assert not plan.refused


def test_a_budget_that_does_not_fit_is_a_plan_that_cannot_be_confirmed() -> None:
    action = actions.MemoryBudget(environment="production", base_bytes=90 << 30, max_bytes=90 << 30)
    seen = admission(environment="production", accepted=False, reason="28 GB over", hint="less")
    plan = plans.plan_of(action, seen)
    assert plan.refused == "It does not fit: 28 GB over (less)"
    assert plan.words == (), "nothing is asked that cannot be answered"


def test_a_purge_counts_by_kind_and_says_that_it_is_for_good(fakes: Any) -> None:
    action = actions.QueuePurge(environment="production", state="dead")
    found = [fakes.message(n, "dead", kind="mail" if n else "digest") for n in range(3)]
    plan = plans.plan_of(action, found)
    assert plan.touches[0] == "3 messages: mail 2, digest 1"
    assert "for good" in plan.touches[-1]
    assert plan.words == ("production",)
    many = plans.plan_of(action, found[:1] * plans.MOST_COUNTED)
    assert "10,000 messages or more" in many.touches[0]
    with pytest.raises(NotFound):
        plans.plan_of(action, [])


def test_another_level_says_who_reads_before_and_after(fakes: Any) -> None:
    action = actions.MemoryLevel(environment="development", key="k", level=4)
    plan = plans.plan_of(action, fakes.record(1, level="private"))
    assert "from private to public" in plan.question
    assert any("its owner alone" in sentence for sentence in plan.touches)
    assert any("every agent of the environment" in sentence for sentence in plan.touches)


def flow(environment: str, **more: Any) -> views.FlowView:
    fields: dict[str, Any] = {
        "environment": environment, "mode": "running", "reason": "", "changed_at_us": None,
        "changed_by": "", "open": 41, "limit": 1_000, "waiting": 0,
    }  # fmt: skip
    return views.FlowView(**(fields | more))


def test_stopping_a_queue_counts_what_is_open_and_who_waits() -> None:
    pause = actions.QueuePause(environment="production")
    assert plans.look(pause) == actions.QueueFlow(environment="production")
    plan = plans.plan_of(pause, [flow("production")])
    assert plan.words == ("production",)
    assert "41 of 1,000 messages are open" in plan.touches[0]
    drain = actions.QueueDrain(environment="testing")
    plan = plans.plan_of(drain, [flow("testing", waiting=2)])
    assert plan.words == ()
    assert "2 senders that wait for room are told at once" in plan.touches[1]
    with pytest.raises(NotFound):
        plans.plan_of(drain, [])
