"""An engine in a process of its own, for what is measured over its socket."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ..engine import Engine, connect
from ..errors import Unavailable
from ..model import Environment

SERVE_S: Final = 20.0
DEPTH: Final = 100_000_000


def measured_with(data: Path) -> dict[str, str]:
    """Settings of an engine that is measured: its key and signed checkpoints beside its directory,
    and no bound on its queues."""
    depths = {f"queue.depth.{name}": str(DEPTH) for name in Environment}
    return depths | {
        "vault.key_file": f"{data}.key",
        "audit.outside_dir": f"{data}.checkpoints",
    }


@asynccontextmanager
async def serve(data: Path) -> AsyncIterator[Engine]:
    """An engine that owns `data`, attached to over its socket; it ends with the context. Raises
    Unavailable when it does not come up in SERVE_S."""
    data.mkdir(parents=True, exist_ok=True)
    within = {
        f"SWARMDECK_{name.upper().replace('.', '__')}": value
        for name, value in measured_with(data).items()
    }
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data),
        "--log-level", "warning", "serve",
        stdout=asyncio.subprocess.PIPE, env=os.environ | within,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        async with asyncio.timeout(SERVE_S):
            if not await server.stdout.readline():
                raise Unavailable("the engine to measure did not start")
        async with connect(data) as engine:
            yield engine
    finally:
        server.terminate()
        await server.wait()
