"""What needs a person: when it is said, for how long, and about whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import views
from swarmdeck.engine.alerts import Alerts, Sight
from swarmdeck.engine.alerts.records import RESOLVED_KEPT
from swarmdeck.engine.alerts.rules import OLDEST_READY_S
from swarmdeck.engine.alerts.state import FIRES_AFTER, RESOLVES_AFTER
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.events import Changed, Enforced, Reclaimed
from swarmdeck.engine.model import GIB, MIB, Environment

replace = msgspec.structs.replace


class Scene:
    """An overview that a test changes, and the alerts that look at it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = views.EngineView(
            pid=1, version="", data="", uptime_s=1, loop_lag_ms=0, writer_queue=0, wal_bytes=0,
            operations=0, bus="local", headless=True,
        )  # fmt: skip
        self.host = views.HostView(
            total_bytes=96 * GIB, available_bytes=80 * GIB, cpu_percent=0, load_1m=0, scale=1,
            swarm_plan_bytes=62 * GIB, reserved_bytes=0, coordination_bytes=0,
            monitoring_bytes=0, buffer_bytes=4 * GIB, allocated_bytes=0, used_bytes=0,
            enforcement="advisory",
        )  # fmt: skip
        self.environments = {name.value: environment(name) for name in Environment}
        self.swarms: dict[str, views.SwarmView] = {}
        self.agents: dict[str, views.AgentView] = {}
        self.denied_calls = 0
        self.vault = views.VaultGlance()
        self.more: dict[str, Any] = {}
        self.alerts = Alerts(self.sight, self.clock)

    def sight(self) -> Sight:
        overview = views.Overview(
            sequence=1,
            at_us=self.clock.wall_us(),
            engine=self.engine,
            host=self.host,
            environments=tuple(self.environments.values()),
            swarms=tuple(self.swarms.values()),
            agents=tuple(self.agents.values()),
            access=views.AccessSummary(
                agents=0, teams=0, grants=0, denies=0, denied_calls=self.denied_calls, epoch=0
            ),
            vault=self.vault,
        )
        return Sight(overview=overview, **self.more)

    def look(self, times: int = 1) -> list[tuple[str, str]]:
        """Look once a second; the ids that fired or were resolved, with their states."""
        found = []
        for _ in range(times):
            self.clock.advance(1)
            found += [(alert.id, alert.state) for alert in self.alerts.evaluate()]
        return found

    def firing(self) -> list[views.AlertView]:
        return self.alerts.list(None, firing=True)

    def change(self, name: str, **changes: Any) -> None:
        self.environments[name] = replace(self.environments[name], **changes)

    def swarm(self, agents: int = 2, **changes: Any) -> str:
        ident = f"test_swarm_{len(self.swarms)}"
        self.swarms[ident] = swarm(ident, agents_wanted=agents, agents_live=agents, **changes)
        for number in range(agents):
            each = agent(f"{ident.replace('swarm', 'agent')}{number}", swarm=ident)
            self.agents[each.id] = each
        return ident


def environment(name: str) -> views.EnvironmentView:
    return views.EnvironmentView(
        name=str(name), priority=1, isolation="", durability="", loss_window="",
        base_bytes=10 * GIB, max_bytes=14 * GIB, allocated_bytes=0, borrowed_bytes=0,
        lent_bytes=0, used_bytes=0, agents=0, agent_limit=10, swarms=0, records=0,
        queue=views.QueueCounts(),
    )  # fmt: skip


def swarm(ident: str, **changes: Any) -> views.SwarmView:
    made = views.SwarmView(
        id=ident, name=ident, environment="testing", state="running", agents_wanted=2,
        agents_live=2, agents_ready=2, memory_bytes=GIB, borrowed_bytes=0, used_bytes=0,
        restarts=0, created_at_us=0,
    )  # fmt: skip
    return replace(made, **changes)


