"""The event loop of one command, and what a signal does to it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

R = TypeVar("R")

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class _Ended(Exception):
    """A signal cancelled the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def run_loop(main: Coroutine[Any, Any, R], *, fast: bool = False) -> R:
    """Run a coroutine on a loop of its own; `fast` is worth uvloop's import. TERM and HUP cancel
    it, so that everything it opened closes, then raise SystemExit with 128 and the signal; INT
    does the same and raises KeyboardInterrupt."""
    try:
        with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
            return runner.run(_until_signalled(main))
    except _Ended as ended:
        raise SystemExit(ended.exit_code) from None


async def _until_signalled(main: Coroutine[Any, Any, R]) -> R:
    received: list[int] = []
    task = asyncio.current_task()

    def take(number: int) -> None:
        received.append(number)
        if task is not None and len(received) == 1:  # a second one must not cut the closing short
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, take, number)
    try:
        return await main
    except asyncio.CancelledError:
        if not received:
            raise
        raise _Ended(received[0]) from None
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional, and only worth its import for an engine
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
