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

    def above(self) -> Iterable[Widget]:
        yield self._lanes

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.overview is not None and pull.asked is not None:
            scope = self.scope
            wanted = actions.QueueLanes(environment=scope.place)
            self.put(wanted, lambda lanes, error: self._take_lanes(scope, lanes, error))

    def _take_lanes(
        self, scope: Scope, lanes: Sequence[views.LaneView] | None, error: ErrorReport | None
    ) -> None:
        if scope.environment is not self.scope.environment:
            return  # of what was shown before
        self._title_lanes("" if error is None else f"  ✗ {error.message}")
        self._lanes.show(lanes or (), self.moment.us)

    def _title_lanes(self, more: str = "") -> None:
        where = "" if self.scope.environment is None else f" · {self.scope.environment}"
        title = f"Lanes by priority{where}{more}"
        if self._lanes.title != title:
            self._lanes.title = title

    def _narrow(self, scope: Scope) -> None:
        moved = scope.environment is not self.scope.environment
        super()._narrow(scope)
        if moved:
            self._title_lanes()
            self._lanes.show((), self.moment.us)
