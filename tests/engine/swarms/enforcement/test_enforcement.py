"""Budgets that hold: limits on each process, who breaks a share goes, shares shrink by asking, and
a host short of memory stops the least important."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine.errors import Busy, StorageError, Unavailable
from swarmdeck.engine.events import AgentChanged
from swarmdeck.engine.model import GIB, MIB, OPERATOR_PRINCIPAL, AgentState
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms.enforcement import service
from swarmdeck.engine.swarms.enforcement.cgroup import Groups
from swarmdeck.engine.swarms.enforcement.pressure import PRESSED_S, ROOMY_S, SETTLE_S, TOLD_S
from swarmdeck.engine.swarms.enforcement.shares import ASK_S, GRACE_S
from swarmdeck.engine.swarms.roster import Setup

from .conftest import SLEEPER, TOTAL, Scene, alive, until

# Holds 200 MiB that no data limit counts, as shared memory of a program that means to.
HOARDER = """
import mmap, time
held = mmap.mmap(-1, 200 << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
time.sleep(600)
"""
HOARDING = (sys.executable, "-c", HOARDER)
DATA = resource.RLIMIT_DATA


async def make(
    scene: Scene, where: str = "development", *, agents: int = 1, memory_bytes: int = GIB,
    command: tuple[str, ...] = SLEEPER,
) -> str:  # fmt: skip
    view = await scene.swarms.create(
        where, agents=agents, memory_bytes=memory_bytes, command=command
    )
    return view.id


def limit(pid: int) -> int:
    return resource.prlimit(pid, DATA)[0]


# --- limits and the guard -----------------------------------------------------------------------


async def test_each_process_is_limited_to_the_grant_of_its_swarm(scene: Scene) -> None:
    swarm = await make(scene, agents=2)
    assert [limit(pid) for pid in scene.pids(swarm)] == [GIB, GIB]


async def test_limits_follow_a_swarm_that_is_scaled(scene: Scene) -> None:
    swarm = await make(scene, agents=2)
    await scene.swarms.scale(swarm, agents=3, memory_bytes=2 * GIB)
    assert [limit(pid) for pid in scene.pids(swarm)] == [2 * GIB] * 3
    await scene.swarms.scale(swarm, agents=3, memory_bytes=GIB)
    assert [limit(pid) for pid in scene.pids(swarm)] == [GIB] * 3


async def test_an_agent_over_the_share_is_killed_told_of_and_started_again(scene: Scene) -> None:
    swarm = await make(scene, memory_bytes=100 * MIB, command=HOARDING)
    (agent,) = scene.agents(swarm)
    await until(lambda: scene.deeds == [("killed", swarm)])
    await until(lambda: scene.swarms.agent(agent).reason)
    view = scene.swarms.agent(agent)
    assert view.state is AgentState.STARTING
    assert view.reason.startswith("killed: held ")
    assert view.reason.endswith("of its swarm's 100 MB; again in 1 s")
    await scene.seconds()
    health = scene.swarms.health(swarm)
    assert health.swarm.breaches == 1
    assert "1 agent was killed for holding more than its memory" in health.issues


async def test_what_an_agent_held_in_its_queue_is_free_when_it_was_killed(scene: Scene) -> None:
    swarm = await make(scene, memory_bytes=GIB, command=HOARDING)
    (agent,) = scene.agents(swarm)
    site = scene.sites["development"]
    await site.registry.ready(agent)
    await site.queue.send(OPERATOR_PRINCIPAL, "work", b"{}")
    principal = site.registry.principal(agent)
    assert len(await site.queue.claim(principal, limit=1, lease_s=60, wait_s=0, kinds=None)) == 1
    await scene.swarms.scale(swarm, agents=1, memory_bytes=100 * MIB)
    await until(lambda: scene.deeds)
    await until(lambda: site.queue.counts().leased == 0)
    assert site.queue.counts().ready == 1


@pytest.mark.parametrize("level", ["advisory"])
async def test_advisory_limits_and_kills_nobody(scene: Scene) -> None:
    swarm = await make(scene, memory_bytes=100 * MIB, command=HOARDING)
    await scene.seconds(5)
    assert limit(scene.pids(swarm)[0]) == resource.prlimit(os.getpid(), DATA)[0]
    assert "swarmdeck-guard" not in [thread.name for thread in threading.enumerate()]
    assert scene.host.guarded is False
    scene.probe.available = 0
    await scene.seconds(30)
    assert scene.deeds == []


async def test_without_a_process_nothing_is_watched(scene: Scene) -> None:
    await make(scene, agents=0)
    await scene.seconds(3)
    assert "swarmdeck-guard" not in [thread.name for thread in threading.enumerate()]


async def test_what_another_engine_started_is_watched_too(scene: Scene) -> None:
    swarm = await make(scene, memory_bytes=400 * MIB, command=HOARDING)
    (pid,) = scene.pids(swarm)
    scene.swarms.keep_running()
    await scene.swarms.__aexit__(None, None, None)
    assert alive([pid])
    scene.ledger.release(swarm)
    scene.swarms = scene.made()
    async with scene.swarms:
        try:
            await scene.swarms.succession.restore(scene.sites["development"], lasting=True)
            assert scene.pids(swarm) == [pid]
            await scene.swarms.scale(swarm, agents=1, memory_bytes=100 * MIB)
            await until(lambda: ("killed", swarm) in scene.deeds)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - killed above
    scene.swarms = scene.made()
    await scene.swarms.__aenter__()


class Delegated(Groups):
    """Groups of a kernel that has given this engine some: who was put into which."""

    def __init__(self, *, takes: bool) -> None:
        super().__init__(Path("nowhere"), has_cpu=False)
        self.takes = takes
        self.inside: dict[int, str] = {}

    def hold(self, swarm: str, memory_bytes: int, cpu_percent: int | None = None) -> bool:
        return True

    def place(self, swarm: str, pid: int) -> bool:
        if self.takes:
            self.inside[pid] = swarm
        return self.takes

    def new_kills(self, swarm: str) -> int:
        return 0


@pytest.mark.parametrize("takes", [True, False])
async def test_what_an_engine_without_groups_started_is_held_by_one_with_groups(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, takes: bool
) -> None:
    """A console was detached, and a service of systemd follows: agents sit where the console was,
    and may be put into groups, or not."""
    swarm = await make(scene, memory_bytes=400 * MIB, command=HOARDING)
    (pid,) = scene.pids(swarm)
    scene.swarms.keep_running()
    await scene.swarms.__aexit__(None, None, None)
    scene.ledger.release(swarm)
    groups = Delegated(takes=takes)
    monkeypatch.setattr(service, "find_groups", lambda: (groups, ""))
    scene.settings = load_settings(None, {}, {"enforcement.level": "auto"})
    scene.swarms = scene.made()
    async with scene.swarms:
        try:
            await scene.swarms.succession.restore(scene.sites["development"], lasting=True)
            assert scene.pids(swarm) == [pid]
            if takes:
                assert groups.inside == {pid: swarm}
            await scene.swarms.scale(swarm, agents=1, memory_bytes=100 * MIB)
            if not takes:
                await until(lambda: ("killed", swarm) in scene.deeds)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - killed above
    scene.swarms = scene.made()
    await scene.swarms.__aenter__()


# --- a share that shrank ------------------------------------------------------------------------


async def test_a_loan_taken_back_is_asked_for_before_anybody_goes(scene: Scene) -> None:
    borrower = await make(scene, "research", agents=2, memory_bytes=14 * GIB)
    first, second = scene.agents(borrower)
    scene.used = {first: 5 * GIB, second: 7 * GIB}
    await scene.seconds()
    before = dict(zip(scene.agents(borrower), scene.pids(borrower), strict=True))
    await make(scene, "testing", agents=0, memory_bytes=8 * GIB)
    await make(scene, "production", agents=0, memory_bytes=16 * GIB)
    await make(scene, "development", agents=0, memory_bytes=14 * GIB)
    await make(scene, "staging", agents=0, memory_bytes=6 * GIB)
    assert scene.swarms.view(borrower).memory_bytes == 10 * GIB
    await scene.seconds()
    assert scene.deeds == [("told", borrower)]
    assert scene.told == [(first, f"memory {GIB}"), (second, f"memory {GIB}")]
    assert [limit(pid) for pid in scene.pids(borrower)] == [14 * GIB] * 2
    await scene.seconds(int(ASK_S))
    assert scene.deeds[-1] == ("renewed", borrower)
    await until(lambda: len(scene.pids(borrower)) == 2)
    after = dict(zip(scene.agents(borrower), scene.pids(borrower), strict=True))
    assert after[first] == before[first]
    assert after[second] != before[second], "the one that holds most begins anew"
    scene.used = {first: 5 * GIB, second: GIB}
    await scene.seconds()
    assert [limit(pid) for pid in scene.pids(borrower)] == [10 * GIB] * 2


async def test_who_does_not_give_back_is_held_to_it_in_the_end(scene: Scene) -> None:
    swarm = await make(scene, memory_bytes=400 * MIB, command=HOARDING)
    (agent,) = scene.agents(swarm)
    scene.used = {agent: 200 * MIB}
    await scene.seconds()
    await scene.swarms.scale(swarm, agents=1, memory_bytes=100 * MIB)
    assert scene.deeds == [("told", swarm)]
    for _ in range(int(GRACE_S)):
        await scene.seconds()
    await until(lambda: ("killed", swarm) in scene.deeds)


# --- a host short of memory -----------------------------------------------------------------------


async def test_the_least_important_swarm_gives_way_and_comes_back(scene: Scene) -> None:
    kept = await make(scene, "production", agents=1)
    gone = await make(scene, "research", agents=2)
    pids = scene.pids(gone)
    scene.probe.available = GIB
    await scene.seconds(int(PRESSED_S + TOLD_S))
    assert scene.deeds == [("told", gone)]
    assert len(scene.told) == 2
    await scene.seconds(int(SETTLE_S))
    assert scene.deeds == [("told", gone), ("gave way", gone)]
    assert not alive(pids)
    assert len(scene.pids(kept)) == 1
    view = scene.swarms.agents(swarm=gone)[0]
    assert (view.state, view.reason) == (
        AgentState.STARTING, "gave way: the host has 1 GB of 96 GB available",
    )  # fmt: skip
    assert scene.swarms.view(gone).gave_way == "the host has 1 GB of 96 GB available"
    told = [event.reason for event in scene.events if isinstance(event, AgentChanged)]
    assert not any("again in" in reason for reason in told), "nobody starts it meanwhile"
    await scene.seconds(60)
    assert len(scene.pids(kept)) == 1, "production never gives way"
    scene.probe.available = TOTAL
    await scene.seconds(int(ROOMY_S) + 2)
    await until(lambda: len(scene.pids(gone)) == 2)
    await scene.seconds()
    assert scene.deeds[-1] == ("came back", gone)
    assert scene.swarms.view(gone).gave_way == ""


async def test_a_swarm_that_gave_way_can_be_ended_and_stays_so(scene: Scene) -> None:
    gone = await make(scene, "research", agents=2)
    scene.probe.available = GIB
    await scene.seconds(int(PRESSED_S + TOLD_S + SETTLE_S))
    view = await scene.swarms.terminate(gone, force=True)
    assert (view.state, view.agents_live) == ("terminated", 0)
    scene.probe.available = TOTAL
    await scene.seconds(2 * int(ROOMY_S))
    assert scene.deeds[-1] == ("gave way", gone)
    assert scene.swarms.view(gone).gave_way == ""
    assert not scene.pids(gone)


async def test_no_agent_is_started_while_the_host_is_short(scene: Scene) -> None:
    swarm = await make(scene)
    scene.probe.available = GIB
    scene.host.sample()
    with pytest.raises(Busy, match="the host has 1 GB of 96 GB available"):
        await make(scene)
    with pytest.raises(Busy):
        await scene.swarms.scale(swarm, agents=2, memory_bytes=GIB)
    await scene.swarms.scale(swarm, agents=1, memory_bytes=2 * GIB)  # starts nobody
    await make(scene, agents=0)
    scene.probe.available, scene.probe.waiting = TOTAL, 50.0
    scene.host.sample()
    with pytest.raises(Busy, match="waited for memory 50 %"):
        await make(scene)


async def test_settings_can_change_while_agents_run_but_not_the_level(scene: Scene) -> None:
    await make(scene, "research")
    scene.probe.available = TOTAL // 50
    scene.host.sample()
    with pytest.raises(Busy):
        await make(scene)
    chosen = {"level": "advisory", "pressure_available": 0.01, "guard_interval_s": 0.05}
    scene.swarms.keeper.change(msgspec.structs.replace(scene.settings.enforcement, **chosen))
    swarm = await make(scene, memory_bytes=100 * MIB, command=HOARDING)
    await scene.seconds(20)
    await until(lambda: scene.deeds == [("killed", swarm)])


async def test_a_quota_of_processor_time_that_nobody_keeps_is_refused(scene: Scene) -> None:
    with pytest.raises(Unavailable, match="no quota of processor time can be kept here"):
        await scene.swarms.create(
            "development", agents=1, memory_bytes=GIB, setup=Setup(cpu_percent=50)
        )
    assert scene.ledger.allocated_bytes == 0


async def test_an_agent_begins_anew_although_the_disk_refused_that_it_rests(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would ever start it."""
    borrower = await make(scene, "research", agents=1, memory_bytes=400 * MIB)
    [before] = scene.pids(borrower)
    registry = scene.sites["research"].registry

    async def refused(*_: object) -> None:
        raise StorageError("no space left on device")

    monkeypatch.setattr(registry, "waits", refused)
    scene.used = dict.fromkeys(scene.agents(borrower), 300 * MIB)
    await scene.seconds()
    await scene.swarms.scale(borrower, agents=1, memory_bytes=200 * MIB)
    await scene.seconds(int(ASK_S) + 1)
    assert ("renewed", borrower) in scene.deeds
    await until(lambda: scene.pids(borrower) not in ([], [before]))
