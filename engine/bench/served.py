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

SERVE_S: Final = 20.0


def kept_beside(data: Path) -> dict[str, str]:
    """Settings that keep the key and the signed checkpoints of an engine beside its directory."""
    return {
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
        for name, value in kept_beside(data).items()
    }
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data), "serve",
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
