"""The measuring process: `python -m swarmdeck.engine.bench`, a job as JSON on standard input.

Writes one JSON line a step: {"fraction", "text"} or {"sample"}, then {"result"} or {"error"}.
SIGTERM ends it and what it started, and removes its scratch directory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from .. import process
from ..actions import BenchBars, BenchCompare, BenchRun
from ..errors import ErrorReport, SwarmDeckError
from .measure import stop
from .meter import Sample


def main() -> int:
    signal.signal(signal.SIGTERM, _end)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=BenchRun | BenchCompare | BenchBars)
    with tempfile.TemporaryDirectory(prefix="swarmdeck-bench-") as scratch:
        try:
            with _runner() as runner:
                result = runner.run(_measure(job, Path(scratch)))
        except SwarmDeckError as error:
            _tell({"error": error.report()})
            return 1
    _tell({"result": result})
    return 0


def _end(number: int, _: object) -> NoReturn:
    """Not left to the loop: a workload may keep it busy for as long as it is measured."""
    stop()
    raise SystemExit(128 + number)


async def _measure(job: BenchRun | BenchCompare | BenchBars, scratch: Path) -> list[Any]:
    measuring: Awaitable[Sequence[Any]]
    if isinstance(job, BenchRun):
        from .rounds import run  # noqa: PLC0415 - only what the job needs

        measuring = run(job, scratch=scratch, progress=_progress, sampled=_sampled)
    elif isinstance(job, BenchCompare):
        from .compare import compare  # noqa: PLC0415 - only what the job needs

        measuring = compare(job, scratch=scratch, progress=_progress)
    else:
        from .held import measure_bars  # noqa: PLC0415 - only what the job needs

        measuring = measure_bars(job, scratch=scratch, progress=_progress)
    process.tune()  # with all of it loaded
    return list(await measuring)


def _progress(fraction: float, text: str) -> None:
    _tell({"fraction": fraction, "text": text})


def _sampled(sample: Sample) -> None:
    try:
        _tell({"sample": sample})
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)  # whoever asked is gone


def _tell(line: dict[str, float | str | Sample | ErrorReport | list[Any]]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _runner() -> asyncio.Runner:
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    sys.exit(main())
