"""What was measured over time: the subjects above and charts of the selected one below, or all
charts of one subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final, get_args

from textual.widget import Widget

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.actions.metrics import Window
from ...engine.cli.output import duration
from ...engine.errors import ErrorReport, InvalidInput
from ...widgets import ChartGrid, VirtualTable
from ..bridge import Pull
from ..columns import Moment
from ..curves import curves
from ..listings import LISTINGS, Scope
from .frame import INNER, DeckScreen
from .listing import ListScreen

_NAMES: Final[tuple[Window, ...]] = get_args(Window)
_LEAST_US: Final = 5_000_000
"""How often to look, at most: the shortest step that is usual is six times as long."""


class Charts:
    """The charts of one subject on a screen, and over which window."""

    def __init__(self, screen: DeckScreen, subject: str = "") -> None:
        self.grid = ChartGrid(title="Charts", id="charts")
        self.window = _NAMES[0]
        self.subject = subject
        self._screen = screen
        self._due_us = 0

    def about(self, subject: str) -> None:
        """Show another subject."""
        if subject != self.subject:
            self.subject = subject
            self._due_us = 0
            self.grid.say(self._title, "reading …" if subject else "")

    def over(self, name: str) -> None:
        """Show another window: `next`, `previous` or by name. Raises InvalidInput."""
        step = {"next": 1, "": 1, "previous": -1}.get(name)
        at = _NAMES.index(self.window) + step if step is not None else _place(name)
        self.window = _NAMES[at % len(_NAMES)]
        self._due_us = 0

    @property
    def _title(self) -> str:
        return " · ".join(part for part in (self.subject, f"last {self.window}") if part)

    def look(self, now_us: int) -> None:
        """Ask for what is shown, where that is due."""
        if self.subject and now_us >= self._due_us:
            self._due_us = now_us + _LEAST_US
            wanted = self.query()
            self._screen.put(wanted, lambda found, error: self._take(wanted, found, error))

    def query(self) -> Action:
        """What asks for that which is shown."""
        return actions.MetricsShow(subject=self.subject, window=self.window)

    def series(self, found: Any) -> list[views.SeriesView]:  # noqa: ANN401 - the query's answer
        """The answer, as what is drawn."""
        rows: list[views.SeriesView] = found
        return rows

    def _take(self, asked: Action, found: Any, error: ErrorReport | None) -> None:  # noqa: ANN401
        if not self.subject or asked != self.query():
            return
        rows = [] if found is None else self.series(found)
        if error is not None or not rows:
            self.grid.say(self._title, f"✗ {error.message}\n{error.hint}" if error else "")
            return
        step_s = rows[0].step_s
        self._due_us = max(self._due_us, self._screen.moment.us + step_s * 100_000)
        drawn = curves(rows)
        title = f"{self._title} · steps of {duration(step_s)}"
        if drawn:
            self.grid.show(title, drawn)
        else:
            self.grid.say(title, "Nothing was measured of it in this time.")


def _place(name: str) -> int:
    found = next((at for at, window in enumerate(_NAMES) if window == name), None)
    if found is None:
        raise InvalidInput(f"unknown window {name!r}", hint=f"one of {', '.join(_NAMES)}")
    return found


class Windowed:
    """A screen of charts that can go further back, or less far."""

    def choose_window(self, name: str) -> None:
        """Show another window of time. Raises InvalidInput."""
        raise NotImplementedError


class ChartedList(Windowed, ListScreen):
    """A listing, and below it charts of the selected row."""

    charts: Charts

    def below(self) -> Iterable[Widget]:
        yield self.charts.grid

    def select(self, row: Any) -> None:  # noqa: ANN401 - the listing's rows
        """Show charts of this row, of none where it is None."""
        raise NotImplementedError

    def show(self, pull: Pull) -> None:
        super().show(pull)
        self._look()

    def _look(self) -> None:
        self.select(self.table.cursor_row)
        self.charts.look(self.moment.us)

    def choose_window(self, name: str) -> None:
        """Show another window of time. Raises InvalidInput."""
        self.charts.over(name)
        self._look()

    def _describe(self) -> None:
        super()._describe()
        self._look()

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        self._settle()


class MetricsScreen(ChartedList):
    """What is measured, with the latest readings; below, the selected subject over time."""

    DEFAULT_CSS = """
    MetricsScreen #rows { height: 8; }
    MetricsScreen.-mid #rows { height: 11; }
    MetricsScreen.-tall #rows { height: 40%; }
    MetricsScreen #words { display: none; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["metrics"], scope)
        self.charts = Charts(self)

    def select(self, row: Any) -> None:  # noqa: ANN401 - the listing's rows
        self.charts.about("" if row is None else row.subject)


class ChartsScreen(Windowed, DeckScreen):
    """All charts of one subject."""

    AUTO_FOCUS: ClassVar[str | None] = "ChartGrid"

    def __init__(self, moment: Moment, subject: str) -> None:
        super().__init__(f"charts {subject}", moment, (INNER, "charts"))
        self.charts = Charts(self, subject)
        self.charts.grid.say(subject, "reading …")

    def body(self) -> Iterable[Widget]:
        yield self.charts.grid

    @property
    def subject(self) -> str:
        return self.charts.subject

    def show(self, pull: Pull) -> None:
        self.charts.look(self.moment.us)

    def choose_window(self, name: str) -> None:
        """Show another window of time. Raises InvalidInput."""
        self.charts.over(name)
        self.charts.look(self.moment.us)

    def rest(self) -> None:
        self.charts.grid.focus()
