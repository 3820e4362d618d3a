"""What is measured over time, and what a benchmark measured."""

from __future__ import annotations

from typing import Final

from ...engine import actions
from .. import columns
from ..places import Place
from .base import Listing, ident

METRICS: Final = Listing(
    title="Measured, latest values",
    columns=columns.measurements,
    key=lambda row: str(row.subject),
    empty="Nothing was measured yet: that happens every metrics.interval_s seconds.",
    groups=("metrics", "rows", "table", "motion"),
    query=lambda scope: actions.MetricsList(environment=scope.place),
    opens=lambda row: Place("charts", row.subject),
)
MEASURES: Final = Listing(
    title="Metrics of users and agents",
    columns=columns.measures,
    key=ident,
    empty="Nobody has recorded a metric.\n\nn  records a value; or type  "
    ":metric record development tasks 1",
    groups=("measures", "rows", "table", "motion"),
    query=lambda scope: actions.MetricSeries(environment=scope.place),
    opens=lambda row: Place("measure", row.id, row=row),
    paged=True,
)
BENCH: Final = Listing(
    title="Last measurements",
    columns=columns.benchmarks,
    key=lambda bench: str(bench.name),
    empty="Nothing measured yet.\n\nb  measures this machine in a scratch directory",
    groups=("bench", "rows", "table", "motion"),
    query=lambda _scope: actions.BenchShow(),
    by_environment=False,
)
