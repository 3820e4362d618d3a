"""Benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from .. import views
from .spec import Action, action, arg

Iterations = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


@action(list[views.BenchView], lane="bulk", timeout_s=7200)
class BenchRun(Action, frozen=True, kw_only=True, tag="bench.run"):
    """Measure this machine in a scratch directory: memory, queue, access decisions, socket."""

    names: Annotated[tuple[str, ...], arg("workloads (default: all)", positional=True)] = ()
    seconds: Annotated[
        float, arg("length of each workload, all repeats together", ge=0.1, le=600)
    ] = 2.0
    iterations: Annotated[
        Iterations | None, arg("calls in each repeat instead of a length of time")
    ] = None
    concurrency: Annotated[int, arg("callers at once", ge=1, le=1000)] = 100
    repeats: Annotated[int, arg("interleaved repeats; medians count", ge=1, le=50)] = 5
    size_bytes: Annotated[
        int, arg("size of a record's value, roughly", unit="size", ge=256, le=1 << 20)
    ] = 1024
    encryption: Annotated[
        bool, arg("records of a level that is sealed (else public ones, only checked)")
    ] = False
    compression: Annotated[bool, arg("compress values above 1,024 bytes with LZ4")] = False


Peer = Literal[
    "raw", "tuned", "naive", "redis", "diskcache", "sqlitedict", "swarmdb-style", "streams",
    "unsealed",
]  # fmt: skip
RecordWork = Literal["set", "get", "ycsb", "read-heavy", "write-heavy", "burst", "socket"]
Held = Literal["peers", "mixed", "sizes", "sweep", "swarmdb", "tasks"]
Rounds = Annotated[int, arg("interleaved rounds; medians count", ge=1, le=50)]
Report = Annotated[str | None, arg("directory for a report, as text and SVG", unit="path")]


@action(list[views.ComparisonView], lane="bulk", timeout_s=14_400)
class BenchCompare(Action, frozen=True, kw_only=True, tag="bench.compare"):
    """Measure beside SQLite by hand, Redis and other stores, the same work in one run."""

    peers: Annotated[
        tuple[Peer, ...],
        arg("whom to compare with; streams: the queue with those of Redis; unsealed: ours"),
    ] = get_args(Peer)
    workloads: Annotated[
        tuple[RecordWork, ...], arg("what is done to records; ycsb: its mixes A to F")
    ] = get_args(RecordWork)
    rounds: Rounds = 5
    seconds: Annotated[float, arg("length of each measurement", ge=0.1, le=60)] = 0.5
    growth: Annotated[
        int, arg("claim time up to so many queued messages; 0 leaves it out", ge=0, le=10_000_000)
    ] = 1_000_000
    report: Report = None


@action(list[views.ComparisonView], lane="bulk", timeout_s=14_400)
class BenchBars(Action, frozen=True, kw_only=True, tag="bench.bars"):
    """Measure everything the engine is held to, and say of each whether it is met."""

    names: Annotated[tuple[Held, ...], arg("which bars (default: all)", positional=True)] = ()
    rounds: Rounds = 5
    seconds: Annotated[float, arg("length of each measurement", ge=0.1, le=60)] = 0.5
    records: Annotated[
        int, arg("records of the large store; the small one has 10,000", ge=20_000, le=10_000_000)
    ] = 1_000_000
    expired: Annotated[
        int, arg("records that expire at once in each round", ge=1_000, le=10_000_000)
    ] = 100_000
    report: Report = None


@action(list[views.BenchView], query=True)
class BenchShow(Action, frozen=True, kw_only=True, tag="bench.show"):
    """Show the last measurements kept in this data directory, beside a baseline."""

    against: Annotated[str | None, arg("baseline to compare with (default: the one chosen)")] = None
    plot: Annotated[bool, arg("draw charts of them")] = False
    svg: Annotated[str | None, arg("write the charts to this file as SVG")] = None


@action(views.Done)
class BenchBaseline(Action, frozen=True, kw_only=True, tag="bench.baseline"):
    """Keep the last measurements under a name, and compare with them from now on."""

    name: Annotated[str, arg("name of the baseline", positional=True)] = "baseline"
    remove: Annotated[bool, arg("forget it instead")] = False
