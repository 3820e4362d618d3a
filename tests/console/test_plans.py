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
