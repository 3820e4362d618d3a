"""The measuring process: `python -m swarmdeck.engine.bench`, a job as JSON on standard input.

Writes one JSON line a step: {"fraction", "text"}, then {"result"} or {"error"}.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from .. import process
from ..actions import BenchCompare, BenchRun
from ..errors import ErrorReport, SwarmDeckError


def main() -> int:
    process.tune()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=BenchRun | BenchCompare)
    with tempfile.TemporaryDirectory(prefix="swarmdeck-bench-") as scratch:
        try:
            result = _runner().run(_measure(job, Path(scratch)))
        except SwarmDeckError as error:
            _tell({"error": error.report()})
            return 1
    _tell({"result": result})
    return 0


async def _measure(job: BenchRun | BenchCompare, scratch: Path) -> list[Any]:
    if isinstance(job, BenchRun):
        from .workloads import run  # noqa: PLC0415 - only what the job needs

        return list(
            await run(
                job.names, scratch=scratch, concurrency=job.concurrency, seconds=job.seconds,
                progress=_progress,
            )
        )  # fmt: skip
    from .compare import compare  # noqa: PLC0415 - only what the job needs

    return list(
        await compare(
            job.peers, scratch=scratch, rounds=job.rounds, seconds=job.seconds, growth=job.growth,
            progress=_progress,
        )
    )  # fmt: skip


def _progress(fraction: float, text: str) -> None:
    _tell({"fraction": fraction, "text": text})


def _tell(line: dict[str, float | str | ErrorReport | list[Any]]) -> None:
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
