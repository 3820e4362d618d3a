"""Benchmarks and the demo."""

from __future__ import annotations

from .base import View


class BucketView(View, frozen=True, kw_only=True):
    """Calls that took at most `upto_us` and longer than the bucket before."""

    upto_us: float
    count: int


class BenchView(View, frozen=True, kw_only=True):
    """One measured workload. Rates are operations a second, latencies microseconds.

    `repeats` are the rates of the interleaved repeats, `references` those of a fixed piece of work
    done right before each: their ratio does not move with the machine's load. `verdict` is
    better, same or worse than `baseline`, `ratio` how many times its rate, both by these ratios;
    empty and None where nothing is compared.
    """

    name: str
    workload: str
    ops_s: float
    p50_us: float
    p99_us: float
    concurrency: int
    operations: int
    at_us: int
    repeats: tuple[float, ...] = ()
    references: tuple[float, ...] = ()
    latencies: tuple[BucketView, ...] = ()
    encryption: bool = False
    compression: bool = False
    machine: str = ""
    versions: str = ""
    commit: str = ""
    baseline: str = ""
    ratio: float | None = None
    verdict: str = ""


class ComparisonView(View, frozen=True, kw_only=True):
    """Ours beside a peer in one run: medians of the rounds, and the ratio with its spread.

    `ours` and `theirs` are operations a second, or what `unit` says. Where there is a `bar`, the
    ratio has to be at least that, with `at_most` at most that; `verdict` is met or missed, or
    `left out` for what could not be measured, which `workload` gives the reason of.
    """

    name: str
    peer: str
    ours: float
    theirs: float
    unit: str = "/s"
    ratio: float
    ratio_low: float
    ratio_high: float
    bar: float | None = None
    at_most: bool = False
    verdict: str = ""
    rounds: int
    workload: str


class DemoAgentView(View, frozen=True, kw_only=True):
    id: str
    pid: int
    done: int


class DemoView(View, frozen=True, kw_only=True):
    """What the main job did. `redelivered` counts deliveries beyond the first."""

    files: int
    bytes: int
    sent: int
    done: int
    dead: int
    redelivered: int
    agents: tuple[DemoAgentView, ...]
    records: int
    elapsed_s: float
