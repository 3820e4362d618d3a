"""Work on a thread beside the loop that is never left behind.

Whoever gives up waiting for a step waits for its end all the same: what follows may close the file
that the step writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(step: Callable[..., T], *arguments: object) -> T:
    """What `step` answers. Steps are short: a cancelled caller waits for the one that runs."""
    loop = asyncio.get_running_loop()
    return await to_the_end(loop.run_in_executor(None, step, *arguments))


async def to_the_end(future: asyncio.Future[T]) -> T:
    """The outcome of a future that is over when this returns or raises, also when cancelled."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not future.done():
            await asyncio.wait([future])
        raise
