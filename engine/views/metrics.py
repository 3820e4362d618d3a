"""What was measured over time."""

from __future__ import annotations

from typing import TypeAlias

from .base import View

Number: TypeAlias = int | float
"""Both, so that a whole number stays one on its way through the socket."""


class MeasurementView(View, frozen=True, kw_only=True):
    """What was last measured of one subject. `kind` is host, engine, queue, store, environment,
    swarm or agent; `environment` is empty for what belongs to none. A reading's name tells its
    unit; what could not be measured is missing. They stand for `step_s` seconds from `at_us` on."""

    subject: str
    kind: str
    environment: str
    at_us: int
    step_s: int
    readings: dict[str, Number]


class SeriesView(View, frozen=True, kw_only=True):
    """One metric of one subject over a window of time, in even steps of `step_s` from
    `first_at_us` on. `values` is the mean of each step, None where nothing was measured; `lows`
    and `highs` the least and greatest of each, empty where they are the same. `mean`, `least` and
    `greatest` are of the whole window, `measured` is how many steps have a value."""

    subject: str
    metric: str
    unit: str
    window: str
    step_s: int
    first_at_us: int
    latest: Number | None
    mean: Number | None
    least: Number | None
    greatest: Number | None
    measured: int
    values: tuple[Number | None, ...]
    lows: tuple[Number | None, ...] = ()
    highs: tuple[Number | None, ...] = ()
