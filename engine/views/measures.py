"""What users measure."""

from __future__ import annotations

from typing import TypeAlias

from .base import View

Number: TypeAlias = int | float


class MeasureView(View, frozen=True, kw_only=True):
    """A series: what `source` records under a name and labels. `kind` is counter, gauge, histogram
    or timer; `last` was recorded at `updated_at_us`. Samples are kept for `keep_days`."""

    id: str
    environment: str
    name: str
    kind: str
    unit: str
    labels: dict[str, str]
    last: Number
    updated_at_us: int
    source: str
    level: str
    team: str | None
    swarm: str | None
    keep_days: float
    created_at_us: int


class MeasuredView(View, frozen=True, kw_only=True):
    """All that `series` series of one name have recorded over a window, put together. `values` is
    the `aggregate` of each step of `step_s` seconds from `first_at_us` on, None where nothing was
    recorded; the others are of the whole window, None where nothing was, and percentiles of
    histograms and timers alone."""

    environment: str
    name: str
    kind: str
    unit: str
    aggregate: str
    series: int
    window_s: int
    step_s: int
    first_at_us: int
    count: int
    sum: Number | None
    avg: Number | None
    min: Number | None
    max: Number | None
    last: Number | None
    p50: Number | None
    p95: Number | None
    p99: Number | None
    values: tuple[Number | None, ...]
