"""Swarms of real processes: whole or not at all, restarted within limits, ended with their work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.environment import Place, open_place
from swarmdeck.engine.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OverBudget,
    StorageError,
    Unavailable,
)
from swarmdeck.engine.events import Event, Reclaimed, SwarmChanged
from swarmdeck.engine.ledger import Ledger
from swarmdeck.engine.model import (
    GIB,
    MIB,
    OPERATOR_PRINCIPAL,
    AgentState,
    Environment,
    SwarmState,
)
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.swarms.crew import Crew, Surroundings
from swarmdeck.engine.swarms.service import Swarms
from swarmdeck.engine.swarms.supervisor import start_time
from swarmdeck.engine.vault import Vault

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
FAILING = (sys.executable, "-c", "raise SystemExit('no way')")
IGNORE_TERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)"
DEAF = (sys.executable, "-c", f"{IGNORE_TERM}; time.sleep(600)")


class Host:
    """What a test sees of an engine without its socket."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.vault = Vault.open(directory, settings, SystemClock())
        self.ledger = Ledger(settings.host)
        self.sites: dict[str, Place] = {}
        self.events: list[Event] = []
        self.told: list[tuple[str, str]] = []
        self.measured: dict[int, int] = {}
        self.stack = AsyncExitStack()
        self.swarms: Swarms

    async def open_site(self, environment: str) -> Place:
        if environment not in self.sites:
            self.sites[environment] = await self.stack.enter_async_context(
                open_place(
                    self.directory,
                    Environment(environment),
                    self.settings,
                    SystemClock(),
                    vault=self.vault,
                    publish=self.events.append,
                    on_commit=lambda *_: None,
                    may_claim=lambda agent: self.swarms.may_claim(agent),  # noqa: PLW0108 - later
                )
            )
        return self.sites[environment]

    @property
    def place(self) -> Place:
        return self.sites["development"]

    def measure(self, pids: Collection[int]) -> Mapping[int, int]:
        return {pid: self.measured.get(pid, MIB) for pid in pids}

    def pids(self, swarm: str) -> list[int]:
        members = self.place.registry.select(swarm=swarm)
        return [agent.pid for agent in members if agent.pid is not None]


def settings_of(**agents: object) -> Settings:
    changes = {f"agents.{name}": value for name, value in agents.items()}
    return load_settings(None, {}, {"agents.kill_after_s": 0.5} | changes)


@asynccontextmanager
async def opened(
    directory: Path, settings: Settings | None = None, *, lasting: bool = True
) -> AsyncIterator[Host]:
    host = Host(directory, settings or settings_of())
    async with host.stack:
        await host.open_site("development")
        around = Surroundings(
            sites=host.sites,
            open_site=host.open_site,
            directory=directory,
            socket=directory / "run" / "engine.sock",
            ledger=host.ledger,
            clock=SystemClock(),
            settings=host.settings.agents,
            publish=host.events.append,
            notify=lambda agent, word: host.told.append((agent, word)),
            measure=host.measure,
        )
        host.swarms = Swarms(around)
        async with host.swarms:
            await host.swarms.succession.restore(host.place, lasting=lasting)
            yield host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with opened(tmp_path) as found:
        yield found


