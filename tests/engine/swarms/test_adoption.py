"""A killed engine and the next one: agents that run on are adopted with the work in their hands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.swarms.supervisor import is_running, start_time

FULL = os.environ.get("STRESS") is not None
AGENTS, MESSAGES = (20, 4000) if FULL else (6, 120)
KILLED = (0, 2) if FULL else (2,)  # agents that die while there is no engine
ADOPTED_WITHIN_S = 5.0
ENVIRONMENT = "production"
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "agent.py"

# The example, slow enough to have something in hand at any moment.
BUSY_AGENT = f"""
import json, runpy, time
read = json.loads
def slow(body):
    time.sleep(0.05)
    return read(body)
json.loads = slow
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""

ENGINE = """
import asyncio, sys
from pathlib import Path
import msgspec
from swarmdeck.engine.core import open_core
from swarmdeck.engine.settings import Settings, load_settings

async def main():
    data, changes, script, agents, messages = sys.argv[1:]
    settings = load_settings(None, {}, msgspec.json.decode(changes))
    async with open_core(
        Path(data), settings=settings, transient=False, headless=True, clock=None
    ) as core:
        swarm = await core.engine.swarms.create(
            "production", agents=int(agents), memory_bytes=1 << 30,
            command=[sys.executable, "-c", script],
        )
        queue = core.engine.queue("production")
        for number in range(int(messages)):
            await queue.send("greet", {"name": f"n{number}"}, to=swarm.id)
        while not all(agent.state == "ready" for agent in core.swarms.agents(swarm=swarm.id)):
            await asyncio.sleep(0.01)
        while messages != "0" and not all(a.leased for a in core.swarms.agents(swarm=swarm.id)):
            await asyncio.sleep(0.001)
        told = {agent.id: agent.pid for agent in core.swarms.agents(swarm=swarm.id)}
        print(msgspec.json.encode([swarm.id, told]).decode(), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""

CHANGES: dict[str, object] = {
    "agents.heartbeat_s": 0.5, "agents.kill_after_s": 0.3, "agents.spawn_per_minute": 1000,
    "queue.depth.production": 10_000,
}  # fmt: skip


@contextmanager
def killed_engine(
    data: Path, changes: dict[str, object], agents: int, messages: int
) -> Iterator[tuple[str, dict[str, int]]]:
    """A swarm and its processes by agent, whose engine was killed in the middle of their work.
    What still runs at the end is killed."""
    given = [str(data), json.dumps(changes), BUSY_AGENT, str(agents), str(messages)]
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, *given], stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout is not None
    pids: dict[str, int] = {}
    try:
        swarm, pids = json.loads(engine.stdout.readline())
        engine.kill()
        engine.wait()
        yield swarm, pids
    finally:
        engine.kill()
        engine.communicate()
        for pid in pids.values():
            if start_time(pid) is not None:
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def opened(data: Path, changes: dict[str, object]) -> AsyncIterator[Core]:
    settings: Settings = load_settings(None, {}, changes)
    async with open_core(
        data, settings=settings, transient=False, headless=True, clock=None
    ) as core:
        yield core


async def until(condition: Callable[[], object], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def gone(pid: int) -> bool:
    started_at = start_time(pid)
    return started_at is None or not is_running(pid, started_at)


@pytest.mark.parametrize("killed", KILLED)
async def test_the_next_engine_adopts_all_and_no_message_is_lost(
    tmp_path: Path, killed: int
) -> None:
    data = tmp_path / "data"
    with killed_engine(data, CHANGES, AGENTS, MESSAGES) as (swarm, pids):
        dead = sorted(pids)[:killed]
        for agent in dead:
            os.kill(pids[agent], signal.SIGKILL)
        await until(lambda: all(gone(pids[agent]) for agent in dead), 10)
        begun_s = time.monotonic()
        async with opened(data, CHANGES) as core:
            place = core.places[ENVIRONMENT]
            living = set(pids) - set(dead)
            assert {agent: core.swarms.agent(agent).pid for agent in living} == {
                agent: pids[agent] for agent in living
            }
            assert all(not place.queue.counters.leased_by[agent] for agent in dead)
            await until(lambda: all(map(place.registry.presence.is_connected, living)), 30)
            adopted_s = time.monotonic() - begun_s
            print(f"\nadopted {len(living)} agents in {adopted_s:.2f} s")  # noqa: T201 - the figure
            assert adopted_s < ADOPTED_WITHIN_S
            for agent in dead:
                assert "ended while no engine ran" in core.swarms.agent(agent).reason
            await until(lambda: core.swarms.view(swarm).agents_ready == AGENTS, 30)
            await until(lambda: place.queue.counters.counts().done == MESSAGES, 300)
            await check(core, swarm, living)


async def test_agents_that_ended_themselves_meanwhile_are_started_again_and_say_why(
    tmp_path: Path,
) -> None:
    data, changes = tmp_path / "data", CHANGES | {"agents.orphan_grace_s": 0.3}
    with killed_engine(data, changes, 1, 0) as (swarm, pids):
        ((agent, pid),) = pids.items()
        await until(lambda: gone(pid), 10)
        async with opened(data, changes) as core:
            why = core.swarms.agent(agent).reason
            assert why == "orphaned: no engine for 0.3 s; again in 1 s"
            await until(lambda: core.swarms.view(swarm).agents_ready == 1, 10)


async def check(core: Core, swarm: str, living: set[str]) -> None:
    """Each message was answered once; none twice that was not in hand when something died."""
    found = {agent.id: agent for agent in core.swarms.agents(swarm=swarm)}
    assert {agent for agent, view in found.items() if view.restarts == 0} == living
    queue = core.places[ENVIRONMENT].queue
    wanted = actions.QueueList(environment=ENVIRONMENT, state="done", limit=MESSAGES + 1)
    shown = [await queue.show(message.id) for message in await core.engine.run(wanted)]
    assert queue.counters.open == 0
    assert sorted(message.result["said"] for message in shown) == sorted(
        f"Hello n{number}" for number in range(MESSAGES)
    )
    assert sum(message.attempt > 1 for message in shown) <= 2 * AGENTS
