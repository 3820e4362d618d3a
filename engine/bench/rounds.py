"""`bench run`: every workload once, then every workload again, and a fixed piece of work before
each, so that what the machine does meanwhile falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..actions import BenchRun
from ..model import format_size
from ..views import BenchView
from . import machine
from .baselines import Yardstick
from .measure import Limit, Run, buckets, median, percentile, values
from .meter import Meter, Sample
from .names import NAMES, chosen
from .workloads import WORKLOADS, Bench, Shape, Turn, open_bench

WARM: Final = Limit(0.05)
WARM_CALLS: Final = 50

Progress = Callable[[float, str], Any]


class Tally:
    """What the repeats of one workload have found so far."""

    def __init__(self, name: str, sampled: Callable[[Sample], Any]) -> None:
        self.name = name
        self.meter = Meter(name, sampled)
        self.runs: list[Run] = []
        self.references: list[float] = []

    def view(self, job: BenchRun, shape: Shape) -> BenchView:
        """All of it as one result: medians over the repeats."""
        carries = self.name.startswith(("memory.", "socket."))
        rates = [run.rate for run in self.runs]
        return BenchView(
            name=self.name,
            workload=_described(self.name, shape if carries else None),
            ops_s=round(median(rates), 1),
            p50_us=self._latency_us(0.50),
            p99_us=self._latency_us(0.99),
            concurrency=job.concurrency,
            operations=sum(run.operations for run in self.runs),
            at_us=time.time_ns() // 1000,
            repeats=tuple(round(rate, 1) for rate in rates),
            references=tuple(round(reference, 2) for reference in self.references),
            latencies=buckets(self.runs),
            encryption=carries and job.encryption,
            compression=carries and job.compression,
            machine=machine.machine(),
            versions=machine.versions(),
            commit=machine.commit(),
        )

    def _latency_us(self, share: float) -> float:
        return round(median([percentile(run.latencies_us, share) for run in self.runs]), 2)


async def run(
    job: BenchRun, *, scratch: Path, progress: Progress, sampled: Callable[[Sample], Any]
) -> list[BenchView]:
    """Measure the workloads of a job. Raises InvalidInput for an unknown one."""
    tallies = [Tally(name, sampled) for name in chosen(job.names)]
    shape = Shape(job.size_bytes, sealed=job.encryption, compressed=job.compression)
    remote = any(tally.name.startswith("socket.") for tally in tallies)
    async with open_bench(scratch, shape, remote=remote) as bench:
        with Yardstick(scratch / "reference.db", values()) as yardstick:
            await _warm(bench, job, tallies, progress)
            await _measure(bench, job, tallies, yardstick, progress)
    return [tally.view(job, shape) for tally in tallies]


async def _warm(bench: Bench, job: BenchRun, tallies: list[Tally], progress: Progress) -> None:
    """A few calls of each: the first ones open files, fill caches and insert what is missing."""
    limit = WARM if job.iterations is None else Limit(0, min(WARM_CALLS, job.iterations))
    for tally in tallies:
        progress(0.0, f"{tally.name}, getting ready")
        await WORKLOADS[tally.name](bench, Turn(job.concurrency, limit))


async def _measure(
    bench: Bench, job: BenchRun, tallies: list[Tally], yardstick: Yardstick, progress: Progress
) -> None:
    limit = Limit(job.seconds / job.repeats, job.iterations)
    steps = job.repeats * len(tallies)
    for number in range(job.repeats):
        for place, tally in enumerate(tallies):
            step = number * len(tallies) + place
            progress(step / steps, f"{tally.name}, repeat {number + 1} of {job.repeats}")
            tally.references.append(yardstick.measure())
            turn = Turn(job.concurrency, limit, tally.meter)
            tally.runs.append(await WORKLOADS[tally.name](bench, turn))


def _described(name: str, shape: Shape | None) -> str:
    if shape is None:
        return NAMES[name]
    return f"{format_size(shape.size_bytes)} JSON, {NAMES[name]}, {shape.describe()}"
