"""The queue: its lanes by priority, its states, and the messages of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from ...engine import actions, views
from ...engine.errors import ErrorReport
from ...widgets import QueueLanes
from ..bridge import Pull
from ..columns import Moment
from ..listings import LISTINGS, Scope
from ..stopped import banner, fullness
from .listing import ListScreen


class QueueScreen(ListScreen):
    """Lanes above, the states in one line, messages below. The lanes give way to the messages:
    on a low terminal only those that hold something are shown."""

    DEFAULT_CSS = """
    QueueScreen #lanes { height: 5; }
    QueueScreen.-mid #lanes { height: 8; }
    QueueScreen.-tall #lanes { height: 12; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["queue"], scope)
        self._lanes = QueueLanes(title="Lanes by priority", frame="rule", id="lanes")
        self._fullness = self._trouble = self._banner = ""

    def above(self) -> Iterable[Widget]:
        yield self._lanes

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.overview is not None:
            self._tell_flow(pull.overview.environments)
        if pull.overview is not None and pull.asked is not None:
            scope = self.scope
            wanted = actions.QueueLanes(environment=scope.place)
            self.put(wanted, lambda lanes, error: self._take_lanes(scope, lanes, error))

    def _tell_flow(self, environments: Sequence[views.EnvironmentView]) -> None:
        """Which of the queues shown are stopped, and how full they are."""
        place = self.scope.place
        shown = [each for each in environments if place in {None, each.name}]
        if (words := banner(shown)) != self._banner:
            self._banner = words
            self.head.warn(words)
        self._fullness = fullness(shown)
        self._title_lanes()

    def _take_lanes(
        self, scope: Scope, lanes: Sequence[views.LaneView] | None, error: ErrorReport | None
    ) -> None:
        if scope.environment is not self.scope.environment:
            return  # of what was shown before
        self._trouble = "" if error is None else f"  ✗ {error.message}"
        self._title_lanes()
        self._lanes.show(lanes or (), self.moment.us)

    def _title_lanes(self) -> None:
        where = "" if self.scope.environment is None else f" · {self.scope.environment}"
        full = f" · {self._fullness}" if self._fullness else ""
        title = f"Lanes by priority{where}{self._trouble or full}"
        if self._lanes.title != title:
            self._lanes.title = title

    def _narrow(self, scope: Scope) -> None:
        moved = scope.environment is not self.scope.environment
        super()._narrow(scope)
        if moved:
            self._fullness = self._trouble = ""
            self._title_lanes()
            self._lanes.show((), self.moment.us)
