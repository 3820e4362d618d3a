"""An engine with something in it, and its backups on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from swarmdeck.engine import Engine
from swarmdeck.engine.core import Core, open_core

RECORDS = 40


class Held(NamedTuple):
    """An engine with records of every kind of protection in development, a message, an agent."""

    core: Core
    engine: Engine
    data: Path

    def files(self, name: str, environment: str = "development") -> tuple[Path, Path]:
        folder = self.data / "backups" / environment
        return folder / f"{name}.db", folder / f"{name}.json"

    async def fill(self, mark: str) -> None:
        memory = self.engine.memory("development")
        levels = ("private", "team", "swarm", "public")
        await asyncio.gather(
            *(memory.set(f"k{n}", f"{mark} {n}", level=levels[n % 4]) for n in range(RECORDS))
        )


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    data = tmp_path / "data"
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        found = Held(core, core.engine, data)
        await found.fill("old")
        await core.engine.queue("development").send("digest", {"path": "a.txt"})
        yield found
