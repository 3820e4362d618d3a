"""Actions on what users measure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .. import views
from .spec import (
    Action,
    Contains,
    Limit,
    Offset,
    OptionalWhere,
    Order,
    Reader,
    Where,
    action,
    arg,
)

Days = Annotated[float, msgspec.Meta(ge=0.001, le=3_650)]
Step = Annotated[int, msgspec.Meta(ge=1)]
Labels = Annotated[
    tuple[str, ...], arg("only with this label, NAME=VALUE; may be repeated", flag="--label")
]
Publisher = Annotated[str | None, arg("only what this agent records", flag="--source")]


@action(views.MeasureView)
class MetricRecord(Action, frozen=True, kw_only=True, tag="metric.record"):
    """Record a value under a name of one's own."""

    environment: Where
    name: Annotated[str, arg("name", positional=True)]
    value: Annotated[float, arg("a counter adds it up (default: 1)", positional=True)] = 1.0
    actor: Reader = None
    kind: Annotated[
        Literal["counter", "gauge", "histogram", "timer"] | None,
        arg("what a new series is (default: gauge)"),
    ] = None
    unit: Annotated[str, arg("of a new series, such as s or bytes")] = ""
    labels: Annotated[tuple[str, ...], arg("NAME=VALUE; may be repeated", flag="--label")] = ()
    level: Annotated[
        str | int | None,
        arg("of a new series: private, team, swarm, public, system", unit="level"),
    ] = None
    keep_days: Annotated[
        Days | None, arg("days that samples are kept (new: 30)", flag="--keep-days")
    ] = None


@action(views.MeasuredView, query=True)
class MetricQuery(Action, frozen=True, kw_only=True, tag="metric.query"):
    """Show what the series of a name came to over a window of time, put together."""

    environment: Where
    name: Annotated[str, arg("name", positional=True)]
    actor: Reader = None
    labels: Labels = ()
    publisher: Publisher = None
    aggregate: Annotated[
        Literal["sum", "avg", "min", "max", "count", "last", "p50", "p95", "p99"] | None,
        arg("of each step (default: sum of a counter, avg of a gauge, else p50)"),
    ] = None
    since_s: Annotated[int, arg("how far back, in seconds", flag="--since", ge=1)] = 3_600
    step_s: Annotated[Step | None, arg("seconds of a step (default: fits)", flag="--step")] = None


@action(list[views.MeasureView], query=True)
class MetricSeries(Action, frozen=True, kw_only=True, tag="metric.series"):
    """List the series that may be read: what users and agents record."""

    environment: OptionalWhere = None
    actor: Reader = None
    name: Annotated[str | None, arg("only this name")] = None
    labels: Labels = ()
    publisher: Publisher = None
    contains: Contains = ""
    order: Annotated[Literal["name", "newest"], arg("what to sort by")] = "name"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class MetricDelete(Action, frozen=True, kw_only=True, tag="metric.delete"):
    """Delete the series of a name with all that was recorded."""

    environment: Where
    name: Annotated[str, arg("name", positional=True)]
    labels: Labels = ()
    publisher: Publisher = None
    actor: Reader = None