def agent(ident: str, **changes: Any) -> views.AgentView:
    made = views.AgentView(
        id=ident, name=ident, type="worker", environment="testing", swarm=None, teams=(),
        capabilities=(), state="ready", pid=1, heartbeat_age_s=1, used_bytes=0, restarts=0,
        leased=0, done=0, created_at_us=0,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def dead(scene: Scene, count: int) -> None:
    scene.change("testing", queue=views.QueueCounts(dead=count))


# --- over time ------------------------------------------------------------------------------


def test_an_alert_fires_when_it_holds_and_resolves_when_it_is_quiet(scene: Scene) -> None:
    dead(scene, 3)
    assert scene.look(FIRES_AFTER - 1) == []
    began = scene.clock.wall_us()
    assert scene.look() == [("dead-letters.testing", "firing")]
    assert scene.look(10) == []
    dead(scene, 0)
    assert scene.look(RESOLVES_AFTER - 1) == []
    assert [alert.state for alert in scene.firing()] == ["firing"]
    assert scene.look() == [("dead-letters.testing", "resolved")]
    (over,) = scene.alerts.list(None, firing=False)
    assert (over.state, over.since_at_us, over.resolved_at_us) == (
        "resolved", began, scene.clock.wall_us(),
    )  # fmt: skip
    assert scene.firing() == []


def test_what_comes_and_goes_neither_fires_nor_resolves(scene: Scene) -> None:
    for number in range(20):
        dead(scene, number % 2)
        assert scene.look() == []
    dead(scene, 1)
    scene.look(FIRES_AFTER)
    for number in range(20):
        dead(scene, number % RESOLVES_AFTER == 0)
        assert scene.look() == []
    assert [alert.state for alert in scene.firing()] == ["firing"]


def test_one_that_fires_again_keeps_its_id_and_stands_once(scene: Scene) -> None:
    for _ in range(3):
        dead(scene, 1)
        scene.look(FIRES_AFTER)
        dead(scene, 0)
        scene.look(RESOLVES_AFTER)
    dead(scene, 1)
    scene.look(FIRES_AFTER)
    assert [(a.id, a.state) for a in scene.alerts.list(None, firing=False)] == [
        ("dead-letters.testing", "firing")
    ]


def test_what_it_says_follows_the_figures_without_firing_again(scene: Scene) -> None:
    dead(scene, 1)
    scene.look(FIRES_AFTER)
    dead(scene, 1200)
    assert scene.look() == []
    assert scene.firing()[0].detail == "1,200 of its messages are dead letters"


def test_firing_ones_come_first_critical_before_warning(scene: Scene) -> None:
    dead(scene, 1)
    scene.look(FIRES_AFTER)
    dead(scene, 0)
    scene.change("staging", queue=views.QueueCounts(dead=1))
    scene.look(RESOLVES_AFTER)
    scene.host = replace(scene.host, available_bytes=GIB)
    scene.look(FIRES_AFTER)
    found = scene.alerts.list(None, firing=False)
    assert [(alert.rule, alert.environment, alert.state) for alert in found] == [
        ("host-memory", "", "firing"),
        ("dead-letters", "staging", "firing"),
        ("dead-letters", "testing", "resolved"),
    ]
    assert [alert.subject for alert in scene.alerts.list("testing", firing=False)] == ["testing"]


def test_the_last_resolved_ones_are_kept(scene: Scene) -> None:
    for number in range(RESOLVED_KEPT + 50):
        scene.more = {"ignored": {f"s{number}": "x"}}
        scene.look(FIRES_AFTER)
    scene.more = {}
    scene.look(RESOLVES_AFTER)
    assert len(scene.alerts.list(None, firing=False)) == RESOLVED_KEPT


def test_an_engine_that_has_just_opened_believes_its_first_look(scene: Scene) -> None:
    dead(scene, 1)
    assert [alert.id for alert in scene.firing()] == ["dead-letters.testing"]


# --- rules ----------------------------------------------------------------------------------


def set_engine(**changes: Any) -> Callable[[Scene], None]:
    return lambda scene: setattr(scene, "engine", replace(scene.engine, **changes))


def set_host(**changes: Any) -> Callable[[Scene], None]:
    return lambda scene: setattr(scene, "host", replace(scene.host, **changes))


def set_testing(**changes: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.change("testing", **changes)


def waits(age_s: float, **changes: Any) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        sent_us = scene.clock.wall_us() - int(age_s * 1_000_000)
        queue = views.QueueCounts(ready=1)
        scene.change("testing", queue=queue, oldest_ready_at_us=sent_us, **changes)

    return prepare


def taken(scene: Scene) -> None:
    ident = scene.swarm()
    scene.more["reclaims"] = ((scene.clock.wall_us(), Reclaimed(ident, GIB, "production")),)


def broken(*ages_s: float) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        ident = scene.swarm()
        breach = Enforced(ident, "test_agent_1", "killed", "killed: held 312 MB")
        now_us = scene.clock.wall_us()
        scene.more["breaches"] = [(now_us - int(age_s * 1_000_000), breach) for age_s in ages_s]

    return prepare


@pytest.mark.parametrize(
    ("prepare", "rule", "severity"),
    [
        (broken(200), "memory-breach", "warning"),
        (broken(200, 10), "memory-breach", "critical"),
        (broken(301, 10), "memory-breach", "warning"),
        (lambda scene: scene.swarm(gave_way="the host is short"), "gave-way", "critical"),
        (set_testing(queue=views.QueueCounts(dead=1)), "dead-letters", "warning"),
        (set_testing(allocated_bytes=GIB, used_bytes=GIB - MIB), "memory-used", "warning"),
        (set_testing(allocated_bytes=GIB, used_bytes=GIB + 1), "memory-used", "critical"),
        (set_host(allocated_bytes=49 * GIB), "plan-allocated", "warning"),
        (set_host(available_bytes=9 * GIB), "host-memory", "critical"),
        (set_engine(wal_bytes=257 * MIB), "wal", "warning"),
        (set_engine(writer_queue=10_001), "writer-queue", "critical"),
        (waits(OLDEST_READY_S + 1, agents=3), "oldest-ready", "warning"),
        (waits(OLDEST_READY_S + 1), "oldest-ready", "warning"),
        (waits(OLDEST_READY_S + 1, queue_mode="paused"), "queue-paused", "warning"),
        (set_testing(queue_mode="draining", queue_reason="upgrade"), "queue-paused", "warning"),
        (
            set_testing(queue=views.QueueCounts(ready=5, delayed=3, leased=2), queue_limit=10),
            "queue-full",
            "warning",
        ),
        (taken, "memory-taken-back", "warning"),
        (lambda scene: scene.more.update(ignored={"testing": "why"}), "budget-ignored", "warning"),
    ],
)
def test_a_rule_finds_what_it_is_about(
    scene: Scene, prepare: Callable[[Scene], None], rule: str, severity: str
) -> None:
    assert scene.look(3) == []
    prepare(scene)
    found = scene.look(FIRES_AFTER)
    assert [(ident.partition(".")[0], state) for ident, state in found] == [(rule, "firing")]
    assert [alert.severity for alert in scene.firing()] == [severity]


@pytest.mark.parametrize(
    "prepare",
    [
        set_testing(allocated_bytes=10 * GIB, used_bytes=9 * GIB),
        set_testing(used_bytes=GIB),
        set_host(allocated_bytes=48 * GIB),
        set_host(available_bytes=10 * GIB),
        set_engine(wal_bytes=256 * MIB, writer_queue=10_000, loop_lag_ms=250),
        set_engine(bus="redis"),
        waits(OLDEST_READY_S - 20, agents=3),
        set_testing(queue=views.QueueCounts(ready=9, done=99), queue_limit=10),
    ],
)
def test_just_below_its_threshold_nothing_is_said(
    scene: Scene, prepare: Callable[[Scene], None]
) -> None:
    prepare(scene)
    assert scene.look(10) == []


@pytest.mark.parametrize(
    ("prepare", "rule", "after"),
    [
        (set_engine(loop_lag_ms=251), "loop-lag.engine", 5),
        (set_engine(bus="redis lost"), "bus.engine", 5),
        (lambda scene: scene.swarm(state="running", used_bytes=2 * GIB), "swarm-ill.test_swarm_0",
         30),
    ],
)  # fmt: skip
def test_some_have_to_last(
    scene: Scene, prepare: Callable[[Scene], None], rule: str, after: int
) -> None:
    prepare(scene)
    assert scene.look(after) == []
    assert scene.look() == [(rule, "firing")]


def test_a_swarm_is_ill_with_fewer_agents_stale_or_dead_ones(scene: Scene) -> None:
    short = scene.swarm(4)
    scene.swarms[short] = replace(scene.swarms[short], agents_live=3)
    gone = scene.swarm(2)
    scene.swarms[gone] = replace(scene.swarms[gone], agents_live=0)
    stale = scene.swarm(1)
    for ident, each in scene.agents.items():
        if each.swarm == stale:
            scene.agents[ident] = replace(each, state="stale")
    ending = scene.swarm(3)
    scene.swarms[ending] = replace(scene.swarms[ending], agents_live=1, state="draining")
    large = scene.swarm(20)
    scene.swarms[large] = replace(scene.swarms[large], agents_live=10, agents_coming=10)
    scene.look(31)
    assert {(a.subject, a.severity, a.detail) for a in scene.firing()} == {
        (short, "warning", "3 of 4 agents run"),
        (gone, "critical", "0 of 2 agents run"),
        (stale, "warning", "1 agent is stale or ended"),
    }


def test_restarts_in_a_row_are_counted_from_the_first_look(scene: Scene) -> None:
    scene.agents["test_agent_old"] = agent("test_agent_old", restarts=7)
    scene.agents["test_agent_a"] = agent("test_agent_a")
    assert scene.look(3) == []
    scene.agents["test_agent_a"] = agent("test_agent_a", restarts=1, reason="exit code 1")
    assert scene.look(3) == []
    scene.agents["test_agent_a"] = agent("test_agent_a", restarts=2, reason="exit code 1")
    assert scene.look(2) == [("agent-restarts.test_agent_a", "firing")]
    assert scene.firing()[0].detail == "started again 2 times in 10 min: exit code 1"
    scene.clock.advance(600)
    assert scene.look(RESOLVES_AFTER) == [("agent-restarts.test_agent_a", "resolved")]


def test_denied_calls_count_for_a_minute(scene: Scene) -> None:
    scene.denied_calls = 1000
    assert scene.look(5) == []
    scene.denied_calls = 1010
    assert scene.look(5) == []
    scene.denied_calls = 1011
    assert scene.look(2) == [("denied-calls.engine", "firing")]
    assert scene.look(70) == [("denied-calls.engine", "resolved")]


# --- in an engine ---------------------------------------------------------------------------


@pytest.fixture
async def core(tmp_path: Path) -> Any:
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=None
    ) as found:
        yield found


async def bury(core: Core) -> str:
    """A message that is a dead letter."""
    queue = core.engine.queue("testing")
    ident = await queue.send("work", max_attempts=1)
    (message,) = await queue.claim()
    await queue.nack(message, error="no")
    return ident


async def test_an_engine_tells_when_alerts_fire_and_are_resolved(core: Core) -> None:
    ident = await bury(core)
    await core.watch.tick()
    events = core.bus.subscribe()
    await core.watch.tick()
    assert Changed("engine", "", core.overview().sequence) in await events.take()
    await core.watch.tick()
    assert events.poll() is None
    (alert,) = await core.engine.run(act.AlertList())
    assert (alert.id, alert.state) == ("dead-letters.testing", "firing")
    assert (await core.engine.run(act.Explain(subject=alert.subject))).kind == "environment"
    await core.engine.run(act.QueueRetry(id=ident))
    for _ in range(RESOLVES_AFTER):
        await core.watch.tick()
    assert await core.engine.run(act.AlertList(firing=True)) == []
    told = core.journal.list("testing", "dead-letters", 9)
    assert [(event.kind, event.severity) for event in told] == [
        ("alert", "info"), ("alert", "warning"),
    ]  # fmt: skip


async def test_one_command_sees_what_a_file_holds(tmp_path: Path, core: Core) -> None:
    await bury(core)
    assert [a.rule for a in await core.engine.run(act.AlertList(environment="testing"))] == [
        "dead-letters"
    ]


async def test_a_message_that_nobody_takes_for_long_is_an_alert(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=clock
    ) as core:
        await core.engine.queue("testing").send("work", priority=2)
        clock.advance(OLDEST_READY_S + 30)
        await core.engine.queue("testing").send("work", priority=9)
        for _ in range(FIRES_AFTER):
            await core.watch.tick()
        (alert,) = core.alerts.list("testing", firing=True)
        assert alert.rule == "oldest-ready"
        assert alert.detail == "a message has been ready for 6 min, and no agent runs"


async def test_growing_use_shows_when_memory_is_full(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=clock
    ) as core:
        await core.engine.swarms.create("testing", agents=0, memory_bytes=256 * MIB)
        for second in range(60):
            clock.advance(1)
            core.swarms.vitals.used_bytes = {"test_agent_a": second * MIB}
            await core.watch.tick()
        shown = {row.name: row.full_in_s for row in core.overview().environments}
        assert shown["testing"] == pytest.approx(256 - 59)
        assert shown["staging"] is None


def test_a_sealed_vault_is_one_alert_and_a_sealed_environment_another(scene: Scene) -> None:
    scene.change("production", state="sealed", reason="its key was given by a variable")
    scene.look(2)
    assert [(a.rule, a.subject, a.severity) for a in scene.firing()] == [
        ("sealed", "production", "warning")
    ]
    scene.vault = views.VaultGlance(state="sealed", reason="its passphrase is needed")
    scene.look(2)
    critical = scene.firing()[0]
    assert (critical.subject, critical.severity) == ("vault", "critical")
    assert critical.hint == "swarmdeck vault unseal"
    assert "its passphrase is needed" in critical.detail
