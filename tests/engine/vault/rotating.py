"""A process that replaces keys until it is killed: `rotating.py DIRECTORY STEP`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from swarmdeck.engine.acl import Access
from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Environment
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import StoreOptions, open_database
from swarmdeck.engine.vault import Vault


async def run(directory: Path, step: str) -> None:
    """Rotate again and again beside a writer, or only protect what was not."""
    settings, clock = load_settings(None, {}, {}), SystemClock()
    vault = Vault.open(directory, settings, clock)
    async with open_database(
        directory / "development.db", "development", options=StoreOptions(), clock=clock
    ) as database:
        isolation = {name.value: kind for name, kind in settings.isolation.items()}
        access = Access(Environment.DEVELOPMENT, isolation, database, clock)
        await access.open()
        ring = vault.ring("development")
        store = MemoryStore(database, access, clock, ring=ring, cache_bytes=0)
        await store.open()
        vault.attach("development", database, store)
        rotation = vault._rotation("development")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        number = 0
        while step == "rotate":
            await rotation.run("operator", lambda _: None, duty=1.0)
            number += 1
            body = b'{"number":%d}' % number
            await store.set(OPERATOR_PRINCIPAL, "rounds", "count", 0, body, "public")
        while True:
            await rotation.tick(0, 0.001)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))
