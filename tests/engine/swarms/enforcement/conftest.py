"""Swarms of real processes on a host whose memory and time the test decides."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.environment import Place, open_place
from swarmdeck.engine.events import Enforced, Event
from swarmdeck.engine.hostmem import HostMemory, HostReading, LinuxProbe
from swarmdeck.engine.ledger import Ledger
from swarmdeck.engine.model import GIB, Environment
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.swarms.crew import Surroundings
from swarmdeck.engine.swarms.service import Swarms
from swarmdeck.engine.vault import Vault

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
TOTAL = 96 * GIB


class Scarce(LinuxProbe):
    """Real processes on a host with so much memory."""

    def __init__(self) -> None:
        super().__init__()
        self.available = TOTAL
        self.waiting = 0.0

    def host(self) -> HostReading:
        return HostReading(TOTAL, self.available, 0.0, 0.0)

    def stalled(self) -> float | None:
        return self.waiting


class Scene:
    """Swarms on such a host, second by second."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.vault = Vault.open(directory, settings, SystemClock())
        self.ledger = Ledger(settings.host)
        self.clock = FakeClock()
        self.probe = Scarce()
        self.host = HostMemory(self.probe)
        self.sites: dict[str, Place] = {}
        self.events: list[Event] = []
        self.told: list[tuple[str, str]] = []
        self.used: dict[str, int] = {}
        self.stack = AsyncExitStack()
        self.swarms = self.made()

    def made(self) -> Swarms:
        return Swarms(
            Surroundings(
                sites=self.sites,
                open_site=self.open_site,
                directory=self.directory,
                socket=self.directory / "run" / "engine.sock",
                ledger=self.ledger,
                clock=self.clock,
                settings=self.settings.agents,
                publish=self.events.append,
                notify=lambda agent, word: self.told.append((agent, word)),
                measure=lambda pids: dict.fromkeys(pids, 0),
                enforcement=self.settings.enforcement,
                host=self.host,
            )
        )

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

    async def seconds(self, count: int = 1) -> None:
        """Let time pass; what is done in a second is done before the next."""
        for _ in range(count):
            self.clock.advance(1)
            self.host.sample()
            self.swarms.note_use(self.used)
            await until(lambda: not self.is_busy)

    @property
    def is_busy(self) -> bool:
        found = self.swarms.keeper.enforcement
        return found is not None and found.is_busy

    def agents(self, swarm: str) -> list[str]:
        return [agent.id for agent in self.swarms.agents(swarm=swarm)]

    def pids(self, swarm: str) -> list[int]:
        return [a.pid for a in self.swarms.agents(swarm=swarm) if a.pid is not None]

    @property
    def deeds(self) -> list[tuple[str, str]]:
        return [(e.what, e.swarm) for e in self.events if isinstance(e, Enforced)]


async def until(condition: Callable[[], object], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def level() -> str:
    return "guarded"


@pytest.fixture
async def scene(tmp_path: Path, level: str) -> AsyncIterator[Scene]:
    chosen = {"agents.kill_after_s": 0.5, "enforcement.level": level}
    found = Scene(tmp_path, load_settings(None, {}, chosen | {"agents.spawn_per_minute": 1000}))
    async with found.stack, found.swarms:
        yield found


def alive(pids: Collection[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