async def until(condition: Callable[[], object], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def alive(pids: Collection[int]) -> list[int]:
    return [pid for pid in pids if start_time(pid) is not None]


async def send(host: Host, to: str | None = None, count: int = 1) -> list[str]:
    queue = host.place.queue
    return [await queue.send(OPERATOR_PRINCIPAL, "work", b"{}", to=to) for _ in range(count)]


async def claim(host: Host, agent: str, wait_s: float = 0) -> list[list[object]]:
    await host.place.registry.ready(agent)
    principal = host.place.registry.principal(agent)
    return await host.place.queue.claim(principal, 8, 30, wait_s)


# --- create ---------------------------------------------------------------------------------


async def test_a_swarm_is_processes_under_a_budget(host: Host) -> None:
    seen: list[tuple[float, str]] = []
    view = await host.swarms.create(
        "development", agents=3, memory_bytes=GIB, command=SLEEPER, name="Ünï",
        progress=lambda fraction, text: seen.append((fraction, text)),
    )  # fmt: skip
    assert view.id.startswith("dev_swarm_")
    assert (view.name, view.state, view.agents_live, view.memory_bytes) == (
        "Ünï",
        "running",
        3,
        GIB,
    )
    assert len(alive(host.pids(view.id))) == 3
    assert host.ledger.holding(view.id).bytes == GIB
    assert seen[-1] == (1.0, "started 3 of 3 agents")
    assert [agent.name for agent in host.swarms.agents(swarm=view.id)] == [
        "worker 1", "worker 2", "worker 3",
    ]  # fmt: skip


async def test_an_empty_swarm_is_joined_by_others(host: Host) -> None:
    view = await host.swarms.create("development", agents=0, memory_bytes=16 * MIB)
    await host.place.registry.register(name="guest", swarm=view.id)
    health = host.swarms.health(view.id)
    assert (health.status, len(health.agents)) == ("healthy", 1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"command": ["no-such-program"]}, InvalidInput),
        ({"command": ["./no/such/program"]}, InvalidInput),
        ({"memory_bytes": 15 * GIB}, OverBudget),
        ({"memory_bytes": MIB}, InvalidInput),
        ({"agents": 17}, OverBudget),
        ({"name": "a/b"}, InvalidInput),
        ({"environment": "nowhere"}, InvalidInput),
    ],
)
async def test_what_is_refused_leaves_no_trace(
    host: Host, wrong: dict[str, object], error: type[Exception]
) -> None:
    given: dict[str, object] = {
        "environment": "development", "agents": 2, "memory_bytes": GIB, "command": SLEEPER,
    }  # fmt: skip
    with pytest.raises(error):
        await host.swarms.create(**(given | wrong))  # type: ignore[arg-type]
    assert nothing_is_left(host)


def nothing_is_left(host: Host) -> bool:
    registry = host.place.registry
    return (
        not registry.swarms
        and not registry.agents
        and host.ledger.allocated_bytes == 0
        and not host.swarms._crew.supervisor.running
        and not any(host.swarms._grants._coming.values())
    )


async def test_a_swarm_whose_last_process_cannot_start_is_undone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    start = Crew.start

    async def third_fails(self: Crew, *args: object) -> None:
        if len(started) == 2:
            raise Unavailable("no room for another process")
        await start(self, *args)  # type: ignore[arg-type]
        started.extend(
            run.pid for run in self.supervisor.running.values() if run.pid not in started
        )

    monkeypatch.setattr(Crew, "start", third_fails)
    with pytest.raises(Unavailable):
        await host.swarms.create("development", agents=3, memory_bytes=GIB, command=SLEEPER)
    assert len(started) == 2
    assert not alive(started)
    assert nothing_is_left(host)


async def test_a_cancelled_creation_is_undone(host: Host) -> None:
    first = asyncio.Event()
    creating = asyncio.ensure_future(
        host.swarms.create(
            "development", agents=8, memory_bytes=GIB, command=SLEEPER,
            progress=lambda _, __: first.set(),
        )
    )  # fmt: skip
    await first.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert nothing_is_left(host)


async def test_two_creations_at_once_do_not_pass_the_agent_limit(host: Host) -> None:
    outcomes = await asyncio.gather(
        *(
            host.swarms.create("development", agents=9, memory_bytes=GIB, command=SLEEPER)
            for _ in range(2)
        ),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["OverBudget", "SwarmView"]
    assert host.place.registry.live_count() == 9


async def test_connected_agents_count_towards_the_limit(host: Host) -> None:
    registry = host.place.registry
    for number in range(16):
        agent = await registry.register(name=f"guest {number}")
        registry.presence.connected(agent.id)
    with pytest.raises(OverBudget):
        await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)


