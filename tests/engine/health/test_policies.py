"""What may be set for whom, what is shown of it, and an engine that looks after itself."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.health.policies import Policies
from swarmdeck.engine.model import MIB
from swarmdeck.engine.settings import load_settings


@pytest.mark.parametrize(
    ("subject", "policy", "more"),
    [
        ("disk", "RESTART", {}),
        ("bus", "FAILOVER", {}),
        ("production", "RECREATE", {}),
        ("production", "RESTART", {"address": "http://127.0.0.1/"}),
        ("{swarm}", "FAILOVER", {}),
        ("{swarm}", "RESTART", {"standby": "{swarm}"}),
        ("{swarm}", "FAILOVER", {"standby": "{swarm}"}),
        ("{swarm}", "RESTART", {"address": "ftp://127.0.0.1/"}),
    ],
)
async def test_what_cannot_be_done_is_refused(
    ward: Any, subject: str, policy: str, more: dict[str, str]
) -> None:
    swarm = await ward.swarm(1)
    given = {name: value.format(swarm=swarm) for name, value in more.items()}
    with pytest.raises(InvalidInput):
        await ward.policy(subject.format(swarm=swarm), policy, **given)


async def test_a_policy_is_kept_and_audited(ward: Any) -> None:
    swarm, standby = await ward.swarm(1), await ward.swarm(1)
    set_ = act.RecoverySet(
        subject=swarm, policy="FAILOVER", standby=standby, address="http://127.0.0.1:9/"
    )
    await ward.core.engine.run(set_)
    seen = await ward.recovery(swarm)
    assert (seen.policy, seen.standby, seen.address, seen.set, seen.changed_by) == (
        "FAILOVER", standby, "http://127.0.0.1:9/", True, "operator",
    )  # fmt: skip
    rows = await ward.core.coordination.read(
        lambda r: r.execute(
            "SELECT object, detail FROM audit WHERE action = 'recovery.set'"
        ).fetchall()
    )
    assert rows == [(swarm, f"FAILOVER {standby} http://127.0.0.1:9/")]


async def test_what_nobody_set_has_a_default(ward: Any) -> None:
    swarm = await ward.swarm(1)
    await ward.round()
    found = {each.subject: each for each in await Policies(ward.health).list(None)}
    assert (found[swarm].policy, found[swarm].set) == ("RESTART", False)
    assert (found["production"].policy, found["disk"].policy) == ("RESTART", "ALERT_ONLY")


async def test_a_reset_gives_all_attempts_back_at_once(ward: Any) -> None:
    swarm = await ward.swarm(1)
    for _ in range(3):
        await ward.kill(swarm)
        await ward.round(after_s=301)
    await ward.kill(swarm)
    await ward.core.engine.run(act.RecoveryReset(subject=swarm))
    await ward.round()
    assert len(ward.pids(swarm)) == 1


async def test_a_swarm_that_is_not_there_has_no_policy_and_is_forgotten(ward: Any) -> None:
    with pytest.raises(NotFound):
        await ward.policy("dev_swarm_none", "RESTART")
    swarm = await ward.swarm(1)
    await ward.policy(swarm, "ALERT_ONLY")
    await ward.core.swarms.terminate(swarm, force=True)
    await ward.round()
    assert swarm in ward.health.recoveries
    await ward.core.swarms.remove(swarm)
    await ward.round()
    assert await ward.health.records.load() == ({}, {})


async def test_an_agent_sets_no_policy_whatever_its_role(ward: Any) -> None:
    swarm = await ward.swarm(1)
    boss = await ward.place.registry.register(name="boss", role="admin")
    principal = ward.core.resolve(boss.id)
    with pytest.raises(Denied):
        ward.core.dispatch(
            act.RecoverySet(subject=swarm, policy="RESTART", address="http://10.0.0.1/"), principal
        )


async def test_a_swarm_without_agents_and_one_that_is_over_are_not_ill(ward: Any) -> None:
    empty, over = await ward.swarm(0), await ward.swarm(1)
    await ward.core.swarms.terminate(over, force=True)
    await ward.round()
    assert ward.finding(empty, "agents")[0] == "ok"
    assert (over, "agents") not in ward.health.findings


async def test_what_recovery_does_is_told_by_alerts(ward: Any) -> None:
    swarm = await ward.swarm(1)
    for number in range(3):
        await ward.kill(swarm)
        await ward.round(after_s=301)
        if number == 0:
            fired = {a.rule: a for a in ward.core.alerts.list(None, firing=True)}
            assert fired["recovery-tried"].subject == swarm
    assert (await ward.recovery(swarm)).state == "idle"  # nobody has looked since
    await ward.kill(swarm)
    await ward.round(after_s=1)
    for _ in range(2):
        ward.core.alerts.evaluate()
    fired = {a.rule: a for a in ward.core.alerts.list(None, firing=True)}
    assert (fired["recovery-spent"].subject, fired["recovery-spent"].severity) == (
        swarm, "critical",
    )  # fmt: skip
    assert fired["recovery-spent"].hint == f"swarmdeck recovery reset {swarm}"
    why = await ward.core.engine.run(act.Explain(subject=swarm))
    assert "recovery-spent" in {reason.rule for reason in why.reasons}
    assert f"swarmdeck recovery reset {swarm}" in why.remedies


async def test_an_engine_looks_after_its_swarms_by_itself(tmp_path: Path) -> None:
    """Nothing asked, nothing stopped: a killed agent that its crew has given up runs again."""
    settings = load_settings(
        None, {"SWARMDECK_AGENTS__RESTARTS": "0", "SWARMDECK_HEALTH__INTERVAL_S": "0.1"}, {}
    )
    async with open_engine(tmp_path, settings=settings) as engine:
        swarm = await engine.swarms.create("development", agents=1, memory_bytes=64 * MIB)
        [agent] = await engine.run(act.AgentList(swarm=swarm.id))
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while (now := await engine.run(act.AgentShow(id=agent.id))).pid in {agent.pid, None}:
                await asyncio.sleep(0.05)
        assert now.restarts == 1


async def test_a_policy_is_not_changed_between_counting_an_attempt_and_making_it(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was chosen meanwhile would bring the attempt back, or be overwritten by it."""
    swarm = await ward.swarm()
    await ward.kill(swarm)
    keep, asked, going_on = ward.health.records.keep_recovery, asyncio.Event(), asyncio.Event()

    async def slowly(recovery: Any, **said: str) -> None:
        await keep(recovery, **said)
        if said.get("action") == "recovery.try":
            asked.set()
            await going_on.wait()

    monkeypatch.setattr(ward.health.records, "keep_recovery", slowly)
    looking = asyncio.create_task(ward.round())
    await asked.wait()
    setting = asyncio.create_task(ward.policy(swarm, "ALERT_ONLY"))
    resetting = asyncio.create_task(Policies(ward.health).reset(swarm, "operator"))
    await asyncio.sleep(0)
    going_on.set()
    for task in (setting, resetting):
        with pytest.raises(Conflict):
            await task
    await looking
    seen = await ward.recovery(swarm)
    assert (seen.policy, seen.attempts) == ("RESTART", 1)
