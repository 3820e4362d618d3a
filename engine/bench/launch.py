"""Starting a measuring process from an engine, and following it to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Any, Final, TypeVar

import msgspec

from ..actions import BenchBars, BenchCompare, BenchRun
from ..errors import Defect, ErrorReport
from .meter import Sample

MAX_LINE_BYTES: Final = 1 << 20
END_S: Final = 5.0
_LAST_BYTES: Final = 2_000

T = TypeVar("T")


class _Line(msgspec.Struct):
    fraction: float = 0.0
    text: str = ""
    sample: Sample | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorReport | None = None


async def measure(
    job: BenchRun | BenchCompare | BenchBars,
    kind: type[T],
    progress: Callable[[float, str], Any],
    sampled: Callable[[Sample], Any] = lambda _: None,
) -> list[T]:
    """Run a job in a process of its own, so that it measures itself and not whoever asked.
    `sampled` hears ten times a second how a workload goes. Raises what the job raised. Cancelling
    ends the process and all that it started."""
    with TemporaryFile() as said:  # a terminal is not for it to write on: a console may be there
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "swarmdeck.engine.bench", start_new_session=True, stderr=said,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
            found = await _follow(process, kind, progress, sampled)
        except BaseException:
            if process.returncode is None:
                process.terminate()
            raise
        finally:
            await _end(process)
        if found is None:
            raise Defect(f"the measuring process ended without a result: {_last_words(said)}")
        return found


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of the process, which removes its scratch data and ends what it started.
    Where it did not do so in order, or not within END_S, its whole session is killed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.wait()
    if process.returncode != 0:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _follow(
    process: asyncio.subprocess.Process,
    kind: type[T],
    progress: Callable[[float, str], Any],
    sampled: Callable[[Sample], Any],
) -> list[T] | None:
    """The result, None where there is none."""
    assert process.stdout is not None
    async for text in process.stdout:
        line = msgspec.json.decode(text, type=_Line)
        if line.error is not None:
            raise line.error.error()
        if bytes(line.result):
            return msgspec.json.decode(line.result, type=list[kind])  # type: ignore[valid-type]
        if line.sample is not None:
            sampled(line.sample)
        else:
            progress(line.fraction, line.text)
    return None


def _last_words(said: IO[bytes]) -> str:
    """The last line of what it wrote beside its results."""
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - _LAST_BYTES))
    lines = said.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has said nothing")
