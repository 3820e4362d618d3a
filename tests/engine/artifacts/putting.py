"""A process of its own that puts artifacts: until it is killed, or one large one to see how much
memory that takes.

    putting.py DATA ENVIRONMENT loop      a line for each that was acknowledged
    putting.py DATA ENVIRONMENT MIB       put and read so much; how much memory grew, in bytes
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from swarmdeck.engine import Engine, open_engine
from swarmdeck.engine.artifacts.handle import Artifacts

MIB = 1 << 20


def say(*words: str) -> None:
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


async def loop(engine: Engine, environment: str) -> None:
    artifacts, chance = engine.artifacts(environment), random.Random(7)
    while True:
        body = chance.randbytes(chance.randrange(3 * MIB))
        made = await artifacts.put(f"n{chance.randrange(4)}", body)
        say(made.id, made.sha256)
        if chance.random() < 0.2:
            await artifacts.delete(made)
            say("-", made.id)


async def large(engine: Engine, environment: str, count: int) -> None:
    block = os.urandom(MIB)

    async def blocks(of: int) -> AsyncIterator[bytes]:
        for number in range(of):
            yield number.to_bytes(8, "big") + block[8:]

    artifacts = engine.artifacts(environment)
    await _through(artifacts, blocks(4))  # what is loaded once is no part of it
    before = _resident()
    await _through(artifacts, blocks(count))
    say(str(_resident() - before))


async def _through(artifacts: Artifacts, blocks: AsyncIterator[bytes]) -> None:
    made = await artifacts.put("large", blocks)
    async for _ in artifacts.open(made):
        pass
    [found] = await artifacts.verify(made)
    assert found.status == "ok", found


def _resident() -> int:
    """The most memory this process has had, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


async def main(data: str, environment: str, what: str) -> None:
    async with open_engine(data) as engine:
        say("ready")
        if what == "loop":
            await loop(engine, environment)
        else:
            await large(engine, environment, int(what))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
