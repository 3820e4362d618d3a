"""Each policy, shown by breaking the real thing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from swarmdeck.engine.errors import Conflict, StorageError
from swarmdeck.engine.model import MIB
from swarmdeck.engine.swarms.supervisor import BUNDLED_WORKER


@pytest.fixture
async def hanging() -> AsyncIterator[str]:
    """The address of a server that takes connections and never answers."""
    hung: list[asyncio.StreamWriter] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"
    server.close()
    for writer in hung:
        writer.transport.abort()
    await server.wait_closed()


# --- RESTART --------------------------------------------------------------------------------


async def test_restart_gives_killed_agents_new_processes(ward: Any) -> None:
    swarm = await ward.swarm(2)
    before = [agent.id for agent in ward.agents(swarm)]
    await ward.round()
    assert ward.finding(swarm, "agents") == ("ok", "2 agents are well")
    await ward.kill(swarm)
    await ward.round()
    assert ward.finding(swarm, "agents")[0] == "failed"
    assert [agent.id for agent in ward.agents(swarm)] == before
    assert len(ward.pids(swarm)) == 2
    seen = await ward.recovery(swarm)
    assert (seen.policy, seen.attempts, seen.outcome) == (
        "RESTART", 1, "2 agents were started anew",
    )  # fmt: skip
    await ward.round()
    assert ward.finding(swarm, "agents")[0] == "ok"


async def test_a_fourth_attempt_never_happens(ward: Any) -> None:
    swarm = await ward.swarm(1)
    for attempt in range(1, 4):
        await ward.kill(swarm)
        await ward.round(after_s=301)
        assert (await ward.recovery(swarm)).attempts == attempt
    await ward.kill(swarm)
    for _ in range(5):
        await ward.round(after_s=10_000)
    assert ward.pids(swarm) == []
    seen = await ward.recovery(swarm)
    assert (seen.attempts, seen.state, seen.next_at_us) == (3, "spent", None)


async def test_the_next_attempt_waits_for_the_cooldown(ward: Any) -> None:
    swarm = await ward.swarm(1)
    await ward.kill(swarm)
    await ward.round()
    await ward.kill(swarm)
    await ward.round(after_s=299)
    assert (ward.pids(swarm), (await ward.recovery(swarm)).state) == ([], "waiting")
    await ward.round(after_s=2)
    assert len(ward.pids(swarm)) == 1


async def test_health_for_a_cooldown_gives_all_attempts_back(ward: Any) -> None:
    swarm = await ward.swarm(1)
    await ward.kill(swarm)
    await ward.round()
    await ward.round(after_s=1)
    await ward.round(after_s=299)
    assert (await ward.recovery(swarm)).attempts == 1
    await ward.round(after_s=2)
    assert (await ward.recovery(swarm)).attempts == 0


async def test_restart_replaces_the_process_of_a_wedged_agent_alone(ward: Any) -> None:
    swarm = await ward.swarm(2, BUNDLED_WORKER)
    registry = ward.place.registry
    await ward.until(lambda: all(a.state == "ready" for a in ward.agents(swarm)))
    wedged, well = ward.agents(swarm)
    os.kill(wedged.pid, signal.SIGSTOP)
    ward.clock.advance(10)
    await ward.until(lambda: not registry.presence.is_stale(well.id))
    assert registry.presence.is_stale(wedged.id)
    await ward.round()
    after = {agent.id: agent.pid for agent in ward.agents(swarm)}
    assert after[well.id] == well.pid
    assert after[wedged.id] not in {wedged.pid, None}
    with pytest.raises(ProcessLookupError):
        os.kill(wedged.pid, 0)


async def test_restart_starts_all_agents_anew_whose_address_hangs(ward: Any, hanging: str) -> None:
    swarm = await ward.swarm(1)
    [pid] = ward.pids(swarm)
    await ward.policy(swarm, "RESTART", address=hanging)
    await ward.round()
    assert ward.finding(swarm, "http") == ("suspect", "no answer within 0.5 s")
    assert ward.pids(swarm) == [pid]
    await ward.round()
    assert ward.finding(swarm, "http")[0] == "failed"
    assert ward.pids(swarm) not in ([pid], [])


# --- RECREATE -------------------------------------------------------------------------------


async def test_recreate_puts_new_agents_in_the_place_of_all(ward: Any) -> None:
    swarm = await ward.swarm(2)
    await ward.policy(swarm, "RECREATE")
    old = {agent.id for agent in ward.agents(swarm)}
    await ward.send(min(old), b'"for one"')
    hashes = {agent.token_hash for agent in ward.agents(swarm)}
    granted = ward.core.ledger.holding(swarm).bytes
    os.kill(ward.pids(swarm)[0], signal.SIGKILL)
    await ward.until(lambda: len(ward.pids(swarm)) == 1)
    await ward.round()
    new = ward.agents(swarm)
    assert len(ward.pids(swarm)) == 2
    assert not old & {agent.id for agent in new}
    assert not hashes & {agent.token_hash for agent in new}
    assert ward.core.ledger.holding(swarm).bytes == granted
    assert await ward.claims(swarm) == ['"for one"']


# --- SCALE_UP -------------------------------------------------------------------------------


async def test_scale_up_adds_agents_with_as_much_memory_each(ward: Any, hanging: str) -> None:
    swarm = await ward.swarm(2)
    await ward.policy(swarm, "SCALE_UP", address=hanging)
    await ward.round()
    await ward.round()
    assert (ward.record(swarm).agents, len(ward.pids(swarm))) == (3, 3)
    assert ward.record(swarm).memory_bytes == 192 * MIB


async def test_scale_up_is_vetoed_by_pressure(ward: Any, hanging: str) -> None:
    swarm = await ward.swarm(1)
    await ward.policy(swarm, "SCALE_UP", address=hanging)
    host = ward.core.host
    host.latest = msgspec.structs.replace(
        host.latest, available_bytes=host.latest.total_bytes // 50
    )
    await ward.round()
    await ward.round()
    assert len(ward.pids(swarm)) == 1
    seen = await ward.recovery(swarm)
    assert seen.attempts == 1
    assert seen.outcome.startswith("failed: nothing more is started: the host ")


async def test_scale_up_never_passes_the_limit_of_the_environment(ward: Any, hanging: str) -> None:
    limit = ward.core.settings.host.environments["development"].agents
    swarm = await ward.swarm(1)
    registry = ward.place.registry
    await ward.policy(swarm, "SCALE_UP", address=hanging)
    for _ in range(limit - 1):
        outside = await registry.register(name="x")
        registry.connected(outside.id)
    await ward.round()
    await ward.round()
    assert len(ward.pids(swarm)) == 1
    assert (await ward.recovery(swarm)).outcome.startswith("failed: ")


# --- FAILOVER -------------------------------------------------------------------------------


async def test_failover_moves_the_work_of_a_killed_swarm_to_its_standby(ward: Any) -> None:
    ill, standby = await ward.swarm(1), await ward.swarm(1)
    await ward.policy(ill, "FAILOVER", standby=standby)
    agent = ward.agents(ill)[0]
    await ward.send(ill, b'"held"')
    assert await ward.claims(ill) == ['"held"']
    await ward.send(ill, b'"for the swarm"')
    await ward.send(agent.id, b'"for its agent"')
    await ward.kill(ill)
    await ward.round()
    assert ward.record(ill).state == "terminated"
    assert set(await ward.claims(standby)) == {'"held"', '"for the swarm"', '"for its agent"'}
    seen = await ward.recovery(ill)
    assert (seen.state, seen.successor) == ("given up", standby)
    await ward.send(ill, b'"late"')
    await ward.place.queue.leftovers.sweep()
    await ward.round()
    assert await ward.claims(standby) == ['"late"']
    assert len(ward.pids(standby)) == 1
    await ward.core.swarms.terminate(standby, force=True)
    with pytest.raises(Conflict, match="failed over to"):
        await ward.send(ill)


async def test_what_a_wedged_agent_holds_follows_to_the_standby(ward: Any, hanging: str) -> None:
    ill, standby = await ward.swarm(1), await ward.swarm(1)
    await ward.policy(ill, "FAILOVER", standby=standby, address=hanging)
    await ward.send(ward.agents(ill)[0].id, b'"held"')
    assert await ward.claims(ill) == ['"held"']
    await ward.round()
    await ward.round()
    assert ward.pids(ill) == []
    assert await ward.claims(standby) == ['"held"']


async def test_nothing_fails_over_to_a_standby_that_is_dead_itself(ward: Any) -> None:
    ill, standby = await ward.swarm(1), await ward.swarm(1)
    await ward.policy(ill, "FAILOVER", standby=standby)
    await ward.policy(standby, "ALERT_ONLY")
    await ward.kill(ill)
    await ward.kill(standby)
    await ward.round()
    assert ward.record(ill).state == "running"
    assert "is well" in (await ward.recovery(ill)).outcome


# --- ALERT_ONLY -----------------------------------------------------------------------------


async def test_alert_only_never_acts(ward: Any) -> None:
    swarm = await ward.swarm(1)
    await ward.policy(swarm, "ALERT_ONLY")
    await ward.kill(swarm)
    for _ in range(10):
        await ward.round(after_s=1000)
    assert ward.pids(swarm) == []
    seen = await ward.recovery(swarm)
    assert (seen.attempts, seen.state, seen.attempted_at_us) == (0, "off", None)
    alerts = {alert.rule for alert in ward.core.alerts.list(None, firing=True)}
    assert not alerts & {"recovery-tried", "recovery-spent"}


# --- swarms that gave way ---------------------------------------------------------------------


async def give_way(ward: Any, swarm: str) -> None:
    """The host is short of memory until this swarm is stopped for it."""
    host, swarms = ward.core.host, ward.core.swarms
    host.latest = msgspec.structs.replace(
        host.latest, available_bytes=host.latest.total_bytes // 50
    )

    def stopped() -> bool:
        ward.clock.advance(1)
        swarms.keeper.tick({agent.id: 64 * MIB for agent in ward.agents(swarm)})
        return swarms.has_given_way(swarm) and not swarms.keeper.enforcement.is_busy

    await ward.until(stopped)
    host.sample()


async def test_a_swarm_that_gives_way_while_it_is_ill_is_left_alone(
    ward: Any, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = await ward.swarm(1)
    await ward.policy(swarm, "RECREATE", address=hanging)
    before = [agent.id for agent in ward.agents(swarm)]
    for _ in range(2):
        await ward.health.look()
    assert ward.finding(swarm, "http")[0] == "failed"
    await give_way(ward, swarm)

    async def nothing_new(_: str | None = None) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(ward.health, "look", nothing_new)  # what was found is from before
        await ward.round()
    await ward.round()
    assert (ward.pids(swarm), [agent.id for agent in ward.agents(swarm)]) == ([], before)
    assert (await ward.recovery(swarm)).attempts == 0
    assert not any(subject == swarm for subject, _ in ward.health.findings)


async def test_nothing_fails_over_to_a_standby_that_gave_way(ward: Any) -> None:
    ill, standby = await ward.swarm(1), await ward.swarm(1)
    await ward.policy(ill, "FAILOVER", standby=standby)
    await give_way(ward, standby)
    await ward.kill(ill)
    await ward.round()
    assert ward.record(ill).state == "running"
    assert "until the host has memory" in (await ward.recovery(ill)).outcome


# --- attempts and engines -------------------------------------------------------------------


async def test_attempts_outlive_their_engine(make_ward: Callable[..., Any]) -> None:
    first = await make_ward()
    swarm = await first.swarm(1)
    await first.policy(swarm, "ALERT_ONLY")
    await first.policy(swarm, "RESTART")
    await first.kill(swarm)
    await first.round()
    await first.kill(swarm)
    now_us = first.clock.wall_us()
    await first.close()
    second = await make_ward()
    second.clock.now_us = now_us
    seen = await second.recovery(swarm)
    assert (seen.attempts, seen.changed_by, seen.set) == (1, "operator", True)


async def test_an_attempt_that_is_cut_off_has_been_counted(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = await ward.swarm(1)
    begun = asyncio.Event()

    async def endless(*_: object) -> str:
        begun.set()
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("swarmdeck.engine.health.remedies.Remedies.apply", endless)
    await ward.kill(swarm)
    await ward.health.round()
    await begun.wait()
    await ward.health.close()
    del ward.core.__dict__["health"]
    seen = await ward.recovery(swarm)
    assert (seen.attempts, seen.outcome) == (1, "interrupted: its engine ended")


async def test_what_cannot_be_counted_is_not_tried(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = await ward.swarm(1)
    await ward.kill(swarm)
    await ward.health.load()

    async def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(ward.health.records, "keep_recovery", refuse)
    with pytest.raises(StorageError):
        await ward.round()
    assert ward.pids(swarm) == []


async def test_recoveries_that_fail_again_and_again_are_not_begun_for_a_while(
    make_ward: Callable[..., Any],
) -> None:
    ward = await make_ward(**{"breaker.failures": "2"})
    swarms = [await ward.swarm(1) for _ in range(3)]
    standby = await ward.swarm(0)
    for swarm in swarms:
        await ward.policy(swarm, "FAILOVER", standby=standby)
        await ward.kill(swarm)
    await ward.round()  # two at once: both fail, as the standby has no agent
    await ward.round()
    tried = [(await ward.recovery(swarm)).attempts for swarm in swarms]
    assert ward.health.breaker("recovery").state == "open"
    await ward.round(after_s=10)
    assert [(await ward.recovery(swarm)).attempts for swarm in swarms] == tried
    rules = {alert.rule for alert in ward.core.alerts.list(None, firing=True)}
    assert "breaker-open" in rules


async def test_an_attempt_that_the_system_refuses_has_failed(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine without descriptors, for one: it must not look as if it were still under way."""
    swarm = await ward.swarm()
    await ward.kill(swarm)

    async def refused(_: object) -> str:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(ward.health.remedies, "apply", refused)
    await ward.round()
    seen = await ward.recovery(swarm)
    assert (seen.attempts, seen.outcome) == (1, "failed: [Errno 24] Too many open files")
