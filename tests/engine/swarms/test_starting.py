"""From a process to an agent: in its turn, with what it was given, ready or started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms import spawning, warming
from swarmdeck.engine.swarms.supervisor import RestartLimits, Running
from swarmdeck.engine.views import AgentView, SwarmView

MEMORY = 64 << 20
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "agent.py"
AGENT = (sys.executable, str(EXAMPLE))
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
TELLS = """
import os, time
print("in", os.getcwd(), flush=True)
print("with", os.environ["COLOUR"], os.environ["PASSED"], flush=True)
time.sleep(600)
"""
TELLER = (sys.executable, "-c", TELLS)


def opened(path: Path, **agents: object) -> AbstractAsyncContextManager[Core]:
    wanted = {"kill_after_s": 0.3} | agents
    settings = load_settings(None, {}, {f"agents.{name}": each for name, each in wanted.items()})
    return open_core(path / "data", settings=settings, transient=False, headless=True, clock=None)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with opened(tmp_path) as found:
        yield found


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def create(core: Core, agents: int, **wanted: Any) -> SwarmView:
    given = {"command": SLEEPER, "memory_bytes": MEMORY} | wanted
    return await core.engine.swarms.create("development", agents=agents, **given)


def members(core: Core, swarm: SwarmView) -> list[AgentView]:
    return list(core.swarms.agents(swarm=swarm.id))


async def written(core: Core, agent: AgentView, lines: int) -> list[str]:
    """Its output, once there are so many lines."""
    async with asyncio.timeout(20):
        while len(found := list(await core.swarms.logs(agent.id, 100))) < lines:
            await asyncio.sleep(0.01)
    return found


# --- in its turn ------------------------------------------------------------------------------


async def test_a_large_swarm_starts_so_many_at_once_and_can_be_ended_meanwhile(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, spawn_per_minute=3) as core:
        swarm = await create(core, 5)
        assert (swarm.state, swarm.agents_wanted, swarm.agents_live) == ("running", 5, 3)
        waiting = [agent for agent in members(core, swarm) if agent.pid is None]
        assert {(agent.state, agent.reason) for agent in waiting} == {
            ("starting", "waits for its turn: 3 a minute may start")
        }
        assert swarm.agents_coming == 2
        issues = core.swarms.health(swarm.id).issues
        assert sum("waits for its turn" in issue for issue in issues) == 2
        ended = await core.engine.swarms.terminate(swarm.id)
        assert ended.state == "terminated"
        assert core.swarms._crew.watched == []


async def test_those_that_waited_start_by_themselves_and_are_no_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawning, "MINUTE_S", 0.4)
    async with opened(tmp_path, spawn_per_minute=2) as core:
        core.swarms._crew._clock = FakeClock()  # no turn comes round while the first two start
        wanted = actions.SwarmCreate(
            environment="development", agents=4, memory_bytes=MEMORY, command=AGENT
        )
        creating = await core.engine.dispatch(wanted)
        swarm = await creating
        assert creating.text == "started 2 of 4 agents, 2 wait for their turn"
        await until(lambda: core.swarms.view(swarm.id).agents_ready == 4)
        assert {(a.restarts, a.reason) for a in members(core, swarm)} == {(0, "")}


async def test_a_start_that_is_given_up_while_it_waits_is_free_for_another(tmp_path: Path) -> None:
    async with opened(tmp_path, spawn_per_minute=2) as core:
        swarm = await create(core, 4)
        await core.engine.swarms.scale(swarm.id, agents=2, memory_bytes=MEMORY)
        assert all(agent.pid for agent in members(core, swarm))
        rate = core.swarms._crew.rates._rates[swarm.id]
        assert rate.take(core.clock.monotonic_s()) < 30.0


async def test_restarts_are_starts_too(tmp_path: Path) -> None:
    async with opened(tmp_path, spawn_per_minute=1) as core:
        swarm = await create(core, 1)
        (agent,) = members(core, swarm)
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        why = "killed by SIGKILL; waits for its turn: 1 a minute may start"
        await until(lambda: members(core, swarm)[0].reason == why)
        assert members(core, swarm)[0].state == "starting"


async def test_those_that_wait_when_an_engine_leaves_start_with_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, spawn_per_minute=2) as core:
        core.swarms._crew._limits = RestartLimits(delay_s=30.0)
        failing = await create(core, 1, command=(sys.executable, "-c", "raise SystemExit('boom')"))
        await until(lambda: "again in 30 s" in members(core, failing)[0].reason)
        swarm = await create(core, 3, command=AGENT)
        assert swarm.agents_coming == 1
        await until(lambda: core.swarms.view(swarm.id).agents_ready == 2)
        core.swarms.keep_running()
    async with opened(tmp_path, spawn_per_minute=2) as core:
        waits = {row.text for row in core.journal.list("development", "again in 1 s", 9)}
        assert waits == {
            "starting: exit code 1: boom; again in 1 s", "starting: never started; again in 1 s"
        }  # fmt: skip
        await until(lambda: core.swarms.view(swarm.id).agents_ready == 3)
        assert sorted(a.restarts for a in members(core, swarm)) == [0, 0, 1]


# --- with what it was given -------------------------------------------------------------------


async def test_variables_and_directory_reach_each_process_and_outlive_restart_and_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("PASSED", "before")
    async with opened(tmp_path) as core:
        swarm = await create(
            core, 1, command=TELLER, directory=place,
            variables={"COLOUR": "s3cret", "PASSED": None}, warm_up_s=9,
        )  # fmt: skip
        assert (swarm.variables, swarm.directory) == (("COLOUR", "PASSED"), str(place))
        assert swarm.warm_up_s == 9
        (agent,) = members(core, swarm)
        assert await written(core, agent, 2) == [f"in {place}", "with s3cret before"]
        monkeypatch.setenv("PASSED", "after")
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        assert (await written(core, agent, 4))[2:] == [f"in {place}", "with s3cret after"]
        kept = core.places["development"].registry.swarm(swarm.id)
    async with opened(tmp_path) as core:
        again = core.places["development"].registry.swarm(swarm.id)
        assert again.setup == kept.setup
        assert core.swarms.view(swarm.id).variables == ("COLOUR", "PASSED")
    assert place.is_dir()


@pytest.mark.parametrize("missing", ["directory", "variable"])
async def test_what_is_gone_at_a_later_start_is_said_and_not_tried_for_ever(
    core: Core, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("PASSED", "x")
    swarm = await create(core, 1, directory=place, variables={"PASSED": None})
    place.rmdir() if missing == "directory" else monkeypatch.delenv("PASSED")
    (agent,) = members(core, swarm)
    assert agent.pid is not None
    os.kill(agent.pid, signal.SIGKILL)
    await until(lambda: members(core, swarm)[0].state == "failed")
    said = "there is no directory" if missing == "directory" else "PASSED is not set"
    assert said in members(core, swarm)[0].reason


async def test_a_swarm_that_cannot_have_what_it_is_given_is_not_made(core: Core) -> None:
    for wrong in ({"directory": "/no/such/place"}, {"variables": {"SWARMDECK_AGENT": "x"}}):
        with pytest.raises(InvalidInput):
            await create(core, 1, **wrong)
    assert await core.engine.swarms.list(all=True) == []


# --- ready, or started again ------------------------------------------------------------------


async def test_an_agent_gets_no_work_before_it_says_that_it_is_ready(core: Core) -> None:
    swarm = await create(core, 1)
    place = core.places["development"]
    await core.engine.queue("development").send("greet", {"name": "Ada"}, to=swarm.id)
    (agent,) = members(core, swarm)
    principal = place.registry.principal(agent.id)
    assert await place.queue.claim(principal, 1, 30, 0) == []
    claim = asyncio.ensure_future(place.queue.claim(principal, 1, 30, 20))
    await place.registry.ready(agent.id)
    assert len(await claim) == 1
    assert members(core, swarm)[0].ready_at_us


ONE_NEVER_READY = f"""
import os, runpy, time
try:
    os.close(os.open("first", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    runpy.run_path({str(EXAMPLE)!r})
time.sleep(600)
"""


async def test_an_agent_that_does_not_get_ready_is_ended_and_started_again(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "LAST_LOOK_S", 0.01)
    command = (sys.executable, "-c", ONE_NEVER_READY)
    swarm = await create(core, 2, command=command, warm_up_s=1.5)
    await until(lambda: any(agent.restarts for agent in members(core, swarm)))
    cold, warm = sorted(members(core, swarm), key=lambda agent: -agent.restarts)
    assert cold.reason == "not ready within 1.5 s of its start"
    assert (warm.restarts, warm.state, warm.reason) == (0, "ready", "")
    await until(lambda: core.swarms.agent(cold.id).state == "ready")


async def test_without_a_limit_a_process_may_take_any_time(core: Core) -> None:
    swarm = await create(core, 1, warm_up_s=0)
    assert swarm.warm_up_s == 0
    assert core.swarms._crew.warming.waiting == 0
    assert (await create(core, 1)).warm_up_s == 30
    assert core.swarms._crew.warming.waiting == 1


@pytest.mark.parametrize(("cold", "ended"), [((True, False), []), ((True, True), ["dev_agent_1"])])
async def test_what_waits_to_be_read_when_the_time_is_over_still_counts(
    cold: tuple[bool, ...], ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that was stopped for a minute finds the time over before it reads the word."""
    monkeypatch.setattr(warming, "LAST_LOOK_S", 0.001)
    answers, condemned = iter(cold), list[str]()
    found = warming.Warming(lambda _: next(answers), lambda agent, _: condemned.append(agent))
    found.begin(Running("dev_agent_1", "development", 1, 1), 0.001)
    await until(lambda: not found.waiting)
    assert condemned == ended
    assert next(answers, None) is None
