"""What users measure: the series above and a chart of the selected one below, or one alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from textual.widget import Widget

from ...engine import actions, views
from ...engine.actions import Action
from ..bridge import Pull
from ..columns import Moment
from ..curves import recorded
from ..listings import LISTINGS, Scope
from .charts import ChartedList, Charts, Windowed
from .frame import INNER, DeckScreen

_SECONDS: Final = {"1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}


class MeasureCharts(Charts):
    """The chart of one series on a screen."""

    row: views.MeasureView | None = None

    def of(self, row: views.MeasureView | None) -> None:
        """Show another series."""
        self.row = row
        self.about("" if row is None else row.id)

    def query(self) -> Action:
        row = self.row
        assert row is not None, "nothing is asked without a series"
        return actions.MetricQuery(
            environment=row.environment,  # type: ignore[arg-type]  # one of the five
            name=row.name,
            labels=tuple(f"{name}={value}" for name, value in row.labels.items()),
            publisher=row.source,
            since_s=_SECONDS[self.window],
        )

    def series(self, found: Any) -> list[views.SeriesView]:  # noqa: ANN401 - the query's answer
        return [recorded(found, self.window)]


class MeasuresScreen(ChartedList):
    """The series with what was recorded last; below, the selected one over time."""

    DEFAULT_CSS = """
    MeasuresScreen #rows { height: 10; }
    MeasuresScreen.-mid #rows { height: 14; }
    MeasuresScreen.-tall #rows { height: 50%; }
    MeasuresScreen #words { display: none; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["measures"], scope)
        self.charts: MeasureCharts = MeasureCharts(self)

    def select(self, row: Any) -> None:  # noqa: ANN401 - the listing's rows
        self.charts.of(row if isinstance(row, views.MeasureView) else None)


class MeasureScreen(Windowed, DeckScreen):
    """The chart of one series."""

    AUTO_FOCUS: ClassVar[str | None] = "ChartGrid"

    def __init__(self, moment: Moment, row: views.MeasureView) -> None:
        super().__init__(row.name, moment, (INNER, "charts"))
        self.charts = MeasureCharts(self)
        self.charts.of(row)

    def body(self) -> Iterable[Widget]:
        yield self.charts.grid

    def show(self, pull: Pull) -> None:
        self.charts.look(self.moment.us)

    def choose_window(self, name: str) -> None:
        """Show another window of time. Raises InvalidInput."""
        self.charts.over(name)
        self.charts.look(self.moment.us)

    def rest(self) -> None:
        self.charts.grid.focus()
