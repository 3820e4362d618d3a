"""Starting a measuring process from an engine, and keeping what it found."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ..actions import BenchCompare, BenchRun
from ..errors import Defect, ErrorReport
from ..views import BenchView

MAX_LINE_BYTES: Final = 1 << 20
KEPT: Final = "results.json"

T = TypeVar("T")


class _Line(msgspec.Struct):
    fraction: float = 0.0
    text: str = ""
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorReport | None = None


async def measure(
    job: BenchRun | BenchCompare, kind: type[T], progress: Callable[[float, str], Any]
) -> list[T]:
    """Run a job in a process of its own, so that it measures itself and not whoever asked.
    Raises what the job raised. Cancelling ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.bench",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
        return await _follow(process, kind, progress)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _follow(
    process: asyncio.subprocess.Process, kind: type[T], progress: Callable[[float, str], Any]
) -> list[T]:
    assert process.stdout is not None
    async for text in process.stdout:
        line = msgspec.json.decode(text, type=_Line)
        if line.error is not None:
            raise line.error.error()
        if bytes(line.result):
            return msgspec.json.decode(line.result, type=list[kind])  # type: ignore[valid-type]
        progress(line.fraction, line.text)
    raise Defect("the measuring process ended without a result", hint="run it again with --debug")


def keep(data: Path, found: list[BenchView]) -> None:
    """Remember the last result of each workload."""
    known = {view.name: view for view in kept(data)} | {view.name: view for view in found}
    folder = data / "bench"
    folder.mkdir(exist_ok=True)
    fresh = folder / f".{KEPT}"
    fresh.write_bytes(msgspec.json.encode(list(known.values())))
    fresh.replace(folder / KEPT)


def kept(data: Path) -> list[BenchView]:
    """The last result of each workload; none where nothing was measured or kept."""
    path = data / "bench" / KEPT
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[BenchView])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
