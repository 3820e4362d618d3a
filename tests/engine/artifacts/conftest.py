"""An engine of which the files of artifacts can be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swarmdeck.engine import Engine
from swarmdeck.engine.artifacts.handle import Artifacts
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.store import driver

MIB = 1 << 20


class Kept(NamedTuple):
    """An engine and its data directory."""

    core: Core
    engine: Engine
    data: Path

    def artifacts(self, environment: str = "development", **more: Any) -> Artifacts:
        return self.engine.artifacts(environment, **more)

    def files(self, environment: str = "development") -> list[Path]:
        """Contents and parts on the disk."""
        root = self.data / "instances" / environment / "artifacts"
        return sorted(path for path in root.rglob("*") if path.is_file())

    def contents(self, environment: str = "development") -> list[Path]:
        return [path for path in self.files(environment) if path.parent.name != "parts"]

    def spoil(self, change: Callable[[bytearray], None], environment: str = "development") -> None:
        """Change the only content there is, as a disk or a person might."""
        [path] = self.contents(environment)
        body = bytearray(path.read_bytes())
        change(body)
        path.unlink()  # a new file: a backup may have the old one
        path.write_bytes(body)

    async def agent(self, name: str, environment: str = "development", **more: Any) -> Any:
        return await self.engine.agents.register(environment, name=name, **more)

    def database(self, environment: str = "development") -> Any:
        """A connection of somebody who has the file."""
        return driver.look(self.data / "instances" / environment / f"{environment}.db")


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    data = tmp_path / "data"
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        yield Kept(core, core.engine, data)


async def whole(artifacts: Artifacts, artifact: Any) -> bytes:
    return b"".join([part async for part in artifacts.open(artifact)])


@pytest.fixture
def read() -> Callable[..., Any]:
    """All that an artifact holds, read as it comes."""
    return whole


@pytest.fixture
def fake_core(tmp_path: Path) -> Callable[..., Any]:
    """An engine whose time the test moves."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Core, FakeClock]]:
        clock = FakeClock()
        async with open_core(
            tmp_path / "fake", settings=None, transient=True, headless=False, clock=clock
        ) as core:
            yield core, clock

    return opened
