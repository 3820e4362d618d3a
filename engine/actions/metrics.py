"""What was measured over time."""

from __future__ import annotations

from typing import Annotated, Literal

from .. import views
from .spec import Action, OptionalWhere, action, arg

Window = Literal["1h", "6h", "24h", "7d", "30d"]


@action(list[views.MeasurementView], query=True)
class MetricsList(Action, frozen=True, kw_only=True, tag="metrics.list"):
    """List what is measured, with the latest values: host, engine, environments, swarms, agents."""

    environment: OptionalWhere = None


@action(list[views.SeriesView], query=True)
class MetricsShow(Action, frozen=True, kw_only=True, tag="metrics.show"):
    """Show how the host, an environment, a swarm, an agent … went over a window of time."""

    subject: Annotated[
        str,
        arg("host, engine, queue, store, an environment, swarm or agent id", positional=True),
    ]
    metric: Annotated[tuple[str, ...], arg("only this one; may be repeated (default: all)")] = ()
    window: Annotated[Window, arg("how far back")] = "1h"
    plot: Annotated[bool, arg("draw charts of them")] = False
    svg: Annotated[str | None, arg("write the charts to this file as SVG")] = None