async def test_memory_taken_back_is_recorded_and_told(host: Host) -> None:
    research, _ = await host.open_site("research"), await host.open_site("testing")
    borrower = await host.swarms.create("research", agents=0, memory_bytes=14 * GIB)
    for name, size in (("production", 16), ("development", 14), ("staging", 6)):
        host.ledger.grant(f"{name} swarm", name, size * GIB)
    assert host.ledger.free_bytes == 4 * GIB

    await host.swarms.create("testing", agents=0, memory_bytes=8 * GIB)

    assert host.swarms.view(borrower.id).memory_bytes == 10 * GIB
    assert research.registry.swarm(borrower.id).memory_bytes == 10 * GIB
    assert Reclaimed(borrower.id, 4 * GIB, "testing") in host.events


async def test_memory_taken_back_for_a_swarm_that_could_not_start_is_given_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    research, _ = await host.open_site("research"), await host.open_site("testing")
    borrower = await host.swarms.create("research", agents=0, memory_bytes=14 * GIB)
    for name, size in (("production", 16), ("development", 14), ("staging", 6)):
        host.ledger.grant(f"{name} swarm", name, size * GIB)

    async def fails(*_: object) -> None:
        raise Unavailable("no room for another process")

    monkeypatch.setattr(Crew, "start", fails)
    with pytest.raises(Unavailable):
        await host.swarms.create("testing", agents=1, memory_bytes=8 * GIB, command=SLEEPER)

    assert host.swarms.view(borrower.id).memory_bytes == 14 * GIB
    assert research.registry.swarm(borrower.id).memory_bytes == 14 * GIB
    assert not [event for event in host.events if isinstance(event, Reclaimed)]


# --- exits ----------------------------------------------------------------------------------


async def test_a_killed_agent_is_started_again_and_its_leases_are_free_at_once(host: Host) -> None:
    view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=SLEEPER)
    victim = host.swarms.agents(swarm=view.id)[0]
    await send(host, to=view.id, count=3)
    assert len(await claim(host, victim.id)) == 3
    assert victim.pid is not None

    os.kill(victim.pid, signal.SIGKILL)

    counters = host.place.queue.counters
    await until(lambda: counters.leased_by[victim.id] == 0)
    assert counters.lanes.ready(view.id) == 3
    await until(lambda: host.swarms.agent(victim.id).reason.startswith("killed by SIGKILL"))
    waiting = host.swarms.agent(victim.id)
    assert (waiting.state, waiting.pid) == ("starting", None)
    assert host.place.registry.live_count() == 2  # its place is kept
    await until(lambda: host.swarms.agent(victim.id).pid)
    again = host.swarms.agent(victim.id)
    assert again.restarts == 1
    assert again.pid != victim.pid


async def test_an_agent_that_keeps_failing_has_failed_with_its_last_words(tmp_path: Path) -> None:
    async with opened(tmp_path, settings_of(restarts=1)) as host:
        view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=FAILING)
        registry = host.place.registry
        agent = registry.select(swarm=view.id)[0]
        await until(lambda: registry.agent(agent.id).state is AgentState.FAILED)
        failed = registry.agent(agent.id)
        assert failed.restarts == 1
        assert failed.reason == "exit code 1: no way; gave up after 1 restarts in 600 s"
        health = host.swarms.health(view.id)
        assert health.status == "critical"
        assert f"agent {agent.id} failed: {failed.reason}" in health.issues
        assert registry.live_count() == 0


