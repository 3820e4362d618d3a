"""An engine with a socket and real processes, on a clock that tests move; rounds of probes happen
when a test asks for them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from swarmdeck.engine import views
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.environment import Place
from swarmdeck.engine.health.policies import Policies
from swarmdeck.engine.health.service import Health
from swarmdeck.engine.model import MIB, OPERATOR_PRINCIPAL
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms.roster import Agent, Swarm

DEV = "development"
SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
FAST = {
    "agents.restarts": "0",  # the crew gives up at once: what follows is recovery's
    "agents.heartbeat_s": "0.2",
    "agents.warm_up_s": "0",
    "health.timeout_s": "0.5",
    "store.busy_timeout_ms": "50",
}


class Ward:
    """An engine whose swarms are hurt."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.settings = FAST | settings
        self.clock = FakeClock()
        self.core: Core
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        variables = {
            f"SWARMDECK_{name.replace('.', '__').upper()}": value
            for name, value in self.settings.items()
        }
        self.core = await self._stack.enter_async_context(
            open_core(
                self.data,
                settings=load_settings(None, variables, {}),
                transient=False,
                headless=True,
                clock=self.clock,
            )
        )

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def health(self) -> Health:
        return self.core.health

    @property
    def place(self) -> Place:
        return self.core.places[DEV]

    async def swarm(self, agents: int = 1, command: tuple[str, ...] = SLEEPER) -> str:
        made = await self.core.swarms.create(
            DEV, agents=agents, memory_bytes=max(1, agents) * 64 * MIB, command=command
        )
        return made.id

    def record(self, swarm: str) -> Swarm:
        return self.place.registry.swarm(swarm)

    def agents(self, swarm: str) -> list[Agent]:
        return self.place.registry.select(swarm=swarm)

    def pids(self, swarm: str) -> list[int]:
        return [agent.pid for agent in self.agents(swarm) if agent.pid is not None]

    async def kill(self, swarm: str) -> None:
        """kill -9 all its processes, and wait until that is known."""
        for pid in self.pids(swarm):
            os.kill(pid, signal.SIGKILL)
        await self.until(lambda: all(a.state == "failed" for a in self.agents(swarm)))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.01)

    async def policy(self, subject: str, policy: str, **more: str) -> views.RecoveryView:
        return await Policies(self.health).set(subject, policy, actor="operator", **more)

    async def round(self, *, after_s: float = 0) -> None:
        """A round of probes, and the end of what it began."""
        self.clock.advance(after_s)
        await self.health.round()
        if tasks := list(self.health.attempts.values()):
            await asyncio.wait(tasks)

    async def recovery(self, subject: str) -> views.RecoveryView:
        found = await Policies(self.health).list(None)
        return next(each for each in found if each.subject == subject)

    def finding(self, subject: str, probe: str) -> tuple[str, str]:
        found = self.health.findings[subject, probe]
        return found.status.value, found.detail

    async def send(self, to: str, body: bytes = b"1") -> str:
        return await self.place.queue.send(OPERATOR_PRINCIPAL, "work", body, to=to)

    async def claims(self, swarm: str) -> list[str]:
        """Bodies of what an agent of this swarm is given."""
        agent = self.agents(swarm)[0].id
        await self.place.registry.ready(agent)
        principal = self.core.resolve(agent)
        bodies: list[str] = []
        while found := await self.place.queue.claim(principal, 100):
            bodies += [bytes(message[2]).decode() for message in found]
        return bodies


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by itself."""
    monkeypatch.setattr("swarmdeck.engine.ticker.TICK_S", 3600)


@pytest.fixture
async def make_ward(tmp_path: Path, quiet: None) -> AsyncIterator[Callable[..., Awaitable[Ward]]]:
    """For tests that open one after the other, or need other settings."""
    made: list[Ward] = []

    async def make(**settings: str) -> Ward:
        made.append(Ward(tmp_path / "data", **settings))
        await made[-1].open()
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def ward(make_ward: Callable[..., Awaitable[Ward]]) -> Ward:
    return await make_ward()