async def test_the_old_token_is_void_after_a_restart(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    registry = host.place.registry
    agent = registry.select(swarm=view.id)[0]
    before = agent.token_hash
    assert before is not None
    os.kill(agent.pid or 0, signal.SIGKILL)
    await until(lambda: registry.agent(agent.id).restarts == 1)
    assert registry.agent(agent.id).token_hash not in {None, before}


@pytest.mark.parametrize("refused", ["release", "ended", "started"])
async def test_a_disk_that_refuses_for_a_moment_costs_no_agent(
    host: Host, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmdeck.engine.swarms.crew.RECORD_AGAIN_S", 0.01)
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    owner = host.place.queue if refused == "release" else host.place.registry
    written, pids = getattr(owner, refused), host.pids(view.id)

    async def refuses_once(*args: object, **more: object) -> object:
        monkeypatch.setattr(owner, refused, written)
        pids.extend(process.pid for process in host.swarms._crew.supervisor.running.values())
        raise StorageError("the disk failed")

    monkeypatch.setattr(owner, refused, refuses_once)
    os.kill(pids[0], signal.SIGKILL)
    await until(lambda: host.pids(view.id) and not set(host.pids(view.id)) & set(pids))
    assert len(alive([*pids, *host.pids(view.id)])) == 1
    assert host.swarms.agents(swarm=view.id)[0].pid in host.pids(view.id)


# --- terminate ------------------------------------------------------------------------------


async def test_termination_waits_for_running_work_and_serves_no_more(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    agent = host.swarms.agents(swarm=view.id)[0]
    await send(host, to=view.id, count=1)
    held = await claim(host, agent.id)
    waiting = asyncio.ensure_future(claim(host, agent.id, wait_s=60))
    await asyncio.sleep(0)

    ending = asyncio.ensure_future(host.swarms.terminate(view.id))
    await until(lambda: host.swarms.view(view.id).state == "draining")
    await send(host, to=view.id)
    assert await claim(host, agent.id) == []
    assert not waiting.done() or waiting.result() == []
    assert alive(host.pids(view.id))

    principal = host.place.registry.principal(agent.id)
    await host.place.queue.ack(principal, str(held[0][0]), 1)
    ended = await ending
    assert (ended.state, ended.agents_live) == ("terminated", 0)
    assert host.told == [(agent.id, "stop")]
    assert await waiting == []
    assert host.ledger.allocated_bytes == 0
    assert host.swarms.list() == []
    assert [swarm.id for swarm in host.swarms.list(ended=True)] == [view.id]


async def test_termination_waits_no_longer_than_told(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    agent = host.swarms.agents(swarm=view.id)[0]
    await send(host, to=view.id)
    await claim(host, agent.id)
    ended = await host.swarms.terminate(view.id, wait_s=0.1)
    assert ended.state == "terminated"
    assert (host.place.queue.counts().leased, host.place.queue.counts().cancelled) == (0, 1)


async def test_what_waits_for_an_ended_swarm_and_its_agents_is_cancelled(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    agent = host.swarms.agents(swarm=view.id)[0].id
    guest = (await host.place.registry.register(name="guest", swarm=view.id)).id
    mine = [(await send(host, to=to))[0] for to in (view.id, agent)]
    others = [(await send(host, to=to))[0] for to in (guest, None)]
    await host.swarms.terminate(view.id, reason="enough")
    queue = host.place.queue
    seen = [await queue.show(ident) for ident in mine]
    why = f"swarm {view.id} has ended: enough"
    assert [(each.state, each.error) for each in seen] == [("cancelled", why)] * 2
    assert [(await queue.show(ident)).state for ident in others] == ["ready", "ready"]
    with pytest.raises(Conflict, match=why):
        await send(host, to=view.id)
    with pytest.raises(Conflict, match=f"agent {agent} belongs to swarm {view.id}, which has end"):
        await send(host, to=agent)
    await send(host, to=guest)


async def test_what_agents_wrote_goes_with_their_swarm(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    agent = host.swarms.agents(swarm=view.id)[0].id
    output = host.directory / "logs" / "development" / f"{agent}.log"
    await host.swarms.terminate(view.id, force=True)
    assert output.exists()
    await host.swarms.remove(view.id)
    assert not output.exists()


async def test_a_swarm_ends_also_when_the_disk_refuses_to_cancel(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    sent, queue = (await send(host, to=view.id))[0], host.place.queue

    async def refuses(*_: object) -> int:
        raise StorageError("the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "cancel_for", refuses)
        assert (await host.swarms.terminate(view.id)).state == "terminated"
    assert (await queue.show(sent)).state == "ready"
    await queue.leftovers.sweep()
    assert (await queue.show(sent)).state == "cancelled"


async def test_force_overtakes_a_termination_that_waits(host: Host) -> None:
    view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=SLEEPER)
    agent = host.swarms.agents(swarm=view.id)[0]
    pids = host.pids(view.id)
    await send(host, to=view.id)
    await claim(host, agent.id)
    graceful = asyncio.ensure_future(host.swarms.terminate(view.id))
    await until(lambda: host.swarms.view(view.id).state == "draining")
    forced = await host.swarms.terminate(view.id, force=True)
    assert forced.state == "terminated"
    assert (await graceful).state == "terminated"
    assert not alive(pids)
    assert (await host.swarms.terminate(view.id)).state == "terminated"


async def test_an_agent_that_does_not_listen_is_killed(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=DEAF)
    agent = host.swarms.agents(swarm=view.id)[0]
    log = host.directory / "logs" / "development" / f"{agent.id}.log"
    await until(lambda: "deaf" in log.read_text())
    assert await host.swarms.logs(agent.id, 5) == ["deaf"]
    await host.swarms.terminate(view.id)
    assert host.place.registry.agent(agent.id).reason.startswith("killed by SIGKILL")


async def test_an_agent_waiting_for_its_restart_is_not_started_after_the_end(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    registry = host.place.registry
    agent = registry.select(swarm=view.id)[0]
    os.kill(agent.pid or 0, signal.SIGKILL)
    await until(lambda: "again in" in registry.agent(agent.id).reason)
    await host.swarms.terminate(view.id)
    ended = registry.agent(agent.id)
    assert (ended.state, ended.restarts) == (AgentState.EXITED, 0)
    assert host.swarms._crew.watched == []


async def test_unknown_swarms_are_not_found(host: Host) -> None:
    for call in (
        host.swarms.terminate("dev_swarm_nothere0"),
        host.swarms.scale("dev_swarm_nothere0", agents=1, memory_bytes=GIB),
        host.swarms.remove("dev_swarm_nothere0"),
        host.swarms.logs("dev_agent_nothere0", 1),
    ):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        host.swarms.health("dev_swarm_nothere0")
    with pytest.raises(NotFound):
        host.swarms.agents(swarm="prod_swarm_nothere0")
    with pytest.raises(InvalidInput):
        await host.swarms.logs("dev_/../../secret", 1)


async def test_a_terminated_swarm_can_be_removed_and_a_running_one_not(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    with pytest.raises(Conflict):
        await host.swarms.remove(view.id)
    await host.swarms.terminate(view.id, force=True)
    await host.swarms.remove(view.id)
    assert nothing_is_left(host)


# --- scale ----------------------------------------------------------------------------------


async def test_scaling_up_adds_agents_and_memory(host: Host) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)
    scaled = await host.swarms.scale(view.id, agents=3, memory_bytes=2 * GIB)
    assert (scaled.agents_wanted, scaled.agents_live, scaled.memory_bytes) == (3, 3, 2 * GIB)
    assert len(alive(host.pids(view.id))) == 3


async def test_scaling_down_ends_the_newest_after_their_work(host: Host) -> None:
    view = await host.swarms.create("development", agents=3, memory_bytes=GIB, command=SLEEPER)
    first, *_, last = host.swarms.agents(swarm=view.id)
    await send(host, to=view.id)
    held = await claim(host, last.id)
    scaling = asyncio.ensure_future(host.swarms.scale(view.id, agents=1, memory_bytes=GIB))
    await until(lambda: last.id in host.swarms._leaving)
    await send(host, to=view.id)
    assert await claim(host, last.id) == []
    assert last.pid is not None
    assert alive([last.pid])
    await host.place.queue.ack(host.place.registry.principal(last.id), str(held[0][0]), 1)
    scaled = await scaling
    assert scaled.agents_live == 1
    assert [agent.id for agent in host.swarms.agents(swarm=view.id)] == [first.id]
    assert not alive([last.pid])
    assert len(await claim(host, first.id)) == 1


@pytest.mark.parametrize("wrong", [{"agents": 17}, {"memory_bytes": 15 * GIB}])
async def test_a_refused_scale_changes_nothing(host: Host, wrong: dict[str, int]) -> None:
    view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=SLEEPER)
    with pytest.raises(OverBudget):
        await host.swarms.scale(view.id, **({"agents": 2, "memory_bytes": GIB} | wrong))
    assert host.swarms.view(view.id) == view
    assert host.ledger.holding(view.id).bytes == GIB


async def test_a_scale_that_cannot_start_its_agents_is_undone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await host.swarms.create("development", agents=1, memory_bytes=GIB, command=SLEEPER)

    async def fails(*_: object) -> None:
        raise Unavailable("no room for another process")

    monkeypatch.setattr(Crew, "start", fails)
    with pytest.raises(Unavailable):
        await host.swarms.scale(view.id, agents=3, memory_bytes=2 * GIB)
    assert host.swarms.view(view.id) == view
    assert len(host.place.registry.agents) == 1
    assert host.ledger.holding(view.id).bytes == GIB


async def test_scaling_replaces_agents_that_failed(tmp_path: Path) -> None:
    async with opened(tmp_path, settings_of(restarts=0)) as host:
        view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=SLEEPER)
        registry = host.place.registry
        agent = registry.select(swarm=view.id)[0]
        os.kill(agent.pid or 0, signal.SIGKILL)
        await until(lambda: registry.agent(agent.id).state is AgentState.FAILED)
        scaled = await host.swarms.scale(view.id, agents=2, memory_bytes=GIB)
        assert scaled.agents_live == 2
        assert agent.id not in registry.agents


async def test_an_ended_swarm_does_not_scale(host: Host) -> None:
    view = await host.swarms.create("development", agents=0, memory_bytes=GIB)
    await host.swarms.terminate(view.id)
    with pytest.raises(Conflict, match="terminated"):
        await host.swarms.scale(view.id, agents=1, memory_bytes=GIB)


# --- looking --------------------------------------------------------------------------------


async def test_use_is_measured_by_process_and_swarm(host: Host) -> None:
    view = await host.swarms.create("development", agents=2, memory_bytes=32 * MIB, command=SLEEPER)
    first, second = host.pids(view.id)
    host.measured = {first: 30 * MIB, second: 40 * MIB}
    await host.swarms.sample()
    health = host.swarms.health(view.id)
    assert health.swarm.used_bytes == 70 * MIB
    assert {agent.used_bytes for agent in health.agents} == {30 * MIB, 40 * MIB}
    assert "uses 70 MB of its 32 MB" in health.issues
    assert health.status == "degraded"


async def test_a_swarm_is_healthy_once_all_its_agents_are_ready(host: Host) -> None:
    view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=SLEEPER)
    assert host.swarms.health(view.id).status == "degraded"
    for agent in host.swarms.agents(swarm=view.id):
        await host.place.registry.ready(agent.id)
    await send(host, to=view.id, count=2)
    health = host.swarms.health(view.id)
    assert (health.status, health.issues, health.ready_messages) == ("healthy", (), 2)
    assert health.swarm.agents_ready == 2


async def test_changes_of_a_swarm_are_events(host: Host) -> None:
    view = await host.swarms.create("development", agents=0, memory_bytes=GIB)
    await host.swarms.terminate(view.id, reason="enough")
    states = [(e.state, e.reason) for e in host.events if isinstance(e, SwarmChanged)]
    assert states == [
        ("starting", ""), ("running", ""), ("draining", "enough"), ("terminated", "enough"),
    ]  # fmt: skip


# --- engines that end -----------------------------------------------------------------------


async def test_closing_leaves_no_process_and_ends_the_swarm(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        view = await host.swarms.create("development", agents=2, memory_bytes=GIB, command=DEAF)
        empty = await host.swarms.create("development", agents=0, memory_bytes=GIB)
        pids = host.pids(view.id)
    assert not alive(pids)
    async with opened(tmp_path) as host:
        ended = host.swarms.view(view.id)
        assert (ended.state, ended.reason) == ("terminated", "the engine stopped")
        assert host.swarms.view(empty.id).state == "running"
        assert host.ledger.allocated_bytes == GIB


@asynccontextmanager
async def abandoned(directory: Path, **wanted: object) -> AsyncIterator[tuple[str, list[int]]]:
    """A swarm whose engine died: its processes run, its rows say so. Kills what is left."""
    async with opened(directory) as host:
        view = await host.swarms.create(  # type: ignore[arg-type]
            "development", **({"agents": 2, "memory_bytes": GIB, "command": SLEEPER} | wanted)
        )
        crew = host.swarms._crew
        children = []
        for process in list(crew.supervisor._processes.values()):
            crew.supervisor._loop.remove_reader(process.pidfd)
            os.close(process.pidfd)
            children.append(process.child)
        crew.supervisor._processes.clear()
    try:
        yield view.id, [child.pid for child in children if child is not None]
    finally:
        for child in children:
            assert child is not None
            child.kill()
            child.wait()


async def test_living_agents_are_watched_again(tmp_path: Path) -> None:
    async with abandoned(tmp_path) as (swarm, pids), opened(tmp_path) as host:
        assert sorted(host.pids(swarm)) == sorted(pids)
        assert host.ledger.holding(swarm).bytes == GIB
        victim = next(a for a in host.swarms.agents(swarm=swarm) if a.pid == pids[0])
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: host.swarms.agent(victim.id).restarts == 1)
        await until(lambda: host.swarms.agent(victim.id).pid)
    # The engine that adopted them has ended them.


async def test_dead_agents_are_recorded_freed_and_started_again(tmp_path: Path) -> None:
    async with abandoned(tmp_path) as (swarm, pids):
        async with opened(tmp_path, lasting=False) as host:
            agent = next(a for a in host.swarms.agents(swarm=swarm) if a.pid == pids[0])
            await send(host, to=swarm, count=2)
            assert len(await claim(host, agent.id)) == 2
        kill(pids[0])
        async with opened(tmp_path) as host:
            assert host.place.queue.counters.lanes.ready(swarm) == 2
            found = host.swarms.agent(agent.id)
            assert found.reason == "ended while no engine ran; again in 1 s"
            await until(lambda: host.swarms.agent(agent.id).pid)
            assert host.swarms.agent(agent.id).restarts == 1


async def test_a_transient_engine_neither_adopts_nor_ends(tmp_path: Path) -> None:
    async with abandoned(tmp_path) as (swarm, pids):
        kill(pids[0])
        async with opened(tmp_path, lasting=False) as host:
            view = host.swarms.view(swarm)
            assert (view.state, view.agents_live) == ("running", 1)
            assert host.swarms._crew.watched == []
            states = {agent.state for agent in host.swarms.agents(swarm=swarm)}
            assert states == {"starting", "exited"}
        assert alive(pids) == [pids[1]]


async def test_a_reused_pid_is_not_taken_for_an_agent(tmp_path: Path) -> None:
    async with abandoned(tmp_path) as (swarm, pids):
        async with opened(tmp_path, lasting=False) as host:
            agent = next(a for a in host.place.registry.select(swarm=swarm) if a.pid == pids[0])
            await host.place.registry.started(agent.id, pids[0], (agent.started_at or 0) - 1)
        async with opened(tmp_path) as host:
            assert host.swarms.agent(agent.id).pid != pids[0]
            assert pids[0] not in {r.pid for r in host.swarms._crew.supervisor.running.values()}
        assert pids[0] in alive(pids)


async def test_what_ends_with_its_action_is_not_revived(tmp_path: Path) -> None:
    async with abandoned(tmp_path, lasting=False) as (swarm, pids), opened(tmp_path) as host:
        view = host.swarms.view(swarm)
        assert (view.state, view.reason) == ("terminated", "the engine that ran it has ended")
        assert host.ledger.allocated_bytes == 0
        assert host.swarms._crew.watched == []
        await until(lambda: not running_now(pids))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def running_now(pids: Collection[int]) -> list[int]:
    """Those that run; a killed child of this test stays unreaped until the test reaps it."""
    return [
        pid for pid in pids
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ]  # fmt: skip


async def test_a_swarm_the_plan_has_no_room_for_any_more_is_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        view = await host.swarms.create("development", agents=0, memory_bytes=12 * GIB)
    settings = settings_of()
    plan = settings.host.environments
    smaller = msgspec.structs.replace(plan.development, base_bytes=GIB, max_bytes=GIB)
    host_plan = msgspec.structs.replace(
        settings.host, environments=msgspec.structs.replace(plan, development=smaller)
    )
    async with opened(tmp_path, msgspec.structs.replace(settings, host=host_plan)) as host:
        ended = host.swarms.view(view.id)
        assert ended.state == SwarmState.TERMINATED
        assert "GB" in ended.reason
